// Rearranging rows for products: the blocked layout of weights (gemm.h) and of tiles
// (tile_product.h).
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/gemm.h"

namespace msa::cpu {

// One block of 64 outputs from `rows` <= 64 rows [rows, shape.inputs] of shape.dtype, which lie
// `stride` elements apart. `block` is overwritten: 64 * shape.padded_inputs() elements.
void pack_block(const std::byte* rows, size_t row_count, size_t stride, const WeightShape& shape,
                std::byte* block);

// block[u][o] = rows[o][u] for u < units, o < row_count <= 64; the block is [units][64], the rows
// are `stride` apart. A unit is 32 bits: one f32 or two bf16.
void transpose_units(const uint32_t* rows, size_t row_count, size_t stride, size_t units,
                     uint32_t* block);

}  // namespace msa::cpu
