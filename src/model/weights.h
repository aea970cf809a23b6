// A checkpoint's tensors, packed for a backend.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/mat_view.h"
#include "base/runtime.h"
#include "checkpoint/checkpoint.h"
#include "kernels/backend.h"
#include "msa/result.h"

namespace msa {

inline constexpr std::string_view kEmbeddingTensor = "model.embed_tokens.weight";

struct LayerWeights {
  std::vector<float> input_norm, post_attention_norm;  // [d]
  std::vector<float> q_norm, k_norm;                   // [D]
  std::unique_ptr<PackedMatrix> qkv;                   // q_proj, k_proj, v_proj: [(H+2G)*D, d]
  std::unique_ptr<PackedMatrix> router_k;  // router layers with a decoupled router, else empty
  std::unique_ptr<PackedMatrix> router_q;  // likewise
  std::unique_ptr<PackedMatrix> output;    // o_proj
  std::unique_ptr<PackedMatrix> gate_up;   // gate_proj, then up_proj
  std::unique_ptr<PackedMatrix> down;
  bool routes = false;
};

// Immutable; shared by encoder and decoder. Keeps the checkpoint mapped: the embedding table is
// read from it.
struct Weights {
  std::shared_ptr<const Checkpoint> checkpoint;
  DType compute = DType::f32;  // activations and packed weights: f32 or bf16
  bool cosine = true;          // similarity used for routing
  ConstAnyMat embeddings;      // [vocabulary, d], looks into the checkpoint, or into the copy
  AlignedBuffer<std::byte> embedding_copy;  // where the file's bytes are not aligned to the dtype
  std::vector<LayerWeights> layers;
  std::vector<float> final_norm;       // [d]
  std::unique_ptr<PackedMatrix> head;  // [vocabulary, d], from the embeddings where they are tied

  const ModelConfig& config() const { return checkpoint->config(); }
  uint64_t packed_bytes() const;
};

// Reads, checks (NaN and infinity are errors that name the tensor) and packs everything.
// `similarity`: cosine if true.
Result<std::shared_ptr<const Weights>> load_weights(const Runtime& runtime, Backend& backend,
                                                    std::shared_ptr<const Checkpoint> checkpoint,
                                                    DType compute, bool cosine);

}  // namespace msa
