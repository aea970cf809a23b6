// Dense products by oneDNN: y = x W^T, with the primitives for recent shapes kept.
#pragma once

#include <cstddef>
#include <memory>

#include "base/mat_view.h"

namespace msa::cpu {

// How the values of a weight matrix W [N, K] lie in memory.
enum class WeightLayout {
  plain,    // row by row
  blocked,  // below
};
// Blocked, the layout that oneDNN's matrix kernels for AVX-512 and AMX read: blocks of 64 outputs,
// one after the other; within a block all inputs, for each (f32) or each two (bf16) of which the 64
// outputs lie together: f32 [N/64][K][64], bf16 [N/64][K/2][64][2]. N and K are padded with zeros
// to whole blocks.
inline constexpr size_t kBlockOutputs = 64;
constexpr size_t block_inputs(DType dtype) {
  return dtype == DType::bf16 ? 32 : 16;
}

struct WeightShape {
  size_t outputs = 0, inputs = 0;  // N, K
  DType dtype = DType::f32;        // f32 or bf16
  WeightLayout layout = WeightLayout::plain;

  size_t padded_outputs() const;
  size_t padded_inputs() const;
};

// One caller at a time.
class Gemm {
 public:
  explicit Gemm(int threads);
  Gemm(Gemm&&) noexcept;
  Gemm& operator=(Gemm&&) noexcept;
  ~Gemm();

  // Whether W [outputs, inputs] can be multiplied at full speed in the blocked layout.
  bool takes_blocked(size_t outputs, size_t inputs, DType dtype);
  // Whether bf16 times bf16 runs on instructions for it.
  bool native_bf16() const;
  // oneDNN's name of the kernel that multiplies `dtype`, for people.
  const char* kernel_name(DType dtype) const;

  // y [M, N] (f32 or bf16, dense) = x W^T, or += with `accumulate` (f32 only). x [M, K] is dense
  // and of W's dtype. False if oneDNN cannot do it: y is then unchanged.
  bool multiply(ConstAnyMat x, const std::byte* weights, const WeightShape& shape, AnyMat y,
                bool accumulate);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace msa::cpu
