// From rows of weights to the blocked layout (gemm.h).
#pragma once

#include <cstddef>

#include "kernels/cpu/gemm.h"

namespace msa::cpu {

// One block of 64 outputs from `rows` <= 64 rows [rows, shape.inputs] of shape.dtype, which lie
// `stride` elements apart. `block` is overwritten: 64 * shape.padded_inputs() elements.
void pack_block(const std::byte* rows, size_t row_count, size_t stride, const WeightShape& shape,
                std::byte* block);

}  // namespace msa::cpu
