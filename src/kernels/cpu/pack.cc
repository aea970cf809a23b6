#include "kernels/cpu/pack.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace msa::cpu {
void pack_block(const std::byte* rows, size_t row_count, size_t stride, const WeightShape& shape,
                std::byte* block) {
  const size_t per_unit = sizeof(uint32_t) / size_of(shape.dtype);
  assert(stride % per_unit == 0);
  const size_t units = (shape.inputs + per_unit - 1) / per_unit;
  if (row_count < kBlockOutputs || shape.padded_inputs() != shape.inputs)
    std::memset(block, 0, kBlockOutputs * shape.padded_inputs() * size_of(shape.dtype));
  transpose_units(reinterpret_cast<const uint32_t*>(rows), row_count, stride / per_unit, units,
                  reinterpret_cast<uint32_t*>(block));
}

// In tiles of 16 units, a cache line of each row, so that every line is read and written once.
void transpose_units(const uint32_t* rows, size_t row_count, size_t stride, size_t units,
                     uint32_t* block) {
  constexpr size_t kTile = 16;
  for (size_t first = 0; first < units; first += kTile) {
    const size_t count = std::min(kTile, units - first);
    for (size_t o = 0; o < row_count; ++o) {
      const uint32_t* row = rows + o * stride + first;
      uint32_t* column = block + first * kBlockOutputs + o;
      for (size_t u = 0; u < count; ++u) column[u * kBlockOutputs] = row[u];
    }
  }
}

}  // namespace msa::cpu
