// What a training step does row by row, forward and backward: norms, rotary embedding, activation,
// pooling.
//
// T tokens, d hidden size, D head size, F feed-forward size, C runs. Matrices of the type AnyMat
// hold float32 or bf16; rows may be strided. Arithmetic is in float32. Outputs are overwritten and
// must not overlap inputs. Nothing depends on `threads` but the time; gradients of weights are
// summed in the order of rows. Mismatched shapes are a bug (assert). Throw std::bad_alloc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/aligned_buffer.h"
#include "base/mat_view.h"

namespace msa::train_kernels {

// sum [T, d] = hidden [T, d] + delta [T, d]; without data in delta, sum is not written and the norm
// is that of hidden. normed [T, d] = sum * inverse_rms * weight [d], where inverse_rms [T] is one
// over the root of the mean square of a row plus eps.
void add_rms_norm(int threads, MatView<const float> hidden, ConstAnyMat delta,
                  std::span<const float> weight, float eps, MatView<float> sum, AnyMat normed,
                  std::span<float> inverse_rms);

// Gradients to fill; those without data are not wanted. That of hidden and that of delta are the
// same numbers.
struct AddRmsNormGradients {
  MatView<float> hidden;    // [T, d]
  AnyMat delta;             // [T, d]
  std::span<float> weight;  // [d]
};
// grad_normed [T, d] is the gradient of normed, grad_sum [T, d] what reaches the sum besides (no
// data: nothing).
void add_rms_norm_backward(int threads, MatView<const float> sum, std::span<const float> weight,
                           std::span<const float> inverse_rms, ConstAnyMat grad_normed,
                           MatView<const float> grad_sum, const AddRmsNormGradients& gradients);

// Cosines and sines of the rotary embedding's angles, computed in float64, for all positions from
// the lowest to the highest of those asked for.
class RotaryTable {
 public:
  // D even and at least 2. Takes the memory of highest - lowest + 1 times D floats.
  RotaryTable(std::span<const int32_t> positions, size_t head_dim, double theta);
  // [D/2] each.
  const float* cosines(int32_t position) const { return row(position); }
  const float* sines(int32_t position) const { return row(position) + half_; }

 private:
  const float* row(int32_t position) const {
    return values_.data() + static_cast<size_t>(int64_t{position} - lowest_) * 2 * half_;
  }
  size_t half_;
  int64_t lowest_ = 0;
  AlignedBuffer<float> values_;
};

// y [T, heads*D] = RMS norm of each head of x [T, heads*D] times weight [D], rotated by the angles
// of positions [T]: element i with element i + D/2.
void head_norm_rotary(int threads, ConstAnyMat x, std::span<const float> weight, float eps,
                      std::span<const int32_t> positions, const RotaryTable& table, AnyMat y);
// grad_x [T, heads*D] (no data: not wanted), grad_weight [D] (empty: not wanted).
void head_norm_rotary_backward(int threads, ConstAnyMat x, std::span<const float> weight, float eps,
                               std::span<const int32_t> positions, const RotaryTable& table,
                               ConstAnyMat grad_y, AnyMat grad_x, std::span<float> grad_weight);

// y [T, F] = silu(gate) * up, where gate_up [T, 2F] holds the gate first.
void swiglu(int threads, ConstAnyMat gate_up, AnyMat y);
void swiglu_backward(int threads, ConstAnyMat gate_up, ConstAnyMat grad_y, AnyMat grad_gate_up);

// means [C, n] = means of the rows runs[c] .. runs[c + 1] of x [T, n]; zero for an empty run. runs
// [C+1] ascend.
void pool_rows(int threads, ConstAnyMat x, std::span<const int32_t> runs, MatView<float> means);
void pool_rows_backward(int threads, MatView<const float> grad_means, std::span<const int32_t> runs,
                        AnyMat grad_x);

}  // namespace msa::train_kernels
