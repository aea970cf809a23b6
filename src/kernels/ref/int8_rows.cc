#include "kernels/ref/int8_rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/ref/reference.h"

namespace msa::ref {

size_t to_int8_rows(ConstAnyMat from, size_t heads, std::byte* to) {
  assert(heads > 0 && from.cols % heads == 0);
  const size_t D = from.cols / heads, row_bytes = int8_row_bytes(heads, D);
  std::vector<float> scales(heads);
  std::vector<int8_t> integers(from.cols);
  for (size_t r = 0; r < from.rows; ++r) {
    for (size_t h = 0; h < heads; ++h) {
      float highest = 0;
      for (size_t i = 0; i < D; ++i) {
        const auto x = static_cast<float>(get(from, r, h * D + i));
        if (!std::isfinite(x)) return r;
        highest = std::max(highest, std::abs(x));
      }
      scales[h] = highest == 0 ? 0 : std::max(highest / 127, std::numeric_limits<float>::min());
      if (!std::isfinite(scales[h] * 127)) return r;
      const float inverse = highest == 0 ? 0 : 1 / scales[h];
      for (size_t i = 0; i < D; ++i) {
        const auto x = static_cast<float>(get(from, r, h * D + i));
        // nearbyint: ties to even, as vectors round.
        const float n = std::nearbyint(x * inverse);
        integers[h * D + i] = static_cast<int8_t>(std::clamp(n, -127.0f, 127.0f));
      }
    }
    std::byte* row = to + r * row_bytes;
    std::fill_n(row, row_bytes, std::byte{0});
    std::memcpy(row, scales.data(), heads * sizeof(float));
    std::memcpy(row + heads * sizeof(float), integers.data(), integers.size());
  }
  return from.rows;
}

void from_int8_rows(const Int8Rows& from, AnyMat to) {
  assert(to.rows == from.rows && to.cols == from.cols());
  for (size_t r = 0; r < from.rows; ++r) {
    const std::byte* row = from.data + r * from.row_bytes();
    for (size_t h = 0; h < from.heads; ++h) {
      float scale;
      std::memcpy(&scale, row + h * sizeof(float), sizeof(scale));
      for (size_t i = 0; i < from.head_dim; ++i) {
        const size_t c = h * from.head_dim + i;
        int8_t n;
        std::memcpy(&n, row + from.heads * sizeof(float) + c, 1);
        // In float: the product of 32 bits is what vectors compute.
        set(to, r, c, scale * static_cast<float>(n));
      }
    }
  }
}

}  // namespace msa::ref
