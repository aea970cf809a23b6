// Serial vector kernels over the rows of a matrix: what backend.h calls embed, rms_norm,
// norm_rotary, swiglu, pool_chunks and copy_rows, for the rows in `range`. No alignment is assumed.
#pragma once

#include <cstdint>
#include <span>

#include "base/mat_view.h"
#include "kernels/backend.h"
#include "kernels/cpu/parallel.h"

namespace msa::cpu {

void embed_rows(std::span<const int32_t> tokens, ConstAnyMat table, MatView<float> x, Range range);
void rms_norm_rows(MatView<const float> x, std::span<const float> weight, float eps, AnyMat y,
                   Range range);
void norm_rotary_rows(AnyMat x, size_t heads, std::span<const float> weight, float eps,
                      std::span<const int32_t> positions, const RotaryTable& table, Range range);
void swiglu_rows(ConstAnyMat gate_up, AnyMat y, Range range);
void convert_rows(ConstAnyMat from, AnyMat to, Range range);
// to[r] += from[r], to f32.
void add_rows(MatView<const float> from, MatView<float> to, Range range);

// Mean of all rows of x into out [x.cols]; `normalise` as in Backend::pool_chunks.
// sum [x.cols]: scratch.
void pool_rows(ConstAnyMat x, size_t kv_heads, bool normalise, AnyMat out, std::span<float> sum);

}  // namespace msa::cpu
