// Tensors as the views that kernels take.
#pragma once

#include <torch/torch.h>

#include <span>

#include "base/mat_view.h"

namespace msa::train {

inline DType dtype_of(const torch::Tensor& tensor) {
  TORCH_CHECK(tensor.scalar_type() == torch::kFloat32 || tensor.scalar_type() == torch::kBFloat16,
              "fused kernel: element type is ", tensor.scalar_type(),
              ", neither float32 nor bfloat16; use the composed operations");
  return tensor.scalar_type() == torch::kFloat32 ? DType::f32 : DType::bf16;
}

// `tensor` [rows, ...] itself if each row is one run of memory and rows do not overlap, or a copy
// of which that is true.
inline torch::Tensor with_whole_rows(const torch::Tensor& tensor) {
  if (!tensor.defined() || tensor.numel() == 0) return tensor;
  int64_t width = 1;
  for (int64_t i = tensor.dim() - 1; i > 0; --i) {
    if (tensor.size(i) != 1 && tensor.stride(i) != width) return tensor.contiguous();
    width *= tensor.size(i);
  }
  return tensor.size(0) > 1 && tensor.stride(0) < width ? tensor.contiguous() : tensor;
}

// [rows, product of the other sizes]; `tensor` is as with_whole_rows() leaves it and outlives the
// view. Undefined: no rows.
inline AnyMat rows_of(const torch::Tensor& tensor) {
  if (!tensor.defined()) return {};
  const auto rows = static_cast<size_t>(tensor.size(0));
  size_t cols = 1;
  for (int64_t i = 1; i < tensor.dim(); ++i) cols *= static_cast<size_t>(tensor.size(i));
  const size_t stride = rows > 1 && cols > 0 ? static_cast<size_t>(tensor.stride(0)) : cols;
  return AnyMat(static_cast<std::byte*>(tensor.data_ptr()), dtype_of(tensor), rows, cols, stride);
}

// A vector of float32, contiguous; undefined: empty.
inline std::span<float> floats_of(const torch::Tensor& tensor) {
  if (!tensor.defined()) return {};
  return {tensor.data_ptr<float>(), static_cast<size_t>(tensor.numel())};
}

}  // namespace msa::train
