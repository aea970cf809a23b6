// Scalar twins of the kernels: the obvious loops, in float64. Oracles for tests; slow.
//
// Shapes and meanings as in the headers of the kernels. Outputs may have another type than inputs.
#pragma once

#include "train_kernels/attention.h"
#include "train_kernels/rows.h"

namespace msa::train_kernels::ref {

void segment_attention(const AttentionInputs& inputs, AnyMat out, MatView<float> log_sums);
void segment_attention_backward(const AttentionInputs& inputs, ConstAnyMat grad_out,
                                const AttentionGradients& gradients);

void add_rms_norm(MatView<const float> hidden, ConstAnyMat delta, std::span<const float> weight,
                  double eps, MatView<float> sum, AnyMat normed);
void add_rms_norm_backward(MatView<const float> sum, std::span<const float> weight, double eps,
                           ConstAnyMat grad_normed, MatView<const float> grad_sum,
                           const AddRmsNormGradients& gradients);

// Angles are computed one by one.
void head_norm_rotary(ConstAnyMat x, std::span<const float> weight, double eps,
                      std::span<const int32_t> positions, double theta, AnyMat y);
void head_norm_rotary_backward(ConstAnyMat x, std::span<const float> weight, double eps,
                               std::span<const int32_t> positions, double theta, ConstAnyMat grad_y,
                               AnyMat grad_x, std::span<float> grad_weight);

void swiglu(ConstAnyMat gate_up, AnyMat y);
void swiglu_backward(ConstAnyMat gate_up, ConstAnyMat grad_y, AnyMat grad_gate_up);

void pool_rows(ConstAnyMat x, std::span<const int32_t> runs, MatView<float> means);
void pool_rows_backward(MatView<const float> grad_means, std::span<const int32_t> runs,
                        AnyMat grad_x);

}  // namespace msa::train_kernels::ref
