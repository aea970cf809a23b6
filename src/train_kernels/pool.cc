// Means over runs of rows.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "train_kernels/pool.cc"
#include <hwy/foreach_target.h>
// The line above must come first.
#include <algorithm>
#include <cassert>
#include <cstring>

#include "train_kernels/parallel.h"
#include "train_kernels/rows.h"
#include "train_kernels/vector_io-inl.h"

HWY_BEFORE_NAMESPACE();
namespace msa::train_kernels::HWY_NAMESPACE {

template <class T>
void pool_typed(MatView<const T> x, std::span<const int32_t> runs, MatView<float> means,
                Range range) {
  const D16 d;
  for (size_t c = range.begin; c < range.end; ++c) {
    float* HWY_RESTRICT mean = means.row(c).data();
    std::fill_n(mean, x.cols, 0.0f);
    const auto begin = static_cast<size_t>(runs[c]), end = static_cast<size_t>(runs[c + 1]);
    const auto share = hn::Set(d, 1.0f / static_cast<float>(std::max<size_t>(end - begin, 1)));
    for (size_t r = begin; r < end; ++r) {
      const T* HWY_RESTRICT row = x.row(r).data();
      for_each_vector(d, x.cols, [&](const auto& get, const auto& put) HWY_ATTR {
        const auto sum = hn::Add(get(static_cast<const float*>(mean)), get(row));
        put(r + 1 == end ? hn::Mul(sum, share) : sum, mean);
      });
    }
  }
}

template <class T>
void pool_backward_typed(MatView<const float> grad_means, std::span<const int32_t> runs,
                         MatView<T> grad_x, Range range) {
  const D16 d;
  for (size_t c = range.begin; c < range.end; ++c) {
    const float* HWY_RESTRICT from = grad_means.row(c).data();
    const auto begin = static_cast<size_t>(runs[c]), end = static_cast<size_t>(runs[c + 1]);
    const auto share = hn::Set(d, 1.0f / static_cast<float>(std::max<size_t>(end - begin, 1)));
    for (size_t r = begin; r < end; ++r) {
      T* HWY_RESTRICT to = grad_x.row(r).data();
      for_each_vector(d, grad_x.cols, [&](const auto& get, const auto& put) HWY_ATTR {
        put(hn::Mul(get(from), share), to);
      });
    }
  }
}

void pool_forward(ConstAnyMat x, std::span<const int32_t> runs, MatView<float> means, Range range) {
  if (x.dtype == DType::f32)
    pool_typed(x.as<float>(), runs, means, range);
  else
    pool_typed(x.as<bf16>(), runs, means, range);
}

void pool_backward(MatView<const float> grad_means, std::span<const int32_t> runs, AnyMat grad_x,
                   Range range) {
  if (grad_x.dtype == DType::f32)
    pool_backward_typed(grad_means, runs, grad_x.as<float>(), range);
  else
    pool_backward_typed(grad_means, runs, grad_x.as<bf16>(), range);
}

}  // namespace msa::train_kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msa::train_kernels {
HWY_EXPORT(pool_forward);
HWY_EXPORT(pool_backward);

namespace {

// Elements of a run of average length: the measure of work.
size_t run_elements(std::span<const int32_t> runs, size_t cols) {
  const size_t count = std::max<size_t>(runs.size(), 2) - 1;
  const size_t rows = runs.empty() ? 0 : static_cast<size_t>(runs.back() - runs.front());
  return (rows / count + 1) * cols;
}

void zero_rows(AnyMat m, size_t begin, size_t end) {
  const size_t size = size_of(m.dtype);
  for (size_t r = begin; r < end; ++r) std::memset(m.data + r * m.stride * size, 0, m.cols * size);
}

}  // namespace

void pool_rows(int threads, ConstAnyMat x, std::span<const int32_t> runs, MatView<float> means) {
  assert(means.rows == 0 || (runs.size() == means.rows + 1 && means.cols == x.cols));
  parallel_rows(threads, means.rows, run_elements(runs, x.cols), [&](Range range) {
    HWY_DYNAMIC_DISPATCH(pool_forward)(x, runs, means, range);
  });
}

void pool_rows_backward(int threads, MatView<const float> grad_means, std::span<const int32_t> runs,
                        AnyMat grad_x) {
  const bool none = grad_means.rows == 0;
  assert(none || (runs.size() == grad_means.rows + 1 && grad_means.cols == grad_x.cols));
  // Rows of no run.
  zero_rows(grad_x, 0, none ? grad_x.rows : static_cast<size_t>(runs.front()));
  if (!none) zero_rows(grad_x, static_cast<size_t>(runs.back()), grad_x.rows);
  parallel_rows(threads, grad_means.rows, run_elements(runs, grad_x.cols), [&](Range range) {
    HWY_DYNAMIC_DISPATCH(pool_backward)(grad_means, runs, grad_x, range);
  });
}

}  // namespace msa::train_kernels
#endif
