// Products of a few rows with a weight matrix, bound by the speed at which W can be read. Serial;
// the caller splits W. Sums are float32.
#pragma once

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/parallel.h"

namespace msa::cpu {

// The most rows of x that one call takes.
inline constexpr size_t kGemvRows = 4;

// Blocked W, one block of 64 outputs and the inputs [inputs.begin, inputs.end), both multiples of
// block_inputs(dtype): sums[r * 64 + o] = sum over i of x[r * x_stride + i] * W[64 * block + o][i].
// x is zero up to shape.padded_inputs().
void gemv_blocked(const float* x, size_t x_stride, size_t rows, const std::byte* weights,
                  const WeightShape& shape, size_t block, Range inputs, float* sums);

// Plain W, outputs [outputs.begin, outputs.end) at most kBlockOutputs of them:
// sums[r * 64 + o - outputs.begin] = x[r] . W[o].
void gemv_plain(const float* x, size_t x_stride, size_t rows, const std::byte* weights,
                const WeightShape& shape, Range outputs, float* sums);

}  // namespace msa::cpu
