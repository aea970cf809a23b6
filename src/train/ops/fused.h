// The operations of ops.h on the fused kernels of src/train_kernels: for CPU tensors of float32 or
// bfloat16 activations. Shapes and meanings as in ops.h; mismatched ones throw c10::Error.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "train/ops/ops.h"

namespace msa::train::fused {

NormOutput add_rms_norm(const torch::Tensor& hidden, const torch::Tensor& delta,
                        const torch::Tensor& weight, double eps, torch::Dtype out);

torch::Tensor head_norm_rotary(const torch::Tensor& x, const torch::Tensor& weight, double eps,
                               const torch::Tensor& positions, double theta);

torch::Tensor swiglu(const torch::Tensor& gate_up);

torch::Tensor pool_rows(const torch::Tensor& x, const std::vector<int32_t>& runs);

torch::Tensor segment_attention(const torch::Tensor& q, const torch::Tensor& k,
                                const torch::Tensor& v, const SegmentKv& extra,
                                const SegmentLayout& layout);

}  // namespace msa::train::fused
