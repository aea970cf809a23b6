// Products of bytes on AVX512_VNNI, whose instruction adds four of them to each of 16 sums. As with
// bf16 (tile_product_bf16.cc) Highway has no name for it yet; elsewhere this file says that there
// is no such instruction.
#include <algorithm>
#include <cassert>
#include <cstdint>
#include <cstring>

#include "kernels/cpu/integer_dots.h"
#include "kernels/cpu/tile_product.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define MSA_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))

namespace msa::cpu {
namespace {

constexpr size_t kLine = 64;                      // bytes of a cache line
constexpr size_t kStepBytes = kPanelColumns * 4;  // of a panel, for four values of each query

MSA_TARGET inline int32_t four_at(const uint8_t* p) {
  int32_t four;
  std::memcpy(&four, p, sizeof(four));
  return four;
}

// R rows of one head with V vectors of 16 queries. Meanwhile `ahead` is fetched, one line after the
// other, into the second-level cache.
template <size_t R, size_t V>
MSA_TARGET void multiply(const IntegerKeys& keys, size_t row, size_t head,
                         const IntegerQueries& queries, const int8_t* panel, const uint8_t*& ahead,
                         const uint8_t* ahead_end, float* scores) {
  const uint8_t* key = keys.data + row * keys.stride + head * keys.head_dim;
  const int32_t* offsets = queries.offsets + head * kPanelColumns;
  __m512i sum[R][V];
  for (size_t v = 0; v < V; ++v) {
    const __m512i offset = _mm512_loadu_si512(offsets + v * 16);
    for (size_t r = 0; r < R; ++r) sum[r][v] = offset;
  }
  for (size_t i = 0; i < keys.head_dim; i += 4, panel += kStepBytes) {
    if (i % 8 == 0 && ahead < ahead_end) {
      _mm_prefetch(reinterpret_cast<const char*>(ahead), _MM_HINT_T1);
      ahead += kLine;
    }
    __m512i query[V];
    for (size_t v = 0; v < V; ++v) query[v] = _mm512_loadu_si512(panel + v * 64);
    for (size_t r = 0; r < R; ++r) {
      const __m512i four = _mm512_set1_epi32(four_at(key + r * keys.stride + i));
      for (size_t v = 0; v < V; ++v) sum[r][v] = _mm512_dpbusd_epi32(sum[r][v], four, query[v]);
    }
  }
  for (size_t v = 0; v < V; ++v) {
    const __m512 query_scale = _mm512_loadu_ps(queries.scales + head * kPanelColumns + v * 16);
    for (size_t r = 0; r < R; ++r) {
      const float key_scale = keys.scales[(row + r) * keys.scale_stride + head].to_float();
      const __m512 scale = _mm512_mul_ps(query_scale, _mm512_set1_ps(key_scale));
      float* to = scores + (row + r) * kPanelColumns + v * 16;
      const __m512 before = head == 0 ? _mm512_setzero_ps() : _mm512_loadu_ps(to);
      _mm512_storeu_ps(to, _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[r][v]), scale, before));
    }
  }
}

template <size_t R, size_t V>
MSA_TARGET void multiply_heads(const IntegerKeys& keys, size_t row, const IntegerQueries& queries,
                               float* scores) {
  const uint8_t* ahead = keys.ahead + row * keys.ahead_bytes;
  const uint8_t* ahead_end = ahead + R * keys.ahead_bytes;
  const size_t panel_bytes = (keys.head_dim + 3) / 4 * kStepBytes;
  const auto* panel = static_cast<const int8_t*>(queries.values);
  for (size_t h = 0; h < keys.heads; ++h, panel += panel_bytes)
    multiply<R, V>(keys, row, h, queries, panel, ahead, ahead_end, scores);
}

template <size_t V>
MSA_TARGET void multiply_rows(const IntegerKeys& keys, const IntegerQueries& queries,
                              float* scores) {
  // Sums fill at most 24 of 32 registers; the latency of adding to them needs at least 8.
  constexpr size_t kRows = V >= 4 ? 6 : 8;
  size_t r = 0;
  for (; r + kRows <= keys.rows; r += kRows) multiply_heads<kRows, V>(keys, r, queries, scores);
  switch (keys.rows - r) {
    case 1: return multiply_heads<1, V>(keys, r, queries, scores);
    case 2: return multiply_heads<2, V>(keys, r, queries, scores);
    case 3: return multiply_heads<3, V>(keys, r, queries, scores);
    case 4: return multiply_heads<4, V>(keys, r, queries, scores);
    case 5: return multiply_heads<5, V>(keys, r, queries, scores);
    case 6: return multiply_heads<6, V>(keys, r, queries, scores);
    case 7: return multiply_heads<7, V>(keys, r, queries, scores);
    default: return;
  }
}

template <size_t Q>
MSA_TARGET void dots_of_rows(const IntegerKeys& keys, const IntegerQueries& queries,
                             float* scores) {
  const size_t padded = (keys.head_dim + kLine - 1) / kLine * kLine;
  for (size_t r = 0; r < keys.rows; ++r, scores += kPanelColumns) {
    const uint8_t* key = keys.data + r * keys.stride;
    const bf16* key_scales = keys.scales + r * keys.scale_stride;
    const auto* query = static_cast<const int8_t*>(queries.values);
    for (size_t i = 0; i < keys.ahead_bytes; i += kLine)
      _mm_prefetch(reinterpret_cast<const char*>(keys.ahead + r * keys.ahead_bytes + i),
                   _MM_HINT_T1);
    __m512 total[Q];
    for (size_t t = 0; t < Q; ++t) total[t] = _mm512_setzero_ps();
    for (size_t h = 0; h < keys.heads; ++h, key += keys.head_dim, query += Q * padded) {
      const size_t at = h * kPanelColumns;
      __m512i sum[Q];
      for (size_t t = 0; t < Q; ++t)
        sum[t] = _mm512_zextsi128_si512(_mm_cvtsi32_si128(queries.offsets[at + t]));
      for (size_t i = 0; i < padded; i += kLine) {
        const __m512i row = _mm512_loadu_si512(key + i);
        for (size_t t = 0; t < Q; ++t)
          sum[t] = _mm512_dpbusd_epi32(sum[t], row, _mm512_loadu_si512(query + t * padded + i));
      }
      const __m512 key_scale = _mm512_set1_ps(key_scales[h].to_float());
      for (size_t t = 0; t < Q; ++t) {
        const __m512 scale = _mm512_mul_ps(key_scale, _mm512_set1_ps(queries.scales[at + t]));
        total[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[t]), scale, total[t]);
      }
    }
    for (size_t t = 0; t < Q; ++t) scores[t] = _mm512_reduce_add_ps(total[t]);
  }
}

}  // namespace

bool has_integer_products() {
  return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
}

void integer_tile_product(const IntegerKeys& keys, const IntegerQueries& queries, float* scores) {
  switch ((std::min(kPanelColumns, queries.count) + 15) / 16) {
    case 1: return multiply_rows<1>(keys, queries, scores);
    case 2: return multiply_rows<2>(keys, queries, scores);
    case 3: return multiply_rows<3>(keys, queries, scores);
    default: return multiply_rows<4>(keys, queries, scores);
  }
}

void integer_row_dots(const IntegerKeys& keys, const IntegerQueries& queries, float* scores) {
  switch (queries.count) {
    case 1: return dots_of_rows<1>(keys, queries, scores);
    case 2: return dots_of_rows<2>(keys, queries, scores);
    case 3: return dots_of_rows<3>(keys, queries, scores);
    case 4: return dots_of_rows<4>(keys, queries, scores);
    case 5: return dots_of_rows<5>(keys, queries, scores);
    case 6: return dots_of_rows<6>(keys, queries, scores);
    case 7: return dots_of_rows<7>(keys, queries, scores);
    default: return dots_of_rows<8>(keys, queries, scores);
  }
}

}  // namespace msa::cpu

#else

namespace msa::cpu {

bool has_integer_products() {
  return false;
}
void integer_tile_product(const IntegerKeys&, const IntegerQueries&, float*) {
  assert(false && "no products of bytes on this processor");
}
void integer_row_dots(const IntegerKeys&, const IntegerQueries&, float*) {
  assert(false && "no products of bytes on this processor");
}

}  // namespace msa::cpu

#endif
