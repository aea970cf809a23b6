// Products of bytes on AVX512_VNNI, whose instruction adds four of them to each of 16 sums: those
// of a panel's rows. As with bf16 (tile_product_bf16.cc) Highway has no name for it yet; elsewhere
// this file says that there is no such instruction.
#include <algorithm>
#include <array>
#include <cassert>
#include <cstdint>
#include <cstring>
#include <utility>

#include "kernels/cpu/panel_scores.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define MSA_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))

namespace msa::cpu {
namespace {

constexpr size_t kVector = 64;  // bytes: four values of each row of a panel
constexpr size_t kGroup = 4;
// How far before their use keys are fetched from memory: some hundred nanoseconds at its speed.
constexpr size_t kBytesAhead = 4096;
// Sums in registers at once; keys, scales and what is between take the others.
constexpr size_t kMostQueries = 24;

// One unit of a panel with `count` of its queries from one on.
struct Unit {
  const uint8_t* keys;
  size_t vectors;
  const int8_t* values;  // of the first of these queries, `stride` bytes from group to group
  size_t stride;
  const float* scales;
  const int32_t* offsets;
  __m512 key_scales;
  enum class Into { fresh, sum, highest } into;
  bool fetch;
};

MSA_TARGET inline __m512 higher(__m512 a, __m512 b) {
  const __mmask16 no_number = _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
  // The instruction takes b where either is no number.
  return _mm512_mask_mov_ps(_mm512_max_ps(a, b), no_number, a);
}

struct FourValues {
  int8_t value[kGroup];
};

// Written out, because compilers neither let the instruction read four values of a query where they
// lie nor keep 24 sums in registers: a third of the time with 20 queries. Unrolled by name, because
// they leave loops of more than 16 turns alone.
template <size_t T>
MSA_TARGET inline void add_products(__m512i (&sum)[T], __m512i keys, const int8_t* values) {
#pragma GCC unroll 24
  for (size_t t = 0; t < T; ++t) {
    const auto* four = reinterpret_cast<const FourValues*>(values + t * kGroup);
    asm("vpdpbusd %[four]%{1to16%}, %[keys], %[sum]"
        : [sum] "+v"(sum[t])
        : [keys] "v"(keys), [four] "m"(*four));
  }
}

template <KeyFormat kFormat, size_t T>
MSA_TARGET void multiply(const Unit& unit, float* totals) {
  // An addition waits for the one before: few queries have two sums each, for turns.
  constexpr bool kTwo = T < 4;
  __m512i sum[T], more[kTwo ? T : 1];
#pragma GCC unroll 24
  for (size_t t = 0; t < T; ++t) sum[t] = _mm512_set1_epi32(unit.offsets[t]);
  for (__m512i& s : more) s = _mm512_setzero_si512();
  const uint8_t* keys = unit.keys;
  const int8_t* values = unit.values;
  const __m512i half = _mm512_set1_epi8(15);
  constexpr size_t kVectorsEach = kFormat == KeyFormat::int8 ? 2 : 1;  // of eight values
  for (size_t v = 0; v < unit.vectors; v += kVectorsEach, keys += kVectorsEach * kVector) {
    __m512i first, second;
    if constexpr (kFormat == KeyFormat::int8) {
      first = _mm512_load_si512(keys);
      second = _mm512_load_si512(keys + kVector);
    } else {
      const __m512i both = _mm512_load_si512(keys);
      first = _mm512_and_si512(both, half);
      second = _mm512_and_si512(_mm512_srli_epi16(both, 4), half);
    }
    if (unit.fetch)
      for (size_t ahead = 0; ahead < kVectorsEach; ++ahead)
        _mm_prefetch(reinterpret_cast<const char*>(keys + kBytesAhead + ahead * kVector),
                     _MM_HINT_T0);
    add_products(sum, first, values);
    values += unit.stride;
    if constexpr (kTwo)
      add_products(more, second, values);
    else
      add_products(sum, second, values);
    values += unit.stride;
  }
  if constexpr (kTwo)
    for (size_t t = 0; t < T; ++t) sum[t] = _mm512_add_epi32(sum[t], more[t]);
#pragma GCC unroll 24
  for (size_t t = 0; t < T; ++t) {
    float* total = totals + t * kPanelRows;
    const __m512 score = _mm512_mul_ps(_mm512_cvtepi32_ps(sum[t]), _mm512_set1_ps(unit.scales[t]));
    switch (unit.into) {
      case Unit::Into::fresh: _mm512_store_ps(total, _mm512_mul_ps(score, unit.key_scales)); break;
      case Unit::Into::sum:
        _mm512_store_ps(total, _mm512_fmadd_ps(score, unit.key_scales, _mm512_load_ps(total)));
        break;
      case Unit::Into::highest:
        _mm512_store_ps(total,
                        higher(_mm512_mul_ps(score, unit.key_scales), _mm512_load_ps(total)));
        break;
    }
  }
}

using Multiply = void (*)(const Unit&, float*);
template <KeyFormat kFormat, size_t... kCounts>
constexpr std::array<Multiply, sizeof...(kCounts)> table_of(std::index_sequence<kCounts...>) {
  return {multiply<kFormat, kCounts + 1>...};
}
constexpr auto kInt8 = table_of<KeyFormat::int8>(std::make_index_sequence<kMostQueries>());
constexpr auto kInt4 = table_of<KeyFormat::int4>(std::make_index_sequence<kMostQueries>());

MSA_TARGET void reduce(const float* totals, size_t count, bool mean, float* chunk_scores) {
  __m512 all = _mm512_load_ps(totals);
  if (mean) {
    for (size_t t = 1; t < count; ++t)
      all = _mm512_add_ps(all, _mm512_load_ps(totals + t * kPanelRows));
    all = _mm512_div_ps(all, _mm512_set1_ps(static_cast<float>(count)));
  } else {
    for (size_t t = 1; t < count; ++t) all = higher(_mm512_load_ps(totals + t * kPanelRows), all);
  }
  _mm512_storeu_ps(chunk_scores, all);
}

}  // namespace

bool has_integer_products() {
  return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
}

MSA_TARGET void score_panels_native(const CompressedKeys& keys, size_t first_panel, size_t panels,
                                    const PanelQueries& queries, bool fetch, float* totals,
                                    float* chunk_scores) {
  const size_t G = keys.kv_heads, T = queries.count;
  const size_t head_bytes = integer_bytes(keys.format, 1, keys.head_dim) * kPanelRows;
  const size_t unit_bytes = padded_head(keys.head_dim) * T;
  const auto& table = keys.format == KeyFormat::int8 ? kInt8 : kInt4;
  // Parts of equal length, so that none is left with too few queries to keep the processor busy.
  const size_t parts = (T + kMostQueries - 1) / kMostQueries;
  for (size_t panel = first_panel; panel < first_panel + panels; ++panel) {
    const uint8_t* integers = keys.integers + panel * G * head_bytes;
    const bf16* scales = keys.scales + panel * G * kPanelRows;
    for (size_t part = 0; part < parts; ++part) {
      const size_t t = part * T / parts, count = (part + 1) * T / parts - t;
      Unit unit;
      unit.vectors = head_bytes / kVector;
      unit.stride = T * kGroup;
      for (size_t u = 0; u < queries.units; ++u) {
        const size_t g = queries.kv_heads[u];
        unit.keys = integers + g * head_bytes;
        unit.values = static_cast<const int8_t*>(queries.values) + u * unit_bytes + t * kGroup;
        unit.scales = queries.scales + u * T + t;
        unit.offsets = queries.offsets + u * T + t;
        unit.key_scales = _mm512_castsi512_ps(_mm512_slli_epi32(
            _mm512_cvtepu16_epi32(
                _mm256_loadu_si256(reinterpret_cast<const __m256i*>(scales + g * kPanelRows))),
            16));
        unit.into = u == 0            ? Unit::Into::fresh
                    : queries.highest ? Unit::Into::highest
                                      : Unit::Into::sum;
        unit.fetch =
            fetch && part == 0 && (!queries.highest || u == 0 || g != queries.kv_heads[u - 1]);
        table[count - 1](unit, totals + t * kPanelRows);
      }
    }
    reduce(totals, T, queries.mean, chunk_scores);
    chunk_scores += kPanelRows;
  }
}

}  // namespace msa::cpu

#else

namespace msa::cpu {

bool has_integer_products() {
  return false;
}
void score_panels_native(const CompressedKeys&, size_t, size_t, const PanelQueries&, bool, float*,
                         float*) {
  assert(false && "no products of bytes on this processor");
}

}  // namespace msa::cpu

#endif
