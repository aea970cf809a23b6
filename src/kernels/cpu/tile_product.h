// Products of tiles that lie in the cache: what attention and routing are made of. Serial.
//
//   c [m, n] f32 = a [m, k] b [k, n]      or += with `accumulate`
//
// b is packed in panels of 64 columns, one after the other, the last padded: f32 [n/64][k][64],
// bf16 [n/64][k/2][64][2] with k even. a and c are row-major with strides lda and ldc in elements;
// c has room for whole multiples of 16 columns, the surplus of which is overwritten with anything.
#pragma once

#include <cstddef>

#include "base/mat_view.h"

namespace msa::cpu {

inline constexpr size_t kPanelColumns = 64;
// Elements of a packed [k, n].
constexpr size_t packed_size(size_t k, size_t n) {
  return (n + kPanelColumns - 1) / kPanelColumns * kPanelColumns * k;
}

void tile_product(const float* a, size_t lda, const float* b, size_t m, size_t n, size_t k,
                  float* c, size_t ldc, bool accumulate);

// On processors with instructions for bf16 products only. Products are exact, sums float32.
bool has_bf16_tile_product();
void tile_product(const bf16* a, size_t lda, const bf16* b, size_t m, size_t n, size_t k, float* c,
                  size_t ldc, bool accumulate);

// The same sums for at most kRowDots queries, laid out as [k/32][n][32]: reads `a` row by row, at
// the speed of memory. c [m, 64]; k a multiple of 32.
inline constexpr size_t kRowDots = 8, kRowDotInputs = 32;
void row_dots(const bf16* a, size_t lda, const bf16* queries, size_t m, size_t n, size_t k,
              float* c);

// Lays out `queries` [n, k] for row_dots().
void pack_dot_queries(MatView<const bf16> queries, bf16* to);

// Packs columns given as rows: b = rows^T for rows [n, k], n <= 64 (one panel). k even for bf16.
template <class T>
void pack_panel_of_rows(const T* rows, size_t stride, size_t n, size_t k, T* panel);

}  // namespace msa::cpu
