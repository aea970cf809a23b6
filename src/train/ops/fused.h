// The operations of ops.h on the fused kernels of src/train_kernels: for CPU tensors of float32 or
// bfloat16 activations. Shapes and meanings as in ops.h; mismatched ones throw c10::Error.
#pragma once

#include <torch/torch.h>

#include "train/ops/ops.h"

namespace msa::train::fused {

// Whether these kernels can work on `activations`.
bool supports(const torch::Tensor& activations);

torch::Tensor segment_attention(const torch::Tensor& q, const torch::Tensor& k,
                                const torch::Tensor& v, const SegmentKv& extra,
                                const SegmentLayout& layout);

}  // namespace msa::train::fused
