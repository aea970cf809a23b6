#include "train_kernels/attention.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <numeric>
#include <vector>

#include "base/aligned_buffer.h"
#include "train_kernels/attention_unit.h"
#include "train_kernels/parallel.h"

namespace msa::train_kernels {
namespace {

// Segments that have tokens, those with most work first, so that no thread is left with a long one
// in the end.
std::vector<size_t> by_work(const AttentionInputs& inputs) {
  std::vector<size_t> order;
  for (size_t s = 0; s < inputs.segments(); ++s)
    if (inputs.tokens(s) > 0) order.push_back(s);
  const auto work = [&](size_t s) {
    return inputs.tokens(s) * (2 * inputs.context(s) + inputs.tokens(s));
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return work(a) > work(b); });
  return order;
}

TileSizes largest(const AttentionInputs& inputs) {
  TileSizes size;
  for (size_t s = 0; s < inputs.segments(); ++s)
    size.cover(TileSizes(inputs.tokens(s), inputs.context(s) + inputs.tokens(s), inputs.head_dim));
  return size;
}

// Scratch memory for each thread, a cache line apart at least.
class Scratch {
 public:
  Scratch(int threads, size_t floats)
      : each_(round_up(floats, kCacheLine / sizeof(float))),
        memory_(each_ * static_cast<size_t>(std::max(threads, 1))) {}
  float* of(int thread) { return memory_.data() + each_ * static_cast<size_t>(thread); }

 private:
  size_t each_;
  AlignedBuffer<float> memory_;
};

void zero_rows(AnyMat rows, size_t begin, size_t end) {
  const size_t size = size_of(rows.dtype);
  for (size_t r = begin; r < end; ++r)
    std::memset(rows.data + r * rows.stride * size, 0, rows.cols * size);
}

// Zeroes the rows before the first segment and after the last.
void zero_outside(const AttentionInputs& inputs, AnyMat rows) {
  if (rows.data == nullptr) return;
  const bool none = inputs.segments() == 0;
  zero_rows(rows, 0, none ? rows.rows : static_cast<size_t>(inputs.starts.front()));
  if (!none) zero_rows(rows, static_cast<size_t>(inputs.starts.back()), rows.rows);
}

void check(const AttentionInputs& in) {
  assert(in.starts.size() == in.segments() + 1 && in.chunk_starts.size() == in.starts.size());
  assert(in.q.cols == in.query_heads * in.head_dim && in.query_heads % in.kv_heads == 0);
  assert(in.k.cols == in.kv_heads * in.head_dim && in.v.cols == in.k.cols);
  assert(in.q.rows == in.k.rows && in.q.rows == in.v.rows);
  assert(in.prefix_k.rows == in.prefix_v.rows && in.chunk_k.rows == in.chunk_v.rows);
  (void)in;
}

// The rows of what segments saw as context, in the order of the segments: which shared row (prefix
// first, then chunks) each of them is, and for each shared row where it was seen.
class SharedRows {
 public:
  explicit SharedRows(const AttentionInputs& inputs) : first_(inputs.segments() + 1, 0) {
    const size_t prefix = inputs.prefix_k.rows, shared = prefix + inputs.chunk_k.rows;
    for (size_t s = 0; s < inputs.segments(); ++s)
      first_[s + 1] = first_[s] + (inputs.tokens(s) > 0 ? inputs.context(s) : 0);
    std::vector<size_t> row_of(first_.back());
    seen_starts_.assign(shared + 1, 0);
    for (size_t s = 0; s < inputs.segments(); ++s) {
      if (inputs.tokens(s) == 0) continue;
      size_t at = first_[s];
      if (inputs.sees_prefix[s])
        for (size_t p = 0; p < prefix; ++p) row_of[at++] = p;
      for (int32_t c = inputs.chunk_starts[s]; c < inputs.chunk_starts[s + 1]; ++c)
        row_of[at++] = prefix + static_cast<size_t>(inputs.chunks[static_cast<size_t>(c)]);
    }
    for (const size_t row : row_of) ++seen_starts_[row + 1];
    std::partial_sum(seen_starts_.begin(), seen_starts_.end(), seen_starts_.begin());
    seen_.resize(row_of.size());
    std::vector<size_t> next(seen_starts_.begin(), seen_starts_.end() - 1);
    for (size_t at = 0; at < row_of.size(); ++at) seen_[next[row_of[at]]++] = at;
  }
  size_t rows() const { return seen_.size(); }
  // Of segment s.
  size_t first(size_t s) const { return first_[s]; }
  std::span<const size_t> where(size_t shared_row) const {
    return std::span(seen_).subspan(seen_starts_[shared_row],
                                    seen_starts_[shared_row + 1] - seen_starts_[shared_row]);
  }

 private:
  std::vector<size_t> first_;        // S+1
  std::vector<size_t> seen_starts_;  // T0+C+1, into seen_
  std::vector<size_t> seen_;
};

// to's row r = the sum of the gradients at which shared row `offset + r` was seen.
void collect(int threads, const SharedRows& shared, size_t offset, const float* gradients,
             AnyMat to) {
  if (to.data == nullptr) return;
  Scratch scratch(threads, to.cols);
  parallel_units(threads, to.rows, [&](size_t r, int thread) {
    sum_rows(gradients, shared.where(offset + r), scratch.of(thread), to.slice_rows(r, 1));
  });
}

}  // namespace

void segment_attention(int threads, const AttentionInputs& inputs, AnyMat out,
                       MatView<float> log_sums) {
  check(inputs);
  zero_outside(inputs, out);
  const std::vector<size_t> order = by_work(inputs);
  Scratch scratch(threads, ForwardSpace::floats(largest(inputs)));
  parallel_units(threads, order.size() * inputs.kv_heads, [&](size_t unit, int thread) {
    attend_unit(inputs, order[unit / inputs.kv_heads], unit % inputs.kv_heads, scratch.of(thread),
                out, log_sums);
  });
}

void segment_attention_backward(int threads, const AttentionInputs& inputs, ConstAnyMat grad_out,
                                MatView<const float> log_sums,
                                const AttentionGradients& gradients) {
  check(inputs);
  for (const AnyMat& own : {gradients.q, gradients.k, gradients.v}) zero_outside(inputs, own);
  const bool shared_k = gradients.prefix_k.data != nullptr || gradients.chunk_k.data != nullptr;
  const bool shared_v = gradients.prefix_v.data != nullptr || gradients.chunk_v.data != nullptr;
  const Wanted wanted{gradients.q.data != nullptr, gradients.k.data != nullptr || shared_k,
                      gradients.v.data != nullptr || shared_v};

  // What segments share is written apart for each, then summed.
  const SharedRows shared(inputs);
  const size_t width = inputs.kv_heads * inputs.head_dim;
  AlignedBuffer<float> context_k(shared_k ? shared.rows() * width : 0);
  AlignedBuffer<float> context_v(shared_v ? shared.rows() * width : 0);

  const std::vector<size_t> order = by_work(inputs);
  Scratch scratch(threads, BackwardSpace::floats(largest(inputs)));
  parallel_units(threads, order.size() * inputs.kv_heads, [&](size_t unit, int thread) {
    const size_t s = order[unit / inputs.kv_heads], at = shared.first(s) * width;
    attend_unit_backward(
        inputs, grad_out, log_sums, s, unit % inputs.kv_heads, wanted, scratch.of(thread),
        gradients,
        {shared_k ? context_k.data() + at : nullptr, shared_v ? context_v.data() + at : nullptr});
  });
  const size_t prefix = inputs.prefix_k.rows;
  collect(threads, shared, 0, context_k.data(), gradients.prefix_k);
  collect(threads, shared, 0, context_v.data(), gradients.prefix_v);
  collect(threads, shared, prefix, context_k.data(), gradients.chunk_k);
  collect(threads, shared, prefix, context_v.data(), gradients.chunk_v);
}

}  // namespace msa::train_kernels
