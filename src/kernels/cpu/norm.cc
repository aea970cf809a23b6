// RMSNorm, and RMSNorm per head with rotary embedding.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/norm.cc"
#include <hwy/foreach_target.h>
// The line above must come first.
#include "kernels/cpu/rows.h"
#include "kernels/cpu/vector_io-inl.h"

#include <cmath>

HWY_BEFORE_NAMESPACE();
namespace msa::cpu::HWY_NAMESPACE {

template <class T>
HWY_INLINE float sum_of_squares(const T* HWY_RESTRICT x, size_t n) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  auto even = hn::Zero(d), odd = hn::Zero(d);
  size_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const auto a = load(d, x + i), b = load(d, x + i + lanes);
    even = hn::MulAdd(a, a, even);
    odd = hn::MulAdd(b, b, odd);
  }
  for (; i + lanes <= n; i += lanes) {
    const auto a = load(d, x + i);
    even = hn::MulAdd(a, a, even);
  }
  if (i < n) {
    const auto a = load_first(d, x + i, n - i);
    odd = hn::MulAdd(a, a, odd);
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(even, odd)));
}

HWY_INLINE float inverse_root(float squares, size_t n, float eps) {
  return 1.0f / std::sqrt(squares / static_cast<float>(n) + eps);
}

template <class T>
void rms_norm_typed(MatView<const float> x, std::span<const float> weight, float eps, MatView<T> y,
                    Range range) {
  const hn::ScalableTag<float> d;
  for (size_t r = range.begin; r < range.end; ++r) {
    const float* HWY_RESTRICT in = x.row(r).data();
    T* HWY_RESTRICT out = y.row(r).data();
    const auto scale = hn::Set(d, inverse_root(sum_of_squares(in, x.cols), x.cols, eps));
    for_each_vector(d, x.cols, [&](const auto& get, const auto& put) HWY_ATTR {
      put(hn::Mul(hn::Mul(get(in), scale), get(weight.data())), out);
    });
  }
}

template <class T>
void norm_rotary_typed(MatView<T> x, size_t heads, std::span<const float> weight, float eps,
                       std::span<const int32_t> positions, const RotaryTable& table, Range range) {
  const hn::ScalableTag<float> d;
  const size_t D = weight.size(), half = D / 2;
  const float* HWY_RESTRICT w = weight.data();
  for (size_t r = range.begin; r < range.end; ++r) {
    const size_t row = static_cast<size_t>(positions[r]) * half;
    const float* HWY_RESTRICT cos = table.cos.data() + row;
    const float* HWY_RESTRICT sin = table.sin.data() + row;
    for (size_t h = 0; h < heads; ++h) {
      T* head = x.row(r).data() + h * D;
      const auto scale = hn::Set(d, inverse_root(sum_of_squares(head, D), D, eps));
      for_each_vector(d, half, [&](const auto& get, const auto& put) HWY_ATTR {
        const auto a = hn::Mul(hn::Mul(get(head), scale), get(w));
        const auto b = hn::Mul(hn::Mul(get(head + half), scale), get(w + half));
        const auto c = get(cos), s = get(sin);
        put(hn::NegMulAdd(b, s, hn::Mul(a, c)), head);
        put(hn::MulAdd(a, s, hn::Mul(b, c)), head + half);
      });
    }
  }
}

void rms_norm(MatView<const float> x, std::span<const float> weight, float eps, AnyMat y,
              Range range) {
  if (y.dtype == DType::f32)
    rms_norm_typed(x, weight, eps, y.as<float>(), range);
  else
    rms_norm_typed(x, weight, eps, y.as<bf16>(), range);
}

void norm_rotary(AnyMat x, size_t heads, std::span<const float> weight, float eps,
                 std::span<const int32_t> positions, const RotaryTable& table, Range range) {
  if (x.dtype == DType::f32)
    norm_rotary_typed(x.as<float>(), heads, weight, eps, positions, table, range);
  else
    norm_rotary_typed(x.as<bf16>(), heads, weight, eps, positions, table, range);
}

}  // namespace msa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msa::cpu {
HWY_EXPORT(rms_norm);
HWY_EXPORT(norm_rotary);

void rms_norm_rows(MatView<const float> x, std::span<const float> weight, float eps, AnyMat y,
                   Range range) {
  HWY_DYNAMIC_DISPATCH(rms_norm)(x, weight, eps, y, range);
}

void norm_rotary_rows(AnyMat x, size_t heads, std::span<const float> weight, float eps,
                      std::span<const int32_t> positions, const RotaryTable& table, Range range) {
  HWY_DYNAMIC_DISPATCH(norm_rotary)(x, heads, weight, eps, positions, table, range);
}

}  // namespace msa::cpu
#endif
