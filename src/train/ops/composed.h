// The operations of ops.h as plain libtorch operations: for any device and any floating type.
//
// Slow on a CPU, but short and differentiable without a line of calculus: the fused kernels are
// tested against these. Arithmetic is in float32, or in float64 for float64 operands; a result has
// the type of the operand it comes from. Shapes and meanings as in ops.h.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "train/ops/ops.h"

namespace msa::train::composed {

NormOutput add_rms_norm(const torch::Tensor& hidden, const torch::Tensor& delta,
                        const torch::Tensor& weight, double eps, torch::Dtype out);

torch::Tensor head_norm_rotary(const torch::Tensor& x, const torch::Tensor& weight, double eps,
                               const torch::Tensor& positions, double theta);

torch::Tensor swiglu(const torch::Tensor& gate_up);

torch::Tensor pool_rows(const torch::Tensor& x, const std::vector<int32_t>& runs);

torch::Tensor segment_attention(const torch::Tensor& q, const torch::Tensor& k,
                                const torch::Tensor& v, const SegmentKv& extra,
                                const SegmentLayout& layout);

}  // namespace msa::train::composed
