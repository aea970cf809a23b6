// Tile products on AVX512_BF16, whose instruction multiplies pairs of bf16: 16 sums += 2 products
// each. Highway has no name for it yet, so this is, as integer_dots_vnni.cc, a file of intrinsics;
// elsewhere it says that there is no such instruction.
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels/cpu/tile_product.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define MSA_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))

namespace msa::cpu {
namespace {

constexpr size_t kPanelBytes = kPanelColumns * 2 * sizeof(bf16);  // one step of two inputs
constexpr size_t kLineInputs = 64 / sizeof(bf16);                 // of a in a cache line
static_assert(kLineInputs == kRowDotInputs);
// In a scan, rows of a come from memory. They are asked for so many rows ahead, one row after the
// other (the order that lets the processor run ahead itself), into the second-level cache: the few
// slots in which the first level waits for memory stay free for what is needed now.
constexpr size_t kRowsAhead = 16;

MSA_TARGET inline int32_t pair_at(const bf16* p) {
  int32_t pair;
  std::memcpy(&pair, p, sizeof(pair));
  return pair;
}

// R rows times V vectors of 16 columns and, with kHalf, 8 columns more: on processors that split
// wide vectors in two these cost half.
template <size_t R, size_t V, bool kHalf>
MSA_TARGET void multiply(const bf16* a, size_t lda, const std::byte* b, size_t k, float* c,
                         size_t ldc, bool accumulate) {
  __m512 sum[R][V == 0 ? 1 : V];
  __m256 half[R];
  for (size_t r = 0; r < R; ++r) {
    for (size_t v = 0; v < V; ++v)
      sum[r][v] = accumulate ? _mm512_loadu_ps(c + r * ldc + v * 16) : _mm512_setzero_ps();
    if constexpr (kHalf)
      half[r] = accumulate ? _mm256_loadu_ps(c + r * ldc + V * 16) : _mm256_setzero_ps();
  }
  const bf16* next = a + kRowsAhead * lda;
  const bf16* next_end = next + k;
  for (size_t line = 0; line < k; line += kLineInputs) {
    for (size_t r = 0; r < R; ++r, next += kLineInputs) {
      if (next >= next_end) {
        next_end += lda;
        next = next_end - k;
      }
      _mm_prefetch(reinterpret_cast<const char*>(next), _MM_HINT_T1);
    }
    const size_t end = std::min(k, line + kLineInputs);
    for (size_t i = line; i < end; i += 2, b += kPanelBytes) {
      __m512bh row[V == 0 ? 1 : V];
      for (size_t v = 0; v < V; ++v) row[v] = (__m512bh)_mm512_loadu_si512(b + v * 64);
      __m256bh half_row;
      if constexpr (kHalf)
        half_row = (__m256bh)_mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + V * 64));
      for (size_t r = 0; r < R; ++r) {
        const int32_t pair = pair_at(a + r * lda + i);
        if constexpr (V > 0) {
          const auto factor = (__m512bh)_mm512_set1_epi32(pair);
          for (size_t v = 0; v < V; ++v) sum[r][v] = _mm512_dpbf16_ps(sum[r][v], factor, row[v]);
        }
        if constexpr (kHalf)
          half[r] = _mm256_dpbf16_ps(half[r], (__m256bh)_mm256_set1_epi32(pair), half_row);
      }
    }
  }
  for (size_t r = 0; r < R; ++r) {
    for (size_t v = 0; v < V; ++v) _mm512_storeu_ps(c + r * ldc + v * 16, sum[r][v]);
    if constexpr (kHalf) _mm256_storeu_ps(c + r * ldc + V * 16, half[r]);
  }
}

template <size_t V, bool kHalf>
MSA_TARGET void multiply_rows(const bf16* a, size_t lda, const std::byte* b, size_t m, size_t k,
                              float* c, size_t ldc, bool accumulate) {
  // Accumulators fill at most 24 of 32 registers; the sums' latency needs at least 8.
  constexpr size_t kRows = V + kHalf >= 4 ? 6 : 8;
  size_t r = 0;
  for (; r + kRows <= m; r += kRows)
    multiply<kRows, V, kHalf>(a + r * lda, lda, b, k, c + r * ldc, ldc, accumulate);
  a += r * lda;
  c += r * ldc;
  switch (m - r) {
    case 1: return multiply<1, V, kHalf>(a, lda, b, k, c, ldc, accumulate);
    case 2: return multiply<2, V, kHalf>(a, lda, b, k, c, ldc, accumulate);
    case 3: return multiply<3, V, kHalf>(a, lda, b, k, c, ldc, accumulate);
    case 4: return multiply<4, V, kHalf>(a, lda, b, k, c, ldc, accumulate);
    case 5: return multiply<5, V, kHalf>(a, lda, b, k, c, ldc, accumulate);
    case 6: return multiply<6, V, kHalf>(a, lda, b, k, c, ldc, accumulate);
    case 7: return multiply<7, V, kHalf>(a, lda, b, k, c, ldc, accumulate);
    default: return;
  }
}

// Sums of the lanes of Q vectors, at least one and at most 8.
template <size_t Q>
MSA_TARGET inline void store_sums(const __m512 (&sum)[Q], float* to) {
  __m256 half[8];
  for (size_t t = 0; t < 8; ++t)
    half[t] = t < Q
                  ? _mm256_add_ps(_mm512_castps512_ps256(sum[t]), _mm512_extractf32x8_ps(sum[t], 1))
                  : _mm256_setzero_ps();
  const __m256 low =
      _mm256_hadd_ps(_mm256_hadd_ps(half[0], half[1]), _mm256_hadd_ps(half[2], half[3]));
  const __m256 high =
      _mm256_hadd_ps(_mm256_hadd_ps(half[4], half[5]), _mm256_hadd_ps(half[6], half[7]));
  const __m128 first = _mm_add_ps(_mm256_castps256_ps128(low), _mm256_extractf128_ps(low, 1));
  const __m128 second = _mm_add_ps(_mm256_castps256_ps128(high), _mm256_extractf128_ps(high, 1));
  const __m256 all = _mm256_insertf128_ps(_mm256_castps128_ps256(first), second, 1);
  _mm256_mask_storeu_ps(to, static_cast<__mmask8>((1u << Q) - 1), all);
}

// R rows with Q queries.
template <size_t R, size_t Q>
MSA_TARGET inline void dots(const bf16* a, size_t lda, const bf16* queries, size_t k, float* c) {
  __m512 sum[R][Q];
  for (size_t r = 0; r < R; ++r)
    for (size_t t = 0; t < Q; ++t) sum[r][t] = _mm512_setzero_ps();
  for (size_t i = 0; i < k; i += kLineInputs, queries += Q * kLineInputs) {
    __m512bh row[R];
    for (size_t r = 0; r < R; ++r) {
      _mm_prefetch(reinterpret_cast<const char*>(a + (kRowsAhead + r) * lda + i), _MM_HINT_T1);
      row[r] = (__m512bh)_mm512_loadu_si512(a + r * lda + i);
    }
    for (size_t t = 0; t < Q; ++t) {
      const auto query = (__m512bh)_mm512_loadu_si512(queries + t * kLineInputs);
      for (size_t r = 0; r < R; ++r) sum[r][t] = _mm512_dpbf16_ps(sum[r][t], row[r], query);
    }
  }
  for (size_t r = 0; r < R; ++r) store_sums(sum[r], c + r * kPanelColumns);
}

// A query that is loaded once for two rows leaves the loads behind the products; fewer queries
// than five wait for memory, which gives most if it is read row after row.
template <size_t Q>
MSA_TARGET void dots_of_rows(const bf16* a, size_t lda, const bf16* queries, size_t m, size_t k,
                             float* c) {
  constexpr size_t R = Q < 5 ? 1 : 2;
  size_t r = 0;
  for (; r + R <= m; r += R) dots<R, Q>(a + r * lda, lda, queries, k, c + r * kPanelColumns);
  if (r < m) dots<1, Q>(a + r * lda, lda, queries, k, c + r * kPanelColumns);
}

}  // namespace

void row_dots(const bf16* a, size_t lda, const bf16* queries, size_t m, size_t n, size_t k,
              float* c) {
  switch (n) {
    case 1: return dots_of_rows<1>(a, lda, queries, m, k, c);
    case 2: return dots_of_rows<2>(a, lda, queries, m, k, c);
    case 3: return dots_of_rows<3>(a, lda, queries, m, k, c);
    case 4: return dots_of_rows<4>(a, lda, queries, m, k, c);
    case 5: return dots_of_rows<5>(a, lda, queries, m, k, c);
    case 6: return dots_of_rows<6>(a, lda, queries, m, k, c);
    case 7: return dots_of_rows<7>(a, lda, queries, m, k, c);
    default: return dots_of_rows<8>(a, lda, queries, m, k, c);
  }
}

bool has_bf16_tile_product() {
  return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
}

void tile_product(const bf16* a, size_t lda, const bf16* b, size_t m, size_t n, size_t k, float* c,
                  size_t ldc, bool accumulate) {
  for (size_t panel = 0; panel < n; panel += kPanelColumns, c += kPanelColumns) {
    const auto* columns = reinterpret_cast<const std::byte*>(b + panel * k);
    switch ((std::min(kPanelColumns, n - panel) + 7) / 8) {
      case 1: multiply_rows<0, true>(a, lda, columns, m, k, c, ldc, accumulate); break;
      case 2: multiply_rows<1, false>(a, lda, columns, m, k, c, ldc, accumulate); break;
      case 3: multiply_rows<1, true>(a, lda, columns, m, k, c, ldc, accumulate); break;
      case 4: multiply_rows<2, false>(a, lda, columns, m, k, c, ldc, accumulate); break;
      case 5: multiply_rows<2, true>(a, lda, columns, m, k, c, ldc, accumulate); break;
      case 6: multiply_rows<3, false>(a, lda, columns, m, k, c, ldc, accumulate); break;
      default: multiply_rows<4, false>(a, lda, columns, m, k, c, ldc, accumulate); break;
    }
  }
}

}  // namespace msa::cpu

#else

namespace msa::cpu {

bool has_bf16_tile_product() {
  return false;
}

void tile_product(const bf16*, size_t, const bf16*, size_t, size_t, size_t, float*, size_t, bool) {
  assert(false && "no bf16 products on this processor");
}

void row_dots(const bf16*, size_t, const bf16*, size_t, size_t, size_t, float*) {
  assert(false && "no bf16 products on this processor");
}

}  // namespace msa::cpu

#endif
