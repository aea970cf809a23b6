#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/softmax.cc"
#include <hwy/foreach_target.h>
// The line above must come first.
#include <hwy/contrib/math/math-inl.h>

#include "kernels/cpu/softmax.h"
#include "kernels/cpu/vector_io-inl.h"

#include <algorithm>
#include <cmath>
#include <limits>

HWY_BEFORE_NAMESPACE();
namespace msa::cpu::HWY_NAMESPACE {

using D16 = hn::CappedTag<float, 16>;
using V16 = hn::Vec<D16>;

constexpr float kLowest = -std::numeric_limits<float>::infinity();

HWY_INLINE void scale_row(float* HWY_RESTRICT row, size_t n, float factor) {
  const D16 d;
  for_each_vector(d, n, [&](const auto& get, const auto& put) HWY_ATTR {
    put(hn::Mul(get(static_cast<const float*>(row)), hn::Set(d, factor)), row);
  });
}

// Stored and read back: what the rounded weight is.
HWY_INLINE V16 store_weight(D16 d, V16 v, float* p) {
  hn::StoreU(v, d, p);
  return v;
}
HWY_INLINE V16 store_weight(D16 d, V16 v, bf16* p) {
  store(d, v, p);
  return load(d, static_cast<const bf16*>(p));
}

template <class T>
void softmax_typed(const SoftmaxTile& tile, T* weights) {
  const D16 d;
  const size_t lanes = hn::Lanes(d);
  const auto scale = hn::Set(d, tile.scale);
  for (size_t r = 0; r < tile.rows; ++r) {
    const float* HWY_RESTRICT scores = tile.scores + r * kKeyTile;
    T* HWY_RESTRICT out = weights + r * kKeyTile;
    const size_t visible = std::min(tile.visible + r, kKeyTile);
    const auto count = hn::Set(d, static_cast<float>(visible));

    auto highest = hn::Set(d, kLowest);
    for (size_t i = 0; i < visible; i += lanes) {
      const auto seen = hn::Lt(hn::Iota(d, static_cast<float>(i)), count);
      highest = hn::Max(highest, hn::IfThenElse(seen, hn::LoadU(d, scores + i), highest));
    }
    const float before = tile.highest[r];
    const float now = std::max(before, hn::GetLane(hn::MaxOfLanes(d, highest)) * tile.scale);
    const auto shift = hn::Set(d, -now);

    auto total = hn::Zero(d);
    for (size_t i = 0; i < kKeyTile; i += lanes) {
      auto weight = hn::Zero(d);
      if (i < visible) {
        const auto seen = hn::Lt(hn::Iota(d, static_cast<float>(i)), count);
        weight = hn::IfThenElseZero(seen,
                                    hn::Exp(d, hn::MulAdd(hn::LoadU(d, scores + i), scale, shift)));
      }
      total = hn::Add(total, store_weight(d, weight, out + i));
    }
    if (now != before) {
      const float factor = std::exp(before - now);
      tile.total[r] *= factor;
      scale_row(tile.sums + r * tile.sum_stride, tile.width, factor);
      tile.highest[r] = now;
    }
    tile.total[r] += hn::GetLane(hn::SumOfLanes(d, total));
  }
}

void softmax_f32(const SoftmaxTile& tile, float* weights) {
  softmax_typed(tile, weights);
}
void softmax_bf16(const SoftmaxTile& tile, bf16* weights) {
  softmax_typed(tile, weights);
}

template <class T>
void divide_typed(const float* sums, size_t sum_stride, const float* total, MatView<T> out) {
  const D16 d;
  for (size_t r = 0; r < out.rows; ++r) {
    const float* HWY_RESTRICT from = sums + r * sum_stride;
    T* HWY_RESTRICT to = out.row(r).data();
    const auto factor = hn::Set(d, 1.0f / total[r]);
    for_each_vector(d, out.cols, [&](const auto& get, const auto& put) HWY_ATTR {
      put(hn::Mul(get(from), factor), to);
    });
  }
}

void divide(const float* sums, size_t sum_stride, const float* total, AnyMat out) {
  if (out.dtype == DType::f32)
    divide_typed(sums, sum_stride, total, out.as<float>());
  else
    divide_typed(sums, sum_stride, total, out.as<bf16>());
}

// Scores of one key with the `group` query heads that read it.
template <class T>
HWY_INLINE void score_key(const float* HWY_RESTRICT q, size_t group, size_t D,
                          const T* HWY_RESTRICT key, float* HWY_RESTRICT scores) {
  const D16 d;
  size_t h = 0;
  for (; h + 2 <= group; h += 2) {
    const float* HWY_RESTRICT q0 = q + h * D;
    const float* HWY_RESTRICT q1 = q0 + D;
    V16 sum0 = hn::Zero(d), sum1 = hn::Zero(d);
    for_each_vector(d, D, [&](const auto& get, const auto&) HWY_ATTR {
      const V16 k = get(key);
      sum0 = hn::MulAdd(k, get(q0), sum0);
      sum1 = hn::MulAdd(k, get(q1), sum1);
    });
    scores[h * kKeyTile] = hn::GetLane(hn::SumOfLanes(d, sum0));
    scores[(h + 1) * kKeyTile] = hn::GetLane(hn::SumOfLanes(d, sum1));
  }
  if (h < group) {
    V16 sum = hn::Zero(d);
    for_each_vector(d, D, [&](const auto& get, const auto&) HWY_ATTR {
      sum = hn::MulAdd(get(key), get(q + h * D), sum);
    });
    scores[h * kKeyTile] = hn::GetLane(hn::SumOfLanes(d, sum));
  }
}

// sums [group, D + 2] += weight of the key in each head * value.
template <class T>
HWY_INLINE void add_value(const T* HWY_RESTRICT value, size_t group, size_t D,
                          const float* HWY_RESTRICT weights, float* HWY_RESTRICT sums) {
  const D16 d;
  for (size_t h = 0; h < group; ++h) {
    float* HWY_RESTRICT sum = sums + h * (D + 2);
    const auto weight = hn::Set(d, weights[h * kKeyTile]);
    for_each_vector(d, D, [&](const auto& get, const auto& put) HWY_ATTR {
      put(hn::MulAdd(get(value), weight, get(static_cast<const float*>(sum))), sum);
    });
  }
}

template <class T>
void attend_typed(MatView<const float> q, MatView<const T> k, MatView<const T> v, size_t kv_heads,
                  size_t D, Range keys, float* state, float* scores) {
  const D16 d;
  const size_t lanes = hn::Lanes(d);
  const size_t heads = q.cols / D, group = heads / kv_heads, width = D + 2;
  for (size_t row = 0; row < q.rows * heads; ++row) {
    std::fill_n(state + row * width, D, 0.0f);
    state[row * width + D] = kLowest;
    state[row * width + D + 1] = 0;
  }
  for (size_t first = keys.begin; first < keys.end; first += kKeyTile) {
    const size_t count = std::min(kKeyTile, keys.end - first);
    for (size_t s = 0; s < count; ++s) {
      const T* key = k.row(first + s).data();
      for (size_t t = 0; t < q.rows; ++t)
        for (size_t g = 0; g < kv_heads; ++g)
          score_key(q.row(t).data() + g * group * D, group, D, key + g * D,
                    scores + (t * heads + g * group) * kKeyTile + s);
    }
    for (size_t t = 0; t < q.rows; ++t) {
      const size_t seen = k.rows - q.rows + t + 1;
      const size_t visible = seen <= first ? 0 : std::min(count, seen - first);
      for (size_t h = 0; h < heads; ++h) {
        float* HWY_RESTRICT row = scores + (t * heads + h) * kKeyTile;
        float* own = state + (t * heads + h) * width;
        std::fill(row + visible, row + kKeyTile, kLowest);
        auto highest = hn::Set(d, kLowest);
        for (size_t i = 0; i < kKeyTile; i += lanes)
          highest = hn::Max(highest, hn::LoadU(d, row + i));
        const float before = own[D];
        const float now = std::max(before, hn::GetLane(hn::MaxOfLanes(d, highest)));
        if (now == kLowest) {  // nothing visible yet
          std::fill_n(row, kKeyTile, 0.0f);
          continue;
        }
        auto total = hn::Zero(d);
        for (size_t i = 0; i < kKeyTile; i += lanes) {
          const auto weight = hn::Exp(d, hn::Sub(hn::LoadU(d, row + i), hn::Set(d, now)));
          const auto seen_weight = hn::IfThenElseZero(
              hn::Lt(hn::Iota(d, static_cast<float>(i)), hn::Set(d, static_cast<float>(visible))),
              weight);
          hn::StoreU(seen_weight, d, row + i);
          total = hn::Add(total, seen_weight);
        }
        if (now != before) {
          const float factor = std::exp(before - now);
          scale_row(own, D, factor);
          own[D + 1] *= factor;
          own[D] = now;
        }
        own[D + 1] += hn::GetLane(hn::SumOfLanes(d, total));
      }
    }
    for (size_t s = 0; s < count; ++s) {
      const T* value = v.row(first + s).data();
      for (size_t t = 0; t < q.rows; ++t)
        for (size_t g = 0; g < kv_heads; ++g)
          add_value(value + g * D, group, D, scores + (t * heads + g * group) * kKeyTile + s,
                    state + (t * heads + g * group) * width);
    }
  }
}

void attend(MatView<const float> q, ConstAnyMat k, ConstAnyMat v, size_t kv_heads, size_t head_dim,
            Range keys, float* state, float* scratch) {
  if (k.dtype == DType::f32)
    attend_typed(q, k.as<float>(), v.as<float>(), kv_heads, head_dim, keys, state, scratch);
  else
    attend_typed(q, k.as<bf16>(), v.as<bf16>(), kv_heads, head_dim, keys, state, scratch);
}

}  // namespace msa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msa::cpu {
HWY_EXPORT(softmax_f32);
HWY_EXPORT(softmax_bf16);
HWY_EXPORT(divide);
HWY_EXPORT(attend);

void softmax_tile(const SoftmaxTile& tile, float* weights) {
  HWY_DYNAMIC_DISPATCH(softmax_f32)(tile, weights);
}
void softmax_tile(const SoftmaxTile& tile, bf16* weights) {
  HWY_DYNAMIC_DISPATCH(softmax_bf16)(tile, weights);
}

void divide_rows(const float* sums, size_t sum_stride, const float* total, AnyMat out) {
  HWY_DYNAMIC_DISPATCH(divide)(sums, sum_stride, total, out);
}

void attend_few(MatView<const float> q, ConstAnyMat k, ConstAnyMat v, size_t kv_heads,
                size_t head_dim, Range keys, float* state, float* scratch) {
  HWY_DYNAMIC_DISPATCH(attend)(q, k, v, kv_heads, head_dim, keys, state, scratch);
}

void merge_states(const float* states, size_t parts, size_t head_dim, AnyMat out) {
  const size_t D = head_dim, width = D + 2, heads = out.cols / D, rows = out.rows * heads;
  float sums[256];
  for (size_t row = 0; row < rows; ++row) {
    const auto state = [&](size_t part) { return states + (part * rows + row) * width; };
    float highest = state(0)[D], total = 0;
    for (size_t part = 1; part < parts; ++part) highest = std::max(highest, state(part)[D]);
    for (size_t part = 0; part < parts; ++part)
      total += state(part)[D + 1] * std::exp(state(part)[D] - highest);
    for (size_t first = 0; first < D; first += std::size(sums)) {
      const size_t count = std::min(std::size(sums), D - first);
      std::fill_n(sums, count, 0.0f);
      for (size_t part = 0; part < parts; ++part) {
        const float factor = std::exp(state(part)[D] - highest);
        for (size_t i = 0; i < count; ++i) sums[i] += factor * state(part)[first + i];
      }
      divide_rows(sums, 0, &total,
                  out.slice_rows(row / heads, 1).slice_cols(row % heads * D + first, count));
    }
  }
}

}  // namespace msa::cpu
#endif
