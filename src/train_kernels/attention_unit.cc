#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "train_kernels/attention_unit.cc"
#include <hwy/foreach_target.h>
// The line above must come first.
#include <hwy/contrib/math/math-inl.h>

#include "train_kernels/attention_unit.h"
#include "train_kernels/tile_product-inl.h"
#include "train_kernels/vector_io-inl.h"

#include <cmath>
#include <cstring>
#include <limits>

HWY_BEFORE_NAMESPACE();
namespace msa::train_kernels::HWY_NAMESPACE {

// --- Rows in and out of scratch memory ---

// to [count, width] = scale * columns [column, column + D) of `from`'s rows, zeros beyond D.
template <class T>
HWY_INLINE void widen_typed(MatView<const T> from, size_t first, size_t count, size_t column,
                            size_t D, float scale, float* HWY_RESTRICT to, size_t width) {
  const D16 d;
  const size_t lanes = hn::Lanes(d);
  const auto factor = hn::Set(d, scale);
  for (size_t r = 0; r < count; ++r, to += width) {
    const T* HWY_RESTRICT row = from.data + (first + r) * from.stride + column;
    size_t i = 0;
    for (; i + lanes <= D; i += lanes) hn::StoreU(hn::Mul(load(d, row + i), factor), d, to + i);
    if (i < D) {
      hn::StoreU(hn::Mul(load_first(d, row + i, D - i), factor), d, to + i);
      i += lanes;
    }
    for (; i < width; i += lanes) hn::StoreU(hn::Zero(d), d, to + i);
  }
}

HWY_INLINE void widen(ConstAnyMat from, size_t first, size_t count, size_t column, size_t D,
                      float scale, float* to, size_t width) {
  if (from.dtype == DType::f32)
    widen_typed(from.as<float>(), first, count, column, D, scale, to, width);
  else
    widen_typed(from.as<bf16>(), first, count, column, D, scale, to, width);
}

// The same rows back: `to`'s columns = scale * from [count, width].
template <class T>
HWY_INLINE void narrow_typed(const float* HWY_RESTRICT from, size_t width, size_t count,
                             float scale, MatView<T> to, size_t first, size_t column, size_t D) {
  const D16 d;
  const auto factor = hn::Set(d, scale);
  for (size_t r = 0; r < count; ++r, from += width) {
    T* HWY_RESTRICT row = to.data + (first + r) * to.stride + column;
    for_each_vector(d, D, [&](const auto& get, const auto& put) HWY_ATTR {
      put(hn::Mul(get(from), factor), row);
    });
  }
}

HWY_INLINE void narrow(const float* from, size_t width, size_t count, float scale, AnyMat to,
                       size_t first, size_t column, size_t D) {
  if (to.dtype == DType::f32)
    narrow_typed(from, width, count, scale, to.as<float>(), first, column, D);
  else
    narrow_typed(from, width, count, scale, to.as<bf16>(), first, column, D);
}

HWY_INLINE void fill_zero(float* HWY_RESTRICT to, size_t count) {
  const D16 d;
  for (size_t i = 0; i < count; i += hn::Lanes(d)) hn::StoreU(hn::Zero(d), d, to + i);
}

// panels [keys / kPanelKeys][width][kPanelKeys] = rows [keys, width], transposed.
HWY_INLINE void transpose(const float* HWY_RESTRICT rows, size_t keys, size_t width,
                          float* HWY_RESTRICT panels) {
  for (size_t panel = 0; panel < keys; panel += kPanelKeys, panels += width * kPanelKeys) {
#if HWY_TARGET == HWY_SCALAR
    for (size_t key = 0; key < kPanelKeys; ++key)
      for (size_t i = 0; i < width; ++i)
        panels[i * kPanelKeys + key] = rows[(panel + key) * width + i];
#else
    const hn::FixedTag<float, 4> d;
    const hn::FixedTag<double, 2> d2;
    for (size_t key = 0; key < kPanelKeys; key += 4) {
      const float* HWY_RESTRICT from = rows + (panel + key) * width;
      float* HWY_RESTRICT to = panels + key;
      for (size_t i = 0; i < width; i += 4) {
        const auto a = hn::LoadU(d, from + i), b = hn::LoadU(d, from + width + i);
        const auto c = hn::LoadU(d, from + 2 * width + i), e = hn::LoadU(d, from + 3 * width + i);
        const auto ab_low = hn::BitCast(d2, hn::InterleaveLower(d, a, b));
        const auto ab_high = hn::BitCast(d2, hn::InterleaveUpper(d, a, b));
        const auto ce_low = hn::BitCast(d2, hn::InterleaveLower(d, c, e));
        const auto ce_high = hn::BitCast(d2, hn::InterleaveUpper(d, c, e));
        float* HWY_RESTRICT column = to + i * kPanelKeys;
        hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d2, ab_low, ce_low)), d, column);
        hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d2, ab_low, ce_low)), d, column + kPanelKeys);
        hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d2, ab_high, ce_high)), d,
                   column + 2 * kPanelKeys);
        hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d2, ab_high, ce_high)), d,
                   column + 3 * kPanelKeys);
      }
    }
#endif
  }
}

// All keys (or values) that segment `s` sees, head `g`: prefix, chunks, own tokens, then zeros up
// to whole panels.
HWY_INLINE void gather(const AttentionInputs& in, size_t s, size_t g, ConstAnyMat prefix,
                       ConstAnyMat chunk, ConstAnyMat own, const TileSizes& size, float* to) {
  const size_t D = in.head_dim, column = g * D;
  float* const end = to + size.keys * size.width;
  if (in.sees_prefix[s] && prefix.rows > 0) {
    widen(prefix, 0, prefix.rows, column, D, 1, to, size.width);
    to += prefix.rows * size.width;
  }
  for (int32_t c = in.chunk_starts[s]; c < in.chunk_starts[s + 1]; ++c, to += size.width)
    widen(chunk, static_cast<size_t>(in.chunks[static_cast<size_t>(c)]), 1, column, D, 1, to,
          size.width);
  widen(own, static_cast<size_t>(in.starts[s]), in.tokens(s), column, D, 1, to, size.width);
  to += in.tokens(s) * size.width;
  fill_zero(to, static_cast<size_t>(end - to));
}

// --- The products, each leaving out what the causal mask hides ---

// A block of queries. Row r sees the first `seen + r` keys.
struct Block {
  size_t count;  // of rows
  size_t seen;   // at least 1
  size_t padded() const { return round_up(count, 4); }
  size_t all_seen() const { return seen + count - 1; }
  // The first row that sees `key`, rounded down to whole tiles.
  size_t first_row(size_t key) const { return key < seen ? 0 : (key + 1 - seen) / 4 * 4; }
};

// scores [rows, keys] = a [rows, width] times the keys of `panels`. Only tiles of which a row sees
// a key are written.
HWY_INLINE void scores_of(const Block& block, const float* a, const float* panels,
                          const TileSizes& size, float* scores) {
  for (size_t key = 0; key < block.all_seen(); key += kPanelKeys) {
    const size_t row = block.first_row(key);
    product<false>(a + row * size.width, size.width, panels + key * size.width, kPanelKeys,
                   block.padded() - row, kPanelKeys, size.width, scores + row * size.keys + key,
                   size.keys, false);
  }
}

// sums [rows, width] = weights [rows, keys] times rows [keys, width].
HWY_INLINE void weighted_sums(const Block& block, const float* weights, const float* rows,
                              const TileSizes& size, float* sums) {
  constexpr size_t kTogether = 8;
  for (size_t r = 0; r < block.count; r += kTogether) {
    const size_t count = std::min(kTogether, block.padded() - r);
    const size_t seen = std::min(block.seen + r + count - 1, block.all_seen());
    product<false>(weights + r * size.keys, size.keys, rows, size.width, count, size.width, seen,
                   sums + r * size.width, size.width, false);
  }
}

// sums [keys, width] += weights^T [keys, rows] times rows [rows, width].
HWY_INLINE void add_transposed(const Block& block, const float* weights, const float* rows,
                               const TileSizes& size, float* sums) {
  constexpr size_t kTogether = 8;
  for (size_t key = 0; key < block.all_seen(); key += kTogether) {
    const size_t row = key < block.seen ? 0 : key + 1 - block.seen;
    product<true>(weights + row * size.keys + key, size.keys, rows + row * size.width, size.width,
                  kTogether, size.width, block.count - row, sums + key * size.width, size.width,
                  true);
  }
}

// --- Softmax of rows ---

// Zeros after the first `seen` weights of a row, as far as a tile of a later row reads.
HWY_INLINE void hide(float* HWY_RESTRICT row, size_t from, size_t seen, size_t keys) {
  const D16 d;
  const size_t end = std::min(round_up(seen + 8, 16), keys);
  for (size_t i = from; i < end; i += hn::Lanes(d)) hn::StoreU(hn::Zero(d), d, row + i);
}

// Row becomes exp(row - highest), hidden keys zero. Returns the sum; `highest` is overwritten.
HWY_INLINE float exponentials(float* HWY_RESTRICT row, size_t seen, size_t keys, float& highest) {
  const D16 d;
  const size_t lanes = hn::Lanes(d), whole = seen / lanes * lanes, rest = seen - whole;
  const auto lowest = hn::Set(d, -std::numeric_limits<float>::infinity());
  const auto tail = hn::FirstN(d, rest);
  auto most = lowest;
  for (size_t i = 0; i < whole; i += lanes) most = hn::Max(most, hn::LoadU(d, row + i));
  if (rest != 0) most = hn::Max(most, hn::IfThenElse(tail, hn::LoadU(d, row + whole), lowest));
  highest = hn::GetLane(hn::MaxOfLanes(d, most));
  const auto shift = hn::Set(d, highest);
  auto total = hn::Zero(d);
  for (size_t i = 0; i < whole; i += lanes) {
    const auto weight = hn::Exp(d, hn::Sub(hn::LoadU(d, row + i), shift));
    hn::StoreU(weight, d, row + i);
    total = hn::Add(total, weight);
  }
  if (rest != 0) {
    const auto weight =
        hn::IfThenElseZero(tail, hn::Exp(d, hn::Sub(hn::LoadU(d, row + whole), shift)));
    hn::StoreU(weight, d, row + whole);
    total = hn::Add(total, weight);
  }
  hide(row, round_up(seen, lanes), seen, keys);
  return hn::GetLane(hn::SumOfLanes(d, total));
}

// weights: scores become exp(score - log_sum); hidden keys zero.
HWY_INLINE void weights_again(float* HWY_RESTRICT row, size_t seen, size_t keys, float log_sum) {
  const D16 d;
  const size_t lanes = hn::Lanes(d), whole = seen / lanes * lanes, rest = seen - whole;
  const auto shift = hn::Set(d, log_sum);
  for (size_t i = 0; i < whole; i += lanes)
    hn::StoreU(hn::Exp(d, hn::Sub(hn::LoadU(d, row + i), shift)), d, row + i);
  if (rest != 0)
    hn::StoreU(hn::IfThenElseZero(hn::FirstN(d, rest),
                                  hn::Exp(d, hn::Sub(hn::LoadU(d, row + whole), shift))),
               d, row + whole);
  hide(row, round_up(seen, lanes), seen, keys);
}

// Gradients of scores from those of weights: weight * (gradient - sum of weight * gradient).
HWY_INLINE void softmax_backward(const float* HWY_RESTRICT weights, size_t seen, size_t keys,
                                 float* HWY_RESTRICT gradients) {
  const D16 d;
  const size_t lanes = hn::Lanes(d), whole = seen / lanes * lanes, rest = seen - whole;
  const auto tail = hn::FirstN(d, rest);
  auto sum = hn::Zero(d);
  for (size_t i = 0; i < whole; i += lanes)
    sum = hn::MulAdd(hn::LoadU(d, weights + i), hn::LoadU(d, gradients + i), sum);
  if (rest != 0)
    sum = hn::MulAdd(hn::LoadU(d, weights + whole),
                     hn::IfThenElseZero(tail, hn::LoadU(d, gradients + whole)), sum);
  const auto mean = hn::Set(d, hn::GetLane(hn::SumOfLanes(d, sum)));
  for (size_t i = 0; i < whole; i += lanes)
    hn::StoreU(hn::Mul(hn::LoadU(d, weights + i), hn::Sub(hn::LoadU(d, gradients + i), mean)), d,
               gradients + i);
  if (rest != 0)
    hn::StoreU(hn::IfThenElseZero(tail, hn::Mul(hn::LoadU(d, weights + whole),
                                                hn::Sub(hn::LoadU(d, gradients + whole), mean))),
               d, gradients + whole);
  hide(gradients, round_up(seen, lanes), seen, keys);
}

// --- Units ---

void unit(const AttentionInputs& in, size_t s, size_t g, float* memory, AnyMat out,
          MatView<float> log_sums) {
  const size_t D = in.head_dim, context = in.context(s), tokens = in.tokens(s);
  const size_t group = in.query_heads / in.kv_heads, start = static_cast<size_t>(in.starts[s]);
  const TileSizes size(tokens, context + tokens, D);
  const ForwardSpace space(memory, size);
  gather(in, s, g, in.prefix_k, in.chunk_k, in.k, size, space.keys);
  gather(in, s, g, in.prefix_v, in.chunk_v, in.v, size, space.values);
  transpose(space.keys, size.keys, size.width, space.panels);
  const float scale = 1.0f / std::sqrt(static_cast<float>(D));
  for (size_t first = 0; first < tokens; first += kBlockRows) {
    const Block block{std::min(kBlockRows, tokens - first), context + first + 1};
    for (size_t h = g * group; h < (g + 1) * group; ++h) {
      widen(in.q, start + first, block.count, h * D, D, scale, space.queries, size.width);
      fill_zero(space.queries + block.count * size.width,
                (block.padded() - block.count) * size.width);
      scores_of(block, space.queries, space.panels, size, space.scores);
      for (size_t r = 0; r < block.count; ++r) {
        float highest;
        const float total =
            exponentials(space.scores + r * size.keys, block.seen + r, size.keys, highest);
        space.total[r] = 1 / total;
        log_sums.data[(start + first + r) * log_sums.stride + h] = highest + std::log(total);
      }
      weighted_sums(block, space.scores, space.values, size, space.sums);
      for (size_t r = 0; r < block.count; ++r)
        narrow(space.sums + r * size.width, size.width, 1, space.total[r], out, start + first + r,
               h * D, D);
    }
  }
}

// The gradients of all keys of a segment: those of its own tokens are final.
HWY_INLINE void spread(const float* gradients, size_t context, size_t start, size_t tokens,
                       const AttentionInputs& in, size_t g, const TileSizes& size, AnyMat own,
                       float* shared) {
  const size_t D = in.head_dim, row = in.kv_heads * D;
  if (shared != nullptr)
    for (size_t c = 0; c < context; ++c)
      std::memcpy(shared + c * row + g * D, gradients + c * size.width, D * sizeof(float));
  if (own.data != nullptr)
    narrow(gradients + context * size.width, size.width, tokens, 1, own, start, g * D, D);
}

void unit_backward(const AttentionInputs& in, ConstAnyMat grad_out, MatView<const float> log_sums,
                   size_t s, size_t g, const Wanted& wanted, float* memory,
                   const AttentionGradients& gradients, const ContextGradients& shared) {
  const size_t D = in.head_dim, context = in.context(s), tokens = in.tokens(s);
  const size_t group = in.query_heads / in.kv_heads, start = static_cast<size_t>(in.starts[s]);
  const TileSizes size(tokens, context + tokens, D);
  const BackwardSpace space(memory, size);
  const bool scores_wanted = wanted.queries || wanted.keys;
  gather(in, s, g, in.prefix_k, in.chunk_k, in.k, size, space.keys);
  transpose(space.keys, size.keys, size.width, space.key_panels);
  if (scores_wanted) {
    gather(in, s, g, in.prefix_v, in.chunk_v, in.v, size, space.values);
    transpose(space.values, size.keys, size.width, space.value_panels);
  }
  if (wanted.keys) fill_zero(space.grad_keys, size.keys * size.width);
  if (wanted.values) fill_zero(space.grad_values, size.keys * size.width);
  const float scale = 1.0f / std::sqrt(static_cast<float>(D));
  for (size_t first = 0; first < tokens; first += kBlockRows) {
    const Block block{std::min(kBlockRows, tokens - first), context + first + 1};
    const size_t surplus = (block.padded() - block.count) * size.width;
    for (size_t h = g * group; h < (g + 1) * group; ++h) {
      widen(in.q, start + first, block.count, h * D, D, scale, space.queries, size.width);
      widen(grad_out, start + first, block.count, h * D, D, 1, space.grad_out, size.width);
      fill_zero(space.queries + block.count * size.width, surplus);
      fill_zero(space.grad_out + block.count * size.width, surplus);
      scores_of(block, space.queries, space.key_panels, size, space.weights);
      for (size_t r = 0; r < block.count; ++r)
        weights_again(space.weights + r * size.keys, block.seen + r, size.keys,
                      log_sums.data[(start + first + r) * log_sums.stride + h]);
      if (wanted.values)
        add_transposed(block, space.weights, space.grad_out, size, space.grad_values);
      if (!scores_wanted) continue;
      scores_of(block, space.grad_out, space.value_panels, size, space.grad_scores);
      for (size_t r = 0; r < block.count; ++r)
        softmax_backward(space.weights + r * size.keys, block.seen + r, size.keys,
                         space.grad_scores + r * size.keys);
      if (wanted.keys)
        add_transposed(block, space.grad_scores, space.queries, size, space.grad_keys);
      if (wanted.queries) {
        weighted_sums(block, space.grad_scores, space.keys, size, space.grad_queries);
        narrow(space.grad_queries, size.width, block.count, scale, gradients.q, start + first,
               h * D, D);
      }
    }
  }
  if (wanted.keys)
    spread(space.grad_keys, context, start, tokens, in, g, size, gradients.k, shared.k);
  if (wanted.values)
    spread(space.grad_values, context, start, tokens, in, g, size, gradients.v, shared.v);
}

void sum_of_rows(const float* rows, std::span<const size_t> at, float* HWY_RESTRICT total,
                 AnyMat to) {
  const D16 d;
  const size_t n = to.cols;
  std::fill_n(total, n, 0.0f);
  for (const size_t row : at)
    for_each_vector(d, n, [&](const auto& get, const auto& put) HWY_ATTR {
      put(hn::Add(get(static_cast<const float*>(total)), get(rows + row * n)), total);
    });
  narrow(total, n, 1, 1, to, 0, 0, n);
}

}  // namespace msa::train_kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msa::train_kernels {
HWY_EXPORT(unit);
HWY_EXPORT(unit_backward);
HWY_EXPORT(sum_of_rows);

namespace {

// Hands out consecutive parts of `memory`.
struct Parts {
  float* next;
  float* take(size_t count) {
    float* part = next;
    next += count;
    return part;
  }
};

}  // namespace

ForwardSpace::ForwardSpace(float* memory, const TileSizes& size) {
  Parts parts{memory};
  keys = parts.take(size.keys * size.width);
  values = parts.take(size.keys * size.width);
  panels = parts.take(size.keys * size.width);
  queries = parts.take(size.rows * size.width);
  scores = parts.take(size.rows * size.keys);
  sums = parts.take(size.rows * size.width);
  total = parts.take(size.rows);
}

BackwardSpace::BackwardSpace(float* memory, const TileSizes& size) {
  Parts parts{memory};
  keys = parts.take(size.keys * size.width);
  values = parts.take(size.keys * size.width);
  key_panels = parts.take(size.keys * size.width);
  value_panels = parts.take(size.keys * size.width);
  grad_keys = parts.take(size.keys * size.width);
  grad_values = parts.take(size.keys * size.width);
  queries = parts.take(size.rows * size.width);
  grad_out = parts.take(size.rows * size.width);
  grad_queries = parts.take(size.rows * size.width);
  weights = parts.take(size.rows * size.keys);
  grad_scores = parts.take(size.rows * size.keys);
}

void attend_unit(const AttentionInputs& inputs, size_t s, size_t g, float* memory, AnyMat out,
                 MatView<float> log_sums) {
  HWY_DYNAMIC_DISPATCH(unit)(inputs, s, g, memory, out, log_sums);
}

void attend_unit_backward(const AttentionInputs& inputs, ConstAnyMat grad_out,
                          MatView<const float> log_sums, size_t s, size_t g, const Wanted& wanted,
                          float* memory, const AttentionGradients& gradients,
                          const ContextGradients& context) {
  HWY_DYNAMIC_DISPATCH(unit_backward)
  (inputs, grad_out, log_sums, s, g, wanted, memory, gradients, context);
}

void sum_rows(const float* rows, std::span<const size_t> at, float* sum, AnyMat to) {
  HWY_DYNAMIC_DISPATCH(sum_of_rows)(rows, at, sum, to);
}

}  // namespace msa::train_kernels
#endif
