#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/score.cc"
#include <hwy/foreach_target.h>
// The line above must come first.
#include "kernels/cpu/score.h"
#include "kernels/cpu/tile_product.h"
#include "kernels/cpu/vector_io-inl.h"

#include <algorithm>
#include <cmath>
#include <limits>

HWY_BEFORE_NAMESPACE();
namespace msa::cpu::HWY_NAMESPACE {

using D16 = hn::CappedTag<float, 16>;
using V16 = hn::Vec<D16>;

// The larger; a NaN in either makes one.
template <class D>
HWY_INLINE hn::Vec<D> max_or_nan(D, hn::Vec<D> a, hn::Vec<D> b) {
  return hn::IfThenElse(hn::Or(hn::Ge(a, b), hn::IsNaN(a)), a, b);
}
HWY_INLINE float max_or_nan(float a, float b) {
  return a >= b || std::isnan(a) ? a : b;
}

// R keys with Q queries.
template <size_t R, size_t Q>
HWY_INLINE void dots(const float* HWY_RESTRICT keys, size_t stride, const float* HWY_RESTRICT q,
                     size_t k, float* HWY_RESTRICT scores) {
  const D16 d;
  V16 sum[R][Q];
  for (auto& row : sum)
    for (V16& v : row) v = hn::Zero(d);
  for_each_vector(d, k, [&](const auto& get, const auto&) HWY_ATTR {
    V16 query[Q];
    for (size_t t = 0; t < Q; ++t) query[t] = get(q + t * k);
    for (size_t r = 0; r < R; ++r) {
      const V16 key = get(keys + r * stride);
      for (size_t t = 0; t < Q; ++t) sum[r][t] = hn::MulAdd(key, query[t], sum[r][t]);
    }
  });
  for (size_t r = 0; r < R; ++r)
    for (size_t t = 0; t < Q; ++t)
      scores[r * kPanelColumns + t] = hn::GetLane(hn::SumOfLanes(d, sum[r][t]));
}

// One vector of pairs of each of R keys with Q queries at `q`.
template <size_t R, size_t Q>
HWY_INLINE void add_pairs(const hn::Vec<hn::RebindToUnsigned<D16>> (&pairs)[R],
                          const float* HWY_RESTRICT q, size_t q_stride, V16 (&even_sum)[R][Q],
                          V16 (&odd_sum)[R][Q]) {
  const D16 d;
  const hn::RebindToUnsigned<D16> du;
  const size_t lanes = hn::Lanes(d);
  V16 even[R], odd[R];
  for (size_t r = 0; r < R; ++r) {
    even[r] = hn::BitCast(d, hn::ShiftLeft<16>(pairs[r]));
    odd[r] = hn::BitCast(d, hn::And(pairs[r], hn::Set(du, 0xffff0000u)));
  }
  for (size_t t = 0; t < Q; ++t) {
    const V16 q_even = hn::LoadU(d, q + t * q_stride);
    const V16 q_odd = hn::LoadU(d, q + t * q_stride + lanes);
    for (size_t r = 0; r < R; ++r) {
      even_sum[r][t] = hn::MulAdd(even[r], q_even, even_sum[r][t]);
      odd_sum[r][t] = hn::MulAdd(odd[r], q_odd, odd_sum[r][t]);
    }
  }
}

template <size_t R, size_t Q>
HWY_INLINE void dots(const bf16* HWY_RESTRICT keys, size_t stride, const float* HWY_RESTRICT q,
                     size_t k, float* HWY_RESTRICT scores) {
  const D16 d;
  const hn::RebindToUnsigned<D16> du;
  const size_t pair_lanes = 2 * hn::Lanes(d), q_stride = split_stride(k);
  V16 even_sum[R][Q], odd_sum[R][Q];
  for (size_t r = 0; r < R; ++r)
    for (size_t t = 0; t < Q; ++t) even_sum[r][t] = odd_sum[r][t] = hn::Zero(d);
  hn::Vec<decltype(du)> pairs[R];
  size_t i = 0;
  for (; i + pair_lanes <= k; i += pair_lanes) {
    for (size_t r = 0; r < R; ++r)
      pairs[r] = hn::LoadU(du, reinterpret_cast<const uint32_t*>(keys + r * stride + i));
    add_pairs<R, Q>(pairs, q + i, q_stride, even_sum, odd_sum);
  }
  if (i < k) {
    for (size_t r = 0; r < R; ++r) {
      HWY_ALIGN bf16 part[HWY_MAX_BYTES / sizeof(bf16)] = {};
      std::memcpy(part, keys + r * stride + i, (k - i) * sizeof(bf16));
      pairs[r] = hn::Load(du, reinterpret_cast<const uint32_t*>(part));
    }
    add_pairs<R, Q>(pairs, q + i, q_stride, even_sum, odd_sum);
  }
  for (size_t r = 0; r < R; ++r)
    for (size_t t = 0; t < Q; ++t)
      scores[r * kPanelColumns + t] =
          hn::GetLane(hn::SumOfLanes(d, hn::Add(even_sum[r][t], odd_sum[r][t])));
}

// With one or two queries keys are read one after the other, which is how memory gives most; with
// more the sums take longer than that, and two keys at once save loads of the queries.
template <size_t Q, class T>
void dots_of_rows(MatView<const T> keys, const float* q, float* scores) {
  constexpr size_t R = Q <= 2 ? 1 : 2;
  size_t r = 0;
  for (; r + R <= keys.rows; r += R)
    dots<R, Q>(keys.row(r).data(), keys.stride, q, keys.cols, scores + r * kPanelColumns);
  for (; r < keys.rows; ++r)
    dots<1, Q>(keys.row(r).data(), keys.stride, q, keys.cols, scores + r * kPanelColumns);
}

template <class T>
void dots_typed(MatView<const T> keys, const float* q, size_t q_stride, size_t count,
                float* scores) {
  size_t t = 0;
  for (; t + 4 <= count; t += 4) dots_of_rows<4>(keys, q + t * q_stride, scores + t);
  q += t * q_stride;
  scores += t;
  switch (count - t) {
    case 1: return dots_of_rows<1>(keys, q, scores);
    case 2: return dots_of_rows<2>(keys, q, scores);
    case 3: return dots_of_rows<3>(keys, q, scores);
    default: return;
  }
}

void dot_products(ConstAnyMat keys, const float* queries, size_t count, float* scores) {
  if (keys.dtype == DType::f32)
    dots_typed(keys.as<float>(), queries, keys.cols, count, scores);
  else
    dots_typed(keys.as<bf16>(), queries, split_stride(keys.cols), count, scores);
}

void split(MatView<const float> queries, float* to) {
  const size_t lanes = hn::Lanes(D16()), stride = split_stride(queries.cols);
  std::fill_n(to, queries.rows * stride, 0.0f);
  for (size_t t = 0; t < queries.rows; ++t)
    for (size_t i = 0; i < queries.cols; ++i) {
      const size_t within = i % (2 * lanes);
      to[t * stride + i - within + within % 2 * lanes + within / 2] = queries.row(t)[i];
    }
}

void max_tile(const float* from, size_t rows, size_t columns, float* to) {
  const D16 d;
  for (size_t r = 0; r < rows; ++r, from += kPanelColumns, to += kPanelColumns)
    for_each_vector(d, columns, [&](const auto& get, const auto& put) HWY_ATTR {
      put(max_or_nan(d, get(static_cast<const float*>(to)), get(from)), to);
    });
}

void row_max(const float* scores, size_t rows, size_t columns, bool first, float* to) {
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  const D16 d;
  const size_t lanes = hn::Lanes(d), whole = (columns - 1) / lanes * lanes;
  const auto rest = hn::FirstN(d, columns - whole);  // of the last vector, which is padding beyond
  for (size_t r = 0; r < rows; ++r, scores += kPanelColumns) {
    V16 most = hn::IfThenElse(rest, hn::LoadU(d, scores + whole), hn::Set(d, kLowest));
    auto nan = hn::IsNaN(most);
    for (size_t i = 0; i < whole; i += lanes) {
      const V16 more = hn::LoadU(d, scores + i);
      nan = hn::Or(nan, hn::IsNaN(more));
      most = hn::Max(most, more);
    }
    const float highest = hn::AllFalse(d, nan) ? hn::GetLane(hn::MaxOfLanes(d, most))
                                               : std::numeric_limits<float>::quiet_NaN();
    to[r] = first ? highest : max_or_nan(to[r], highest);
  }
}

void row_sum(const float* scores, size_t rows, size_t columns, bool first, float* to) {
  for (size_t r = 0; r < rows; ++r, scores += kPanelColumns) {
    float sum = first ? 0 : to[r];
    for (size_t i = 0; i < columns; ++i) sum += scores[i];
    to[r] = sum;
  }
}

}  // namespace msa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msa::cpu {
HWY_EXPORT(dot_products);
HWY_EXPORT(split);
HWY_EXPORT(max_tile);
HWY_EXPORT(row_max);
HWY_EXPORT(row_sum);

void dot_scores(ConstAnyMat keys, const float* queries, size_t count, float* scores) {
  HWY_DYNAMIC_DISPATCH(dot_products)(keys, queries, count, scores);
}
size_t split_stride(size_t k) {
  return (k + 31) / 32 * 32;
}
void split_pairs(MatView<const float> queries, float* split_queries) {
  HWY_DYNAMIC_DISPATCH(split)(queries, split_queries);
}
void max_scores(const float* from, size_t rows, size_t columns, float* to) {
  HWY_DYNAMIC_DISPATCH(max_tile)(from, rows, columns, to);
}
void reduce_max(const float* scores, size_t rows, size_t columns, bool first, float* to) {
  HWY_DYNAMIC_DISPATCH(row_max)(scores, rows, columns, first, to);
}
void reduce_sum(const float* scores, size_t rows, size_t columns, bool first, float* to) {
  HWY_DYNAMIC_DISPATCH(row_sum)(scores, rows, columns, first, to);
}

}  // namespace msa::cpu
#endif
