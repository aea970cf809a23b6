// Products of 8-bit integer keys with 8-bit integer queries: what the scan of compressed keys is
// made of. Serial; products and sums of a head are exact, heads are added in float32.
//
//   scores[r * 64 + t] = sum over heads h of
//     key scale[r][h] * query scale[h][t] * (sum over i of key[r][h * D + i] * query[h][t][i]
//                                            + offset[h][t])
//
// Keys are bytes from 0 to 255, their bias of 128 not taken off: the offsets do that.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/mat_view.h"

namespace msa::cpu {

// A tile of keys. Up to 63 bytes behind the last row are read.
struct IntegerKeys {
  const uint8_t* data = nullptr;  // [rows, stride]
  size_t rows = 0, stride = 0;
  const bf16* scales = nullptr;  // of the first head; [rows, scale_stride]
  size_t scale_stride = 0;
  size_t heads = 0, head_dim = 0;
  // Fetched into the cache meanwhile: what the scan will need next, `ahead_bytes` for each row.
  const uint8_t* ahead = nullptr;
  size_t ahead_bytes = 0;
};

// Up to 64 queries; arrays are [heads, ...] and begin at the keys' first head. Beyond head_dim, and
// in panels beyond the last query, values are zero.
struct IntegerQueries {
  size_t count = 0;
  const void* values = nullptr;
  const float* scales = nullptr;     // [heads, 64]
  const int32_t* offsets = nullptr;  // [heads, 64]: -128 * the sum of the query's integers
};

// Whether this processor multiplies bytes (AVX512_VNNI). If it does:
//   values int8 [heads, head_dim rounded up to 4, over 4][64][4], any count
void integer_tile_product(const IntegerKeys& keys, const IntegerQueries& queries, float* scores);
//   values int8 [heads, count, head_dim rounded up to 64], count <= kIntegerRowDots: reads keys at
//   the speed of memory
inline constexpr size_t kIntegerRowDots = 8;
void integer_row_dots(const IntegerKeys& keys, const IntegerQueries& queries, float* scores);
bool has_integer_products();

// On every processor: values int16 [heads, count, head_dim rounded up to 64], any count.
void integer_dots(const IntegerKeys& keys, const IntegerQueries& queries, float* scores);

}  // namespace msa::cpu
