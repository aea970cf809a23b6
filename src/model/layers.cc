#include "model/layers.h"

#include <algorithm>
#include <bit>

namespace msa {

AnyMat ScratchMatrix::get(Backend& backend, DType dtype, size_t rows, size_t cols) {
  const size_t bytes = rows * cols * size_of(dtype);
  if (!buffer_ || buffer_->size() < bytes) {
    buffer_.reset();  // before its larger successor is made: the peak is one buffer, not two
    buffer_ = backend.allocate(bytes);
  }
  return AnyMat(buffer_->data(), dtype, rows, cols);
}

LayerStack::LayerStack(Backend& backend, std::shared_ptr<const Weights> weights)
    : backend_(backend), weights_(std::move(weights)) {}

const RotaryTable& LayerStack::rotary(size_t positions) {
  if (rotary_.positions() < positions) {
    const ModelConfig& config = weights_->config();
    rotary_ = RotaryTable::make(std::bit_ceil(std::max<size_t>(positions, 1024)), config.head_dim,
                                config.rope_theta);
  }
  return rotary_;
}

MatView<float> LayerStack::embed(std::span<const int32_t> tokens) {
  auto hidden =
      hidden_.get(backend_, DType::f32, tokens.size(), weights_->config().hidden).as<float>();
  backend_.embed(tokens, weights_->embeddings, hidden);
  return hidden;
}

LayerStack::AttentionInputs LayerStack::attention_inputs(size_t layer, MatView<const float> hidden,
                                                         std::span<const int32_t> positions) {
  const ModelConfig& config = weights_->config();
  const LayerWeights& w = weights_->layers[layer];
  const size_t tokens = hidden.rows, q_width = config.query_width(), kv_width = config.kv_width();
  assert(positions.size() == tokens);

  AttentionInputs in;
  in.normed = normed_.get(backend_, weights_->compute, tokens, config.hidden);
  backend_.rms_norm(hidden, w.input_norm, config.rms_norm_eps, in.normed);
  const AnyMat qkv = qkv_.get(backend_, weights_->compute, tokens, q_width + 2 * kv_width);
  backend_.matmul(in.normed, *w.qkv, qkv, false);
  in.q = qkv.slice_cols(0, q_width);
  in.k = qkv.slice_cols(q_width, kv_width);
  in.v = qkv.slice_cols(q_width + kv_width, kv_width);

  const int32_t last = *std::max_element(positions.begin(), positions.end());
  const RotaryTable& table = rotary(static_cast<size_t>(last) + 1);
  backend_.norm_rotary(in.q, config.query_heads, w.q_norm, config.rms_norm_eps, positions, table);
  backend_.norm_rotary(in.k, config.kv_heads, w.k_norm, config.rms_norm_eps, positions, table);
  return in;
}

AnyMat LayerStack::attention_output(size_t tokens) {
  return attention_.get(backend_, weights_->compute, tokens, weights_->config().query_width());
}

void LayerStack::finish(size_t layer, ConstAnyMat attention, MatView<float> hidden) {
  const ModelConfig& config = weights_->config();
  const LayerWeights& w = weights_->layers[layer];
  const size_t tokens = hidden.rows;
  backend_.matmul(attention, *w.output, hidden, true);
  const AnyMat normed = normed_.get(backend_, weights_->compute, tokens, config.hidden);
  backend_.rms_norm(hidden, w.post_attention_norm, config.rms_norm_eps, normed);
  const AnyMat gate_up = gate_up_.get(backend_, weights_->compute, tokens, 2 * config.feed_forward);
  backend_.matmul(normed, *w.gate_up, gate_up, false);
  const AnyMat activated = activated_.get(backend_, weights_->compute, tokens, config.feed_forward);
  backend_.swiglu(gate_up, activated);
  backend_.matmul(activated, *w.down, hidden, true);
}

AnyMat LayerStack::final_norm(MatView<const float> hidden) {
  const ModelConfig& config = weights_->config();
  const AnyMat normed = normed_.get(backend_, weights_->compute, hidden.rows, config.hidden);
  backend_.rms_norm(hidden, weights_->final_norm, config.rms_norm_eps, normed);
  return normed;
}

}  // namespace msa
