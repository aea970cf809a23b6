// Scalar twins of the kernels: the obvious loops, in float64. Oracles for tests; slow.
//
// Shapes and meanings as in the headers of the kernels. Outputs may have another type than inputs.
#pragma once

#include "train_kernels/attention.h"

namespace msa::train_kernels::ref {

void segment_attention(const AttentionInputs& inputs, AnyMat out, MatView<float> log_sums);
void segment_attention_backward(const AttentionInputs& inputs, ConstAnyMat grad_out,
                                const AttentionGradients& gradients);

}  // namespace msa::train_kernels::ref
