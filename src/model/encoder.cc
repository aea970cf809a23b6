#include "model/encoder.h"

#include <fmt/format.h>

#include <algorithm>

#include "model/layers.h"

namespace msa {

ConstAnyMat EncodedBatch::keys(size_t layer) const {
  return {layers[layer].keys.data(), dtype, total_chunks, kv_width};
}
ConstAnyMat EncodedBatch::pooled_keys(size_t layer) const {
  return {layers[layer].content.data(), dtype, total_chunks, kv_width, 2 * kv_width};
}
ConstAnyMat EncodedBatch::pooled_values(size_t layer) const {
  return {layers[layer].content.data() + kv_width * size_of(dtype), dtype, total_chunks, kv_width,
          2 * kv_width};
}
ConstAnyMat PrefixKv::keys(size_t layer) const {
  return {layers[layer].keys.data(), dtype, tokens, kv_width};
}
ConstAnyMat PrefixKv::values(size_t layer) const {
  return {layers[layer].values.data(), dtype, tokens, kv_width};
}

struct Encoder::Impl {
  Impl(Backend& b, std::shared_ptr<const Weights> w) : backend(b), stack(b, std::move(w)) {}

  const ModelConfig& config() const { return stack.weights().config(); }

  // Checks the documents and lays them one after the other.
  Result<void> lay_out(std::span<const std::span<const int32_t>> documents) {
    tokens.clear();
    positions.clear();
    starts.assign(1, 0);
    for (size_t i = 0; i < documents.size(); ++i) {
      const auto document = documents[i];
      if (document.empty() || document.size() > config().max_positions)
        return Error{Code::invalid_argument,
                     fmt::format("document {} of the batch has {} tokens; the model takes 1 to {}",
                                 i, document.size(), config().max_positions)};
      for (const int32_t token : document)
        if (token < 0 || static_cast<size_t>(token) >= config().vocabulary)
          return Error{Code::invalid_argument,
                       fmt::format("document {} of the batch has token {}, but the model's "
                                   "vocabulary has {} entries; use the model's own tokenizer",
                                   i, token, config().vocabulary)};
      tokens.insert(tokens.end(), document.begin(), document.end());
      for (size_t t = 0; t < document.size(); ++t) positions.push_back(static_cast<int32_t>(t));
      starts.push_back(static_cast<uint32_t>(tokens.size()));
    }
    return {};
  }

  // Runs one layer's attention and MLP over the documents laid out.
  void run_layer(size_t layer, const LayerStack::AttentionInputs& in, MatView<float> hidden) {
    const AnyMat attended = stack.attention_output(hidden.rows);
    backend.document_attention(in.q, in.k, in.v, starts, config().kv_heads, config().head_dim,
                               attended);
    stack.finish(layer, attended, hidden);
  }

  // Pooled keys, values and routing keys of a router layer.
  void pool(size_t layer, const LayerStack::AttentionInputs& in, DType stored, EncodedLayer& out,
            size_t chunks) {
    const ModelConfig& c = config();
    const size_t width = c.kv_width();
    out.keys = AlignedBuffer<std::byte>(chunks * width * size_of(stored));
    out.content = AlignedBuffer<std::byte>(2 * chunks * width * size_of(stored));
    const AnyMat pooled_keys(out.content.data(), stored, chunks, width, 2 * width);
    const AnyMat pooled_values(out.content.data() + width * size_of(stored), stored, chunks, width,
                               2 * width);
    const AnyMat routing_keys(out.keys.data(), stored, chunks, width);
    const size_t chunk_size = c.msa.chunk_size;
    backend.pool_chunks(in.k, starts, chunk_size, c.kv_heads, false, pooled_keys);
    backend.pool_chunks(in.v, starts, chunk_size, c.kv_heads, false, pooled_values);
    ConstAnyMat routed = in.k;
    if (c.msa.decouple_router) {
      const AnyMat projected = router_keys.get(backend, DType::f32, in.normed.rows, width);
      backend.matmul(in.normed, *stack.weights().layers[layer].router_k, projected, false);
      routed = projected;
    }
    backend.pool_chunks(routed, starts, chunk_size, c.kv_heads, stack.weights().cosine,
                        routing_keys);
  }

  // The final norm of `hidden` as float32.
  std::vector<float> last_hidden(MatView<float> hidden) {
    const AnyMat normed = stack.final_norm(hidden);
    std::vector<float> out(normed.rows * normed.cols);
    backend.copy_rows(normed, MatView<float>(out.data(), normed.rows, normed.cols));
    return out;
  }

  Backend& backend;
  LayerStack stack;
  ScratchMatrix router_keys;
  std::vector<int32_t> tokens, positions;
  std::vector<uint32_t> starts;
};

Encoder::Encoder(Backend& backend, std::shared_ptr<const Weights> weights)
    : impl_(std::make_unique<Impl>(backend, std::move(weights))) {}
Encoder::~Encoder() = default;

Result<void> Encoder::encode(std::span<const std::span<const int32_t>> documents, DType stored,
                             bool want_last_hidden, EncodedBatch& out) {
  assert(stored == DType::f32 || stored == DType::bf16);
  const ModelConfig& config = impl_->config();
  MSA_TRY(impl_->lay_out(documents));

  out = EncodedBatch();
  out.dtype = stored;
  out.kv_width = config.kv_width();
  for (const auto document : documents) {
    const size_t chunks = (document.size() + config.msa.chunk_size - 1) / config.msa.chunk_size;
    out.chunks.push_back(static_cast<uint32_t>(chunks));
    out.total_chunks += chunks;
  }
  out.layers.reserve(config.msa.router_layers.size());
  if (documents.empty()) {
    out.layers.resize(config.msa.router_layers.size());
    return {};
  }

  // Nothing above the last router layer's keys and values is stored, so nothing above is computed.
  const size_t last_router = static_cast<size_t>(config.msa.router_layers.back());
  const MatView<float> hidden = impl_->stack.embed(impl_->tokens);
  for (size_t layer = 0; layer < config.layers; ++layer) {
    const auto in = impl_->stack.attention_inputs(layer, hidden, impl_->positions);
    if (impl_->stack.weights().layers[layer].routes)
      impl_->pool(layer, in, stored, out.layers.emplace_back(), out.total_chunks);
    if (layer == last_router && !want_last_hidden) break;
    impl_->run_layer(layer, in, hidden);
  }
  if (want_last_hidden) out.last_hidden = impl_->last_hidden(hidden);
  return {};
}

Result<PrefixKv> Encoder::encode_prefix(std::span<const int32_t> tokens) {
  const std::span<const int32_t> document[] = {tokens};
  MSA_TRY(impl_->lay_out(document));
  const ModelConfig& config = impl_->config();
  PrefixKv prefix;
  prefix.tokens = tokens.size();
  prefix.dtype = impl_->stack.weights().compute;
  prefix.kv_width = config.kv_width();
  const size_t bytes = prefix.tokens * prefix.kv_width * size_of(prefix.dtype);
  const MatView<float> hidden = impl_->stack.embed(impl_->tokens);
  for (size_t layer = 0; layer < config.layers; ++layer) {
    const auto in = impl_->stack.attention_inputs(layer, hidden, impl_->positions);
    PrefixKv::Layer& kept = prefix.layers.emplace_back();
    kept.keys = AlignedBuffer<std::byte>(bytes);
    kept.values = AlignedBuffer<std::byte>(bytes);
    impl_->backend.copy_rows(
        in.k, AnyMat(kept.keys.data(), prefix.dtype, prefix.tokens, prefix.kv_width));
    impl_->backend.copy_rows(
        in.v, AnyMat(kept.values.data(), prefix.dtype, prefix.tokens, prefix.kv_width));
    impl_->run_layer(layer, in, hidden);
  }
  prefix.last_hidden = impl_->last_hidden(hidden);
  return prefix;
}

}  // namespace msa
