#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/integer_dots.cc"
#include <hwy/foreach_target.h>
// The line above must come first.
#include <hwy/highway.h>

#include "kernels/cpu/integer_dots.h"
#include "kernels/cpu/tile_product.h"

#include <algorithm>

HWY_BEFORE_NAMESPACE();
namespace msa::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_SCALAR

template <size_t Q>
void dots(const uint8_t* HWY_RESTRICT key, const bf16* HWY_RESTRICT scales, const IntegerKeys& keys,
          const IntegerQueries& queries, size_t first, size_t padded, float* HWY_RESTRICT scores) {
  std::fill_n(scores + first, Q, 0.0f);
  for (size_t h = 0; h < keys.heads; ++h, key += keys.head_dim) {
    const auto* q =
        static_cast<const int16_t*>(queries.values) + (h * queries.count + first) * padded;
    for (size_t t = 0; t < Q; ++t, q += padded) {
      const size_t at = h * kPanelColumns + first + t;
      int32_t sum = queries.offsets[at];
      for (size_t i = 0; i < keys.head_dim; ++i) sum += int32_t{key[i]} * q[i];
      scores[first + t] += scales[h].to_float() * queries.scales[at] * static_cast<float>(sum);
    }
  }
}

#else

using D16 = hn::CappedTag<int16_t, 32>;
using D32 = hn::RepartitionToWide<D16>;
using DF = hn::RebindToFloat<D32>;

// One key with Q queries. 255 * 127 fits 16 bits and a sign: pairs are multiplied and added in 32.
template <size_t Q>
HWY_INLINE void dots(const uint8_t* HWY_RESTRICT key, const bf16* HWY_RESTRICT scales,
                     const IntegerKeys& keys, const IntegerQueries& queries, size_t first,
                     size_t padded, float* HWY_RESTRICT scores) {
  const D16 d16;
  const D32 d32;
  const DF df;
  const hn::Rebind<uint8_t, D16> d8;
  const size_t lanes = hn::Lanes(d16);
  hn::Vec<DF> total[Q];
  float offset[Q] = {};
  for (auto& v : total) v = hn::Zero(df);
  for (size_t h = 0; h < keys.heads; ++h, key += keys.head_dim) {
    const auto* q =
        static_cast<const int16_t*>(queries.values) + (h * queries.count + first) * padded;
    hn::Vec<D32> even[Q], odd[Q];
    for (size_t t = 0; t < Q; ++t) even[t] = odd[t] = hn::Zero(d32);
    for (size_t i = 0; i < keys.head_dim; i += lanes) {
      const auto wide = hn::PromoteTo(d16, hn::LoadU(d8, key + i));
      for (size_t t = 0; t < Q; ++t)
        even[t] = hn::ReorderWidenMulAccumulate(d32, wide, hn::LoadU(d16, q + t * padded + i),
                                                even[t], odd[t]);
    }
    const float key_scale = scales[h].to_float();
    for (size_t t = 0; t < Q; ++t) {
      const float scale = key_scale * queries.scales[h * kPanelColumns + first + t];
      const auto sum = hn::ConvertTo(df, hn::Add(even[t], odd[t]));
      total[t] = hn::MulAdd(sum, hn::Set(df, scale), total[t]);
      offset[t] += scale * static_cast<float>(queries.offsets[h * kPanelColumns + first + t]);
    }
  }
  for (size_t t = 0; t < Q; ++t)
    scores[first + t] = hn::GetLane(hn::SumOfLanes(df, total[t])) + offset[t];
}

#endif

void dots_of_rows(const IntegerKeys& keys, const IntegerQueries& queries, float* scores) {
  const size_t padded = (keys.head_dim + 63) / 64 * 64;
  for (size_t r = 0; r < keys.rows; ++r, scores += kPanelColumns) {
    const uint8_t* key = keys.data + r * keys.stride;
    const bf16* scales = keys.scales + r * keys.scale_stride;
    size_t t = 0;
    for (; t + 4 <= queries.count; t += 4) dots<4>(key, scales, keys, queries, t, padded, scores);
    switch (queries.count - t) {
      case 1: dots<1>(key, scales, keys, queries, t, padded, scores); break;
      case 2: dots<2>(key, scales, keys, queries, t, padded, scores); break;
      case 3: dots<3>(key, scales, keys, queries, t, padded, scores); break;
      default: break;
    }
  }
}

}  // namespace msa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msa::cpu {
HWY_EXPORT(dots_of_rows);

void integer_dots(const IntegerKeys& keys, const IntegerQueries& queries, float* scores) {
  HWY_DYNAMIC_DISPATCH(dots_of_rows)(keys, queries, scores);
}

}  // namespace msa::cpu
#endif
