// RMS norm of each head, then rotary embedding.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "train_kernels/rotary.cc"
#include <hwy/foreach_target.h>
// The line above must come first.
#include <cassert>
#include <cmath>

#include "train_kernels/parallel.h"
#include "train_kernels/rows.h"
#include "train_kernels/vector_io-inl.h"
#include "train_kernels/weight_sums.h"

HWY_BEFORE_NAMESPACE();
namespace msa::train_kernels::HWY_NAMESPACE {

template <class T>
HWY_INLINE float inverse_rms(const T* HWY_RESTRICT x, size_t n, float eps) {
  const D16 d;
  auto squares = hn::Zero(d);
  for_each_vector(d, n, [&](const auto& get, const auto&) HWY_ATTR {
    const auto a = get(x);
    squares = hn::MulAdd(a, a, squares);
  });
  const float sum = hn::GetLane(hn::SumOfLanes(d, squares));
  return 1.0f / std::sqrt(sum / static_cast<float>(n) + eps);
}

template <class T>
void rotary_typed(MatView<const T> x, std::span<const float> weight, float eps,
                  std::span<const int32_t> positions, const RotaryTable& table, MatView<T> y,
                  Range range) {
  const D16 d;
  const size_t D = weight.size(), half = D / 2;
  const float* HWY_RESTRICT w = weight.data();
  for (size_t r = range.begin; r < range.end; ++r) {
    const float* HWY_RESTRICT cos = table.cosines(positions[r]);
    const float* HWY_RESTRICT sin = table.sines(positions[r]);
    for (size_t first = 0; first < x.cols; first += D) {
      const T* HWY_RESTRICT in = x.row(r).data() + first;
      T* HWY_RESTRICT out = y.row(r).data() + first;
      const auto scale = hn::Set(d, inverse_rms(in, D, eps));
      for_each_vector(d, half, [&](const auto& get, const auto& put) HWY_ATTR {
        const auto a = hn::Mul(hn::Mul(get(in), scale), get(w));
        const auto b = hn::Mul(hn::Mul(get(in + half), scale), get(w + half));
        const auto c = get(cos), s = get(sin);
        put(hn::NegMulAdd(b, s, hn::Mul(a, c)), out);
        put(hn::MulAdd(a, s, hn::Mul(b, c)), out + half);
      });
    }
  }
}

// `g` [D] is scratch memory: the gradient before the rotation.
template <class T>
void rotary_backward_typed(MatView<const T> x, std::span<const float> weight, float eps,
                           std::span<const int32_t> positions, const RotaryTable& table,
                           MatView<const T> grad_y, MatView<T> grad_x,
                           float* HWY_RESTRICT grad_weight, float* HWY_RESTRICT g, Range range) {
  const D16 d;
  const size_t D = weight.size(), half = D / 2;
  const float* HWY_RESTRICT w = weight.data();
  for (size_t r = range.begin; r < range.end; ++r) {
    const float* HWY_RESTRICT cos = table.cosines(positions[r]);
    const float* HWY_RESTRICT sin = table.sines(positions[r]);
    for (size_t first = 0; first < x.cols; first += D) {
      const T* HWY_RESTRICT in = x.row(r).data() + first;
      const T* HWY_RESTRICT dy = grad_y.row(r).data() + first;
      for_each_vector(d, half, [&](const auto& get, const auto& put) HWY_ATTR {
        const auto a = get(dy), b = get(dy + half), c = get(cos), s = get(sin);
        put(hn::MulAdd(b, s, hn::Mul(a, c)), g);
        put(hn::NegMulAdd(a, s, hn::Mul(b, c)), g + half);
      });
      const float rms = inverse_rms(in, D, eps);
      const auto scale = hn::Set(d, rms);
      auto dot = hn::Zero(d);
      for_each_vector(d, D, [&](const auto& get, const auto& put) HWY_ATTR {
        const auto product = hn::Mul(get(in), get(static_cast<const float*>(g)));
        dot = hn::MulAdd(product, get(w), dot);
        put(hn::MulAdd(product, scale, get(static_cast<const float*>(grad_weight))), grad_weight);
      });
      if (grad_x.data == nullptr) continue;
      const float mean = hn::GetLane(hn::SumOfLanes(d, dot)) / static_cast<float>(D);
      const auto pull = hn::Set(d, rms * rms * rms * mean);
      T* HWY_RESTRICT dx = grad_x.row(r).data() + first;
      for_each_vector(d, D, [&](const auto& get, const auto& put) HWY_ATTR {
        const auto straight = hn::Mul(hn::Mul(get(static_cast<const float*>(g)), get(w)), scale);
        put(hn::NegMulAdd(get(in), pull, straight), dx);
      });
    }
  }
}

void rotary(ConstAnyMat x, std::span<const float> weight, float eps,
            std::span<const int32_t> positions, const RotaryTable& table, AnyMat y, Range range) {
  if (x.dtype == DType::f32)
    rotary_typed(x.as<float>(), weight, eps, positions, table, y.as<float>(), range);
  else
    rotary_typed(x.as<bf16>(), weight, eps, positions, table, y.as<bf16>(), range);
}

void rotary_backward(ConstAnyMat x, std::span<const float> weight, float eps,
                     std::span<const int32_t> positions, const RotaryTable& table,
                     ConstAnyMat grad_y, AnyMat grad_x, float* grad_weight, float* scratch,
                     Range range) {
  if (x.dtype == DType::f32)
    rotary_backward_typed(x.as<float>(), weight, eps, positions, table, grad_y.as<float>(),
                          grad_x.as<float>(), grad_weight, scratch, range);
  else
    rotary_backward_typed(x.as<bf16>(), weight, eps, positions, table, grad_y.as<bf16>(),
                          grad_x.as<bf16>(), grad_weight, scratch, range);
}

}  // namespace msa::train_kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msa::train_kernels {
HWY_EXPORT(rotary);
HWY_EXPORT(rotary_backward);

void head_norm_rotary(int threads, ConstAnyMat x, std::span<const float> weight, float eps,
                      std::span<const int32_t> positions, const RotaryTable& table, AnyMat y) {
  assert(x.cols % weight.size() == 0 && positions.size() == x.rows);
  assert(y.rows == x.rows && y.cols == x.cols && y.dtype == x.dtype);
  parallel_rows(threads, x.rows, x.cols, [&](Range range) {
    HWY_DYNAMIC_DISPATCH(rotary)(x, weight, eps, positions, table, y, range);
  });
}

void head_norm_rotary_backward(int threads, ConstAnyMat x, std::span<const float> weight, float eps,
                               std::span<const int32_t> positions, const RotaryTable& table,
                               ConstAnyMat grad_y, AnyMat grad_x, std::span<float> grad_weight) {
  assert(x.cols % weight.size() == 0 && positions.size() == x.rows);
  assert(grad_y.rows == x.rows && grad_y.cols == x.cols && grad_y.dtype == x.dtype);
  grad_x.dtype = x.dtype;
  WeightSums sums(x.rows, weight.size());
  sums.for_each_part(threads, [&](Range range, float* own, float* scratch) {
    HWY_DYNAMIC_DISPATCH(rotary_backward)
    (x, weight, eps, positions, table, grad_y, grad_x, own, scratch, range);
  });
  sums.write(grad_weight);
}

}  // namespace msa::train_kernels
#endif
