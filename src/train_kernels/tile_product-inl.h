// Products of float32 tiles that lie in the cache: what attention is made of. Include after
// hwy/foreach_target.h.

#if defined(MSA_TRAIN_KERNELS_TILE_PRODUCT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MSA_TRAIN_KERNELS_TILE_PRODUCT_INL_H_
#undef MSA_TRAIN_KERNELS_TILE_PRODUCT_INL_H_
#else
#define MSA_TRAIN_KERNELS_TILE_PRODUCT_INL_H_
#endif

#include <algorithm>
#include <cstddef>

#include "train_kernels/vector_io-inl.h"

HWY_BEFORE_NAMESPACE();
namespace msa::train_kernels::HWY_NAMESPACE {

// Sums of R rows by V vectors stay in registers: 16 of 32, or 8 of 16.
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_EMU128 || HWY_TARGET == HWY_SCALAR
inline constexpr size_t kMostVectors = 2, kSums = 8;
#else
inline constexpr size_t kMostVectors = 4, kSums = 16;
#endif

// Element (r, i) of the left factor.
template <bool kTransposed>
HWY_INLINE const float* left(const float* a, size_t lda, size_t r, size_t i) {
  return kTransposed ? a + i * lda + r : a + r * lda + i;
}

template <bool kTransposed, size_t R, size_t V>
HWY_INLINE void multiply(const float* HWY_RESTRICT a, size_t lda, const float* HWY_RESTRICT b,
                         size_t ldb, size_t k, float* HWY_RESTRICT c, size_t ldc, bool accumulate) {
  const D16 d;
  const size_t lanes = hn::Lanes(d);
  V16 sum[R][V];
  for (size_t r = 0; r < R; ++r)
    for (size_t v = 0; v < V; ++v)
      sum[r][v] = accumulate ? hn::LoadU(d, c + r * ldc + v * lanes) : hn::Zero(d);
  for (size_t i = 0; i < k; ++i, b += ldb) {
    V16 row[V];
    for (size_t v = 0; v < V; ++v) row[v] = hn::LoadU(d, b + v * lanes);
    for (size_t r = 0; r < R; ++r) {
      const V16 factor = hn::Set(d, *left<kTransposed>(a, lda, r, i));
      for (size_t v = 0; v < V; ++v) sum[r][v] = hn::MulAdd(factor, row[v], sum[r][v]);
    }
  }
  for (size_t r = 0; r < R; ++r)
    for (size_t v = 0; v < V; ++v) hn::StoreU(sum[r][v], d, c + r * ldc + v * lanes);
}

template <bool kTransposed, size_t V>
HWY_INLINE void multiply_rows(const float* a, size_t lda, const float* b, size_t ldb, size_t m,
                              size_t k, float* c, size_t ldc, bool accumulate) {
  constexpr size_t kRows = kSums / V >= 8 ? 8 : 4;
  size_t r = 0;
  for (; r + kRows <= m; r += kRows)
    multiply<kTransposed, kRows, V>(left<kTransposed>(a, lda, r, 0), lda, b, ldb, k, c + r * ldc,
                                    ldc, accumulate);
  if (r < m)
    multiply<kTransposed, 4, V>(left<kTransposed>(a, lda, r, 0), lda, b, ldb, k, c + r * ldc, ldc,
                                accumulate);
}

// c [m, n] = a [m, k] b [k, n], or += with `accumulate`; with kTransposed a lies as [k, m]. m is a
// multiple of 4, n of 16; rows lie lda, ldb and ldc elements apart.
template <bool kTransposed>
HWY_INLINE void product(const float* a, size_t lda, const float* b, size_t ldb, size_t m, size_t n,
                        size_t k, float* c, size_t ldc, bool accumulate) {
  const size_t lanes = hn::Lanes(D16());
  for (size_t column = 0; column < n;) {
    const size_t vectors = std::min(kMostVectors, (n - column) / lanes);
    const float* right = b + column;
    float* to = c + column;
    if (vectors == 1)
      multiply_rows<kTransposed, 1>(a, lda, right, ldb, m, k, to, ldc, accumulate);
    else if (vectors == 2)
      multiply_rows<kTransposed, 2>(a, lda, right, ldb, m, k, to, ldc, accumulate);
    else if constexpr (kMostVectors > 2) {
      if (vectors == 3)
        multiply_rows<kTransposed, 3>(a, lda, right, ldb, m, k, to, ldc, accumulate);
      else
        multiply_rows<kTransposed, 4>(a, lda, right, ldb, m, k, to, ldc, accumulate);
    }
    column += vectors * lanes;
  }
}

}  // namespace msa::train_kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
