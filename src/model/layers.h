// A transformer layer but for its attention, with the scratch memory it needs. Encoder and decoder
// put their own attention in between.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "kernels/backend.h"
#include "model/weights.h"

namespace msa {

// Grow-only memory of the backend, seen as a matrix of whatever is needed now.
class ScratchMatrix {
 public:
  // [rows, cols], dense; valid until the next call. The contents are lost.
  AnyMat get(Backend& backend, DType dtype, size_t rows, size_t cols);

 private:
  std::unique_ptr<DeviceBuffer> buffer_;
};

// One caller at a time.
class LayerStack {
 public:
  LayerStack(Backend& backend, std::shared_ptr<const Weights> weights);

  const Weights& weights() const { return *weights_; }
  Backend& backend() { return backend_; }

  // The hidden state of `tokens` before the first layer: [T, d] f32. Valid until the next embed().
  MatView<float> embed(std::span<const int32_t> tokens);

  // What attention reads: views into scratch, valid until the next call of attention_inputs().
  struct AttentionInputs {
    AnyMat normed;  // act [T, d]: the layer's normalised input
    AnyMat q;       // act [T, H*D] \  after per-head norm
    AnyMat k;       // act [T, G*D] /  and rotary embedding
    AnyMat v;       // act [T, G*D]
  };
  AttentionInputs attention_inputs(size_t layer, MatView<const float> hidden,
                                   std::span<const int32_t> positions);

  // Where attention writes: act [T, H*D].
  AnyMat attention_output(size_t tokens);

  // hidden += o_proj * attention, then hidden += MLP(norm(hidden)).
  void finish(size_t layer, ConstAnyMat attention, MatView<float> hidden);

  // act [T, d]: the final norm of `hidden`. Valid until the next call of this or
  // attention_inputs().
  AnyMat final_norm(MatView<const float> hidden);

 private:
  const RotaryTable& rotary(size_t positions);

  Backend& backend_;
  std::shared_ptr<const Weights> weights_;
  RotaryTable rotary_;  // grown to the largest position seen
  ScratchMatrix hidden_, normed_, qkv_, attention_, gate_up_, activated_;
};

}  // namespace msa
