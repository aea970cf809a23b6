#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/tile_product.cc"
#include <hwy/foreach_target.h>
// The line above must come first.
#include <hwy/cache_control.h>

#include "kernels/cpu/tile_product.h"

#include <algorithm>

#include "kernels/cpu/pack.h"
#include "kernels/cpu/vector_io-inl.h"

HWY_BEFORE_NAMESPACE();
namespace msa::cpu::HWY_NAMESPACE {

using D16 = hn::CappedTag<float, 16>;
using V16 = hn::Vec<D16>;

// Accumulators: 6 rows of 4 vectors fill most of 32 registers, 6 of 2 most of 16.
constexpr size_t kRows = 6;
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
constexpr size_t kVectors = 2;
#else
constexpr size_t kVectors = 4;
#endif

constexpr size_t kLineInputs = 64 / sizeof(float);  // of a in a cache line

// Meanwhile the next R rows of a are fetched, as in a scan they come from memory: one row after the
// other, the order that lets the processor run ahead itself.
template <size_t R, size_t V>
HWY_INLINE void multiply(const float* HWY_RESTRICT a, size_t lda, const float* HWY_RESTRICT b,
                         size_t k, float* HWY_RESTRICT c, size_t ldc, bool accumulate) {
  const D16 d;
  const size_t lanes = hn::Lanes(d);
  V16 sum[R][V];
  for (size_t r = 0; r < R; ++r)
    for (size_t v = 0; v < V; ++v)
      sum[r][v] = accumulate ? hn::LoadU(d, c + r * ldc + v * lanes) : hn::Zero(d);
  const float* next = a + R * lda;
  const float* next_end = next + k;
  for (size_t line = 0; line < k; line += kLineInputs) {
    for (size_t r = 0; r < R; ++r, next += kLineInputs) {
      if (next >= next_end) {
        next_end += lda;
        next = next_end - k;
      }
      hwy::Prefetch(next);
    }
    const size_t end = std::min(k, line + kLineInputs);
    for (size_t i = line; i < end; ++i, b += kPanelColumns) {
      V16 row[V];
      for (size_t v = 0; v < V; ++v) row[v] = hn::LoadU(d, b + v * lanes);
      for (size_t r = 0; r < R; ++r) {
        const V16 factor = hn::Set(d, a[r * lda + i]);
        for (size_t v = 0; v < V; ++v) sum[r][v] = hn::MulAdd(factor, row[v], sum[r][v]);
      }
    }
  }
  for (size_t r = 0; r < R; ++r)
    for (size_t v = 0; v < V; ++v) hn::StoreU(sum[r][v], d, c + r * ldc + v * lanes);
}

template <size_t V>
void multiply_rows(const float* a, size_t lda, const float* b, size_t m, size_t k, float* c,
                   size_t ldc, bool accumulate) {
  size_t r = 0;
  for (; r + kRows <= m; r += kRows)
    multiply<kRows, V>(a + r * lda, lda, b, k, c + r * ldc, ldc, accumulate);
  a += r * lda;
  c += r * ldc;
  switch (m - r) {
    case 1: return multiply<1, V>(a, lda, b, k, c, ldc, accumulate);
    case 2: return multiply<2, V>(a, lda, b, k, c, ldc, accumulate);
    case 3: return multiply<3, V>(a, lda, b, k, c, ldc, accumulate);
    case 4: return multiply<4, V>(a, lda, b, k, c, ldc, accumulate);
    case 5: return multiply<5, V>(a, lda, b, k, c, ldc, accumulate);
    default: return;
  }
}

void product_f32(const float* a, size_t lda, const float* b, size_t m, size_t n, size_t k, float* c,
                 size_t ldc, bool accumulate) {
  const size_t lanes = hn::Lanes(D16());
  for (size_t panel = 0; panel < n; panel += kPanelColumns) {
    const float* b_panel = b + panel * k;
    const size_t width = (std::min(kPanelColumns, n - panel) + lanes - 1) / lanes * lanes;
    for (size_t column = 0; column < width;) {
      const size_t vectors = std::min(kVectors, (width - column) / lanes);
      const float* b_part = b_panel + column;
      float* c_part = c + panel + column;
      switch (vectors) {
        case 1: multiply_rows<1>(a, lda, b_part, m, k, c_part, ldc, accumulate); break;
        case 2: multiply_rows<2>(a, lda, b_part, m, k, c_part, ldc, accumulate); break;
        case 3: multiply_rows<3>(a, lda, b_part, m, k, c_part, ldc, accumulate); break;
        default: multiply_rows<4>(a, lda, b_part, m, k, c_part, ldc, accumulate); break;
      }
      column += vectors * lanes;
    }
  }
}

}  // namespace msa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msa::cpu {
HWY_EXPORT(product_f32);

void tile_product(const float* a, size_t lda, const float* b, size_t m, size_t n, size_t k,
                  float* c, size_t ldc, bool accumulate) {
  HWY_DYNAMIC_DISPATCH(product_f32)(a, lda, b, m, n, k, c, ldc, accumulate);
}

template <class T>
void pack_panel_of_rows(const T* rows, size_t stride, size_t n, size_t k, T* panel) {
  constexpr size_t kPerUnit = sizeof(uint32_t) / sizeof(T);
  assert(n <= kPanelColumns && k % kPerUnit == 0);
  if (n < kPanelColumns) std::fill_n(panel, kPanelColumns * k, T{});
  if (stride % kPerUnit == 0 && reinterpret_cast<uintptr_t>(rows) % sizeof(uint32_t) == 0) {
    transpose_units(reinterpret_cast<const uint32_t*>(rows), n, stride / kPerUnit, k / kPerUnit,
                    reinterpret_cast<uint32_t*>(panel));
    return;
  }
  for (size_t o = 0; o < n; ++o)
    for (size_t i = 0; i < k; ++i)
      panel[(i / kPerUnit * kPanelColumns + o) * kPerUnit + i % kPerUnit] = rows[o * stride + i];
}
void pack_dot_queries(MatView<const bf16> queries, bf16* to) {
  assert(queries.cols % kRowDotInputs == 0);
  for (size_t i = 0; i < queries.cols; i += kRowDotInputs)
    for (size_t t = 0; t < queries.rows; ++t, to += kRowDotInputs)
      std::copy_n(queries.row(t).data() + i, kRowDotInputs, to);
}

template void pack_panel_of_rows(const float*, size_t, size_t, size_t, float*);
template void pack_panel_of_rows(const bf16*, size_t, size_t, size_t, bf16*);

}  // namespace msa::cpu
#endif
