#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/panel_scores.cc"
#include <hwy/foreach_target.h>
// The line above must come first.
#include <hwy/highway.h>

#include "kernels/cpu/panel_scores.h"

#include <algorithm>
#include <cmath>
#include <cstring>

HWY_BEFORE_NAMESPACE();
namespace msa::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr size_t kVector = 64;  // bytes: four values of each row of a panel
constexpr size_t kGroup = 4;

// One unit of a panel with some of its queries, whose sums go to [queries, 16].
struct Unit {
  const uint8_t* keys;
  size_t vectors;
  const int16_t* values;  // of the first of these queries
  size_t stride;          // of values, from group to group
  const int32_t* offsets;
};

#if HWY_TARGET == HWY_SCALAR

constexpr size_t kMostQueries = 1;

template <size_t T>
void multiply(const Unit& unit, KeyFormat format, int32_t* HWY_RESTRICT sums) {
  constexpr size_t kOrder[] = {0, 2, 1, 3};
  for (size_t r = 0; r < kPanelRows; ++r) {
    int32_t sum = unit.offsets[0];
    const int16_t* values = unit.values;
    for (size_t v = 0; v < unit.vectors; ++v) {
      const uint8_t* four = unit.keys + v * kVector + r * kGroup;
      for (size_t half = 0; half < (format == KeyFormat::int8 ? 1 : 2); ++half) {
        for (size_t i = 0; i < kGroup; ++i) {
          const int byte = four[kOrder[i]];
          sum += values[i] * (format == KeyFormat::int8 ? byte : half == 0 ? byte & 15 : byte >> 4);
        }
        values += unit.stride;
      }
    }
    sums[r] = sum;
  }
}

#else

using D8 = hn::CappedTag<uint8_t, kVector>;
using D16 = hn::Repartition<int16_t, D8>;
using D32 = hn::Repartition<int32_t, D8>;

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
constexpr size_t kMostQueries = HWY_TARGET == HWY_AVX2 ? 8 : 16;
#else
constexpr size_t kMostQueries = 8;
#endif

// Adds the products of four values of each row with those of T queries.
template <size_t T>
HWY_INLINE void add_products(hn::Vec<D32> (&sum)[T], hn::Vec<D8> keys,
                             const int16_t* HWY_RESTRICT values) {
  const D32 d32;
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
  // Here the instruction adds products of neighbours: values 0 and 2, then 1 and 3, of each row.
  const D16 d16;
  const hn::RebindToUnsigned<D16> du16;
  const auto pairs = hn::BitCast(du16, keys);
  const auto even = hn::BitCast(d16, hn::And(pairs, hn::Set(du16, 255)));
  const auto odd = hn::BitCast(d16, hn::ShiftRight<8>(pairs));
  auto unused = hn::Zero(d32);
  for (size_t t = 0; t < T; ++t) {
    int32_t of_even, of_odd;
    std::memcpy(&of_even, values + t * kGroup, sizeof(of_even));
    std::memcpy(&of_odd, values + t * kGroup + 2, sizeof(of_odd));
    sum[t] = hn::ReorderWidenMulAccumulate(d32, even, hn::BitCast(d16, hn::Set(d32, of_even)),
                                           sum[t], unused);
    sum[t] = hn::ReorderWidenMulAccumulate(d32, odd, hn::BitCast(d16, hn::Set(d32, of_odd)), sum[t],
                                           unused);
  }
#else
  const hn::RebindToUnsigned<D32> du32;
  const auto fours = hn::BitCast(du32, keys);
  const auto byte = hn::Set(du32, 255);
  const auto k0 = hn::BitCast(d32, hn::And(fours, byte));
  const auto k1 = hn::BitCast(d32, hn::And(hn::ShiftRight<8>(fours), byte));
  const auto k2 = hn::BitCast(d32, hn::And(hn::ShiftRight<16>(fours), byte));
  const auto k3 = hn::BitCast(d32, hn::ShiftRight<24>(fours));
  for (size_t t = 0; t < T; ++t) {
    const int16_t* four = values + t * kGroup;
    sum[t] = hn::Add(sum[t], hn::Mul(k0, hn::Set(d32, four[0])));
    sum[t] = hn::Add(sum[t], hn::Mul(k2, hn::Set(d32, four[1])));
    sum[t] = hn::Add(sum[t], hn::Mul(k1, hn::Set(d32, four[2])));
    sum[t] = hn::Add(sum[t], hn::Mul(k3, hn::Set(d32, four[3])));
  }
#endif
}

template <size_t T>
void multiply(const Unit& unit, KeyFormat format, int32_t* HWY_RESTRICT sums) {
  const D8 d8;
  const D32 d32;
  const hn::Repartition<uint16_t, D8> d16;
  const auto half = hn::Set(d8, 15);
  const size_t lanes = hn::Lanes(d8);
  for (size_t part = 0; part < kVector; part += lanes) {
    hn::Vec<D32> sum[T];
    for (size_t t = 0; t < T; ++t) sum[t] = hn::Set(d32, unit.offsets[t]);
    const uint8_t* HWY_RESTRICT keys = unit.keys + part;
    const int16_t* HWY_RESTRICT values = unit.values;
    for (size_t v = 0; v < unit.vectors; ++v, keys += kVector) {
      const auto vector = hn::Load(d8, keys);
      if (format == KeyFormat::int8) {
        add_products(sum, vector, values);
      } else {
        add_products(sum, hn::And(vector, half), values);
        values += unit.stride;
        const auto upper = hn::BitCast(d8, hn::ShiftRight<4>(hn::BitCast(d16, vector)));
        add_products(sum, hn::And(upper, half), values);
      }
      values += unit.stride;
    }
    for (size_t t = 0; t < T; ++t) hn::StoreU(sum[t], d32, sums + t * kPanelRows + part / kGroup);
  }
}

#endif

template <size_t T>
void multiply_up_to(size_t count, const Unit& unit, KeyFormat format, int32_t* sums) {
  if constexpr (T > 1)
    if (count < T) return multiply_up_to<T - 1>(count, unit, format, sums);
  multiply<T>(unit, format, sums);
}

HWY_INLINE float higher(float a, float b) {
  return a > b || std::isnan(a) ? a : b;
}

void score(const CompressedKeys& keys, size_t first_panel, size_t panels,
           const PanelQueries& queries, float* HWY_RESTRICT totals,
           float* HWY_RESTRICT chunk_scores) {
  const size_t G = keys.kv_heads, T = queries.count;
  const size_t head_bytes = integer_bytes(keys.format, 1, keys.head_dim) * kPanelRows;
  const size_t unit_values = padded_head(keys.head_dim) * T;
  HWY_ALIGN int32_t sums[kMostQueries * kPanelRows];
  for (size_t panel = first_panel; panel < first_panel + panels; ++panel) {
    const uint8_t* integers = keys.integers + panel * G * head_bytes;
    const bf16* scales = keys.scales + panel * G * kPanelRows;
    for (size_t u = 0; u < queries.units; ++u) {
      const size_t g = queries.kv_heads[u];
      float key_scales[kPanelRows];
      for (size_t r = 0; r < kPanelRows; ++r) key_scales[r] = scales[g * kPanelRows + r].to_float();
      for (size_t first = 0; first < T; first += kMostQueries) {
        const size_t count = std::min(kMostQueries, T - first);
        const Unit unit{
            integers + g * head_bytes, head_bytes / kVector,
            static_cast<const int16_t*>(queries.values) + u * unit_values + first * kGroup,
            T * kGroup, queries.offsets + u * T + first};
        multiply_up_to<kMostQueries>(count, unit, keys.format, sums);
        for (size_t t = 0; t < count; ++t) {
          float* HWY_RESTRICT total = totals + (first + t) * kPanelRows;
          const int32_t* HWY_RESTRICT sum = sums + t * kPanelRows;
          const float scale = queries.scales[u * T + first + t];
          if (u == 0)
            for (size_t r = 0; r < kPanelRows; ++r)
              total[r] = static_cast<float>(sum[r]) * scale * key_scales[r];
          else if (!queries.highest)
            for (size_t r = 0; r < kPanelRows; ++r)
              total[r] += static_cast<float>(sum[r]) * scale * key_scales[r];
          else
            for (size_t r = 0; r < kPanelRows; ++r)
              total[r] = higher(static_cast<float>(sum[r]) * scale * key_scales[r], total[r]);
        }
      }
    }
    std::copy_n(totals, kPanelRows, chunk_scores);
    for (size_t t = 1; t < T; ++t)
      for (size_t r = 0; r < kPanelRows; ++r) {
        const float total = totals[t * kPanelRows + r];
        chunk_scores[r] = queries.mean ? chunk_scores[r] + total : higher(total, chunk_scores[r]);
      }
    if (queries.mean)
      for (size_t r = 0; r < kPanelRows; ++r) chunk_scores[r] /= static_cast<float>(T);
    chunk_scores += kPanelRows;
  }
}

}  // namespace msa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msa::cpu {
HWY_EXPORT(score);

void score_panels(const CompressedKeys& keys, size_t first_panel, size_t panels,
                  const PanelQueries& queries, float* totals, float* chunk_scores) {
  HWY_DYNAMIC_DISPATCH(score)(keys, first_panel, panels, queries, totals, chunk_scores);
}

}  // namespace msa::cpu
#endif
