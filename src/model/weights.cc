#include "model/weights.h"

#include <fmt/format.h>

#include <cstring>
#include <string>

namespace msa {
namespace {

// Reads tensors of one checkpoint for one backend.
class Loader {
 public:
  Loader(Backend& backend, const Checkpoint& checkpoint, DType compute)
      : backend_(backend), checkpoint_(checkpoint), compute_(compute) {}

  // The named vectors' values as float32.
  Result<std::vector<float>> vector(const std::string& name) {
    MSA_TRY(checkpoint_.check_finite(name));
    const TensorView& tensor = checkpoint_.tensor(name);
    std::vector<float> values(tensor.count());
    for (size_t i = 0; i < values.size(); ++i) values[i] = element(tensor, i);
    return values;
  }

  // The named matrices, one above the other, packed. Their pages in the file are given back.
  Result<std::unique_ptr<PackedMatrix>> packed(const std::vector<std::string>& names) {
    std::vector<ConstAnyMat> parts;
    for (const std::string& name : names) {
      MSA_TRY(checkpoint_.check_finite(name));
      parts.push_back(checkpoint_.tensor(name).matrix());
    }
    MSA_ASSIGN(auto matrix, backend_.pack(parts, compute_));
    for (const std::string& name : names) checkpoint_.drop(name);
    return matrix;
  }

 private:
  // The file's bytes need not be aligned, so they are copied out one by one.
  static float element(const TensorView& tensor, size_t i) {
    const auto read = [&]<class T>(T value) {
      std::memcpy(&value, tensor.bytes.data() + i * sizeof(T), sizeof(T));
      return to_float(value);
    };
    switch (tensor.dtype) {
      case DType::f32: return read(float{});
      case DType::bf16: return read(bf16{});
      case DType::f16: return read(f16{});
      case DType::i64: break;
    }
    assert(false && "a checkpoint holds floating-point tensors only");
    return 0;
  }

  Backend& backend_;
  const Checkpoint& checkpoint_;
  DType compute_;
};

Result<LayerWeights> load_layer(Loader& loader, const ModelConfig& config, size_t index) {
  const std::string at = fmt::format("model.layers.{}.", index);
  LayerWeights layer;
  layer.routes = config.msa.is_router_layer(index);
  MSA_ASSIGN(layer.input_norm, loader.vector(at + "input_layernorm.weight"));
  MSA_ASSIGN(layer.post_attention_norm, loader.vector(at + "post_attention_layernorm.weight"));
  MSA_ASSIGN(layer.q_norm, loader.vector(at + "self_attn.q_norm.weight"));
  MSA_ASSIGN(layer.k_norm, loader.vector(at + "self_attn.k_norm.weight"));
  MSA_ASSIGN(layer.qkv,
             loader.packed({at + "self_attn.q_proj.weight", at + "self_attn.k_proj.weight",
                            at + "self_attn.v_proj.weight"}));
  if (layer.routes && config.msa.decouple_router) {
    MSA_ASSIGN(layer.router_q, loader.packed({at + "self_attn.router_q_proj.0.weight"}));
    MSA_ASSIGN(layer.router_k, loader.packed({at + "self_attn.router_k_proj.0.weight"}));
  }
  MSA_ASSIGN(layer.output, loader.packed({at + "self_attn.o_proj.weight"}));
  MSA_ASSIGN(layer.gate_up,
             loader.packed({at + "mlp.gate_proj.weight", at + "mlp.up_proj.weight"}));
  MSA_ASSIGN(layer.down, loader.packed({at + "mlp.down_proj.weight"}));
  return layer;
}

}  // namespace

uint64_t Weights::packed_bytes() const {
  uint64_t bytes = head ? head->bytes() : 0;
  for (const LayerWeights& layer : this->layers)
    for (const auto* matrix :
         {&layer.qkv, &layer.router_k, &layer.router_q, &layer.output, &layer.gate_up, &layer.down})
      if (*matrix) bytes += (*matrix)->bytes();
  return bytes;
}

Result<std::shared_ptr<const Weights>> load_weights(const Runtime& runtime, Backend& backend,
                                                    std::shared_ptr<const Checkpoint> checkpoint,
                                                    DType compute, bool cosine) {
  const ModelConfig& config = checkpoint->config();
  Loader loader(backend, *checkpoint, compute);
  auto weights = std::make_shared<Weights>();
  weights->compute = compute;
  weights->cosine = cosine;

  // The largest matrix first: while it is packed, its pages in the file are resident beside it.
  const std::string embeddings(kEmbeddingTensor);
  MSA_ASSIGN(weights->head,
             loader.packed({config.tied_embeddings ? embeddings : "lm_head.weight"}));
  if (!config.tied_embeddings) {
    MSA_TRY(checkpoint->check_finite(embeddings));
    checkpoint->drop(embeddings);
  }
  weights->layers.reserve(config.layers);
  for (size_t i = 0; i < config.layers; ++i) {
    MSA_ASSIGN(auto layer, load_layer(loader, config, i));
    weights->layers.push_back(std::move(layer));
    runtime.log.debug(fmt::format("{}: layer {} of {} loaded", checkpoint->folder().string(), i + 1,
                                  config.layers));
  }
  MSA_ASSIGN(weights->final_norm, loader.vector("model.norm.weight"));

  weights->embeddings = checkpoint->tensor(embeddings).matrix();
  if (reinterpret_cast<uintptr_t>(weights->embeddings.data) % size_of(weights->embeddings.dtype) !=
      0) {
    const auto bytes = checkpoint->tensor(embeddings).bytes;
    weights->embedding_copy = AlignedBuffer<std::byte>(bytes.size());
    std::memcpy(weights->embedding_copy.data(), bytes.data(), bytes.size());
    weights->embeddings.data = weights->embedding_copy.data();
  }
  weights->checkpoint = std::move(checkpoint);
  return std::shared_ptr<const Weights>(std::move(weights));
}

}  // namespace msa
