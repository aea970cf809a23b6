// Copies, conversions, sums and means of rows.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rows.cc"
#include <hwy/foreach_target.h>
// The line above must come first.
#include "kernels/cpu/rows.h"
#include "kernels/cpu/vector_io-inl.h"

#include <algorithm>
#include <cmath>

HWY_BEFORE_NAMESPACE();
namespace msa::cpu::HWY_NAMESPACE {

// `from` may stand at any byte: weights are read from files as they lie there.
template <class From, class To>
HWY_INLINE void convert_row(const std::byte* from_bytes, To* HWY_RESTRICT to, size_t n) {
  const auto* from = reinterpret_cast<const From*>(from_bytes);
  if constexpr (std::is_same_v<From, To>) {
    std::memcpy(to, from_bytes, n * sizeof(To));
  } else if (reinterpret_cast<uintptr_t>(from_bytes) % alignof(From) != 0) {
    for (size_t i = 0; i < n; ++i) {
      From value;
      std::memcpy(&value, from_bytes + i * sizeof(From), sizeof(From));
      to[i] = from_float<To>(to_float(value));
    }
  } else {
    for_each_vector(hn::ScalableTag<float>(), n,
                    [&](const auto& get, const auto& put) HWY_ATTR { put(get(from), to); });
  }
}

template <class From, class To>
void convert_typed(ConstAnyMat from, AnyMat to, Range range) {
  for (size_t r = range.begin; r < range.end; ++r)
    convert_row<From, To>(from.data + r * from.stride * sizeof(From), to.as<To>().row(r).data(),
                          from.cols);
}

template <class To>
void convert_to(ConstAnyMat from, AnyMat to, Range range) {
  switch (from.dtype) {
    case DType::f32: return convert_typed<float, To>(from, to, range);
    case DType::bf16: return convert_typed<bf16, To>(from, to, range);
    case DType::f16: return convert_typed<f16, To>(from, to, range);
    case DType::i64: break;
  }
  assert(false && "not a matrix of numbers to compute with");
}

void convert(ConstAnyMat from, AnyMat to, Range range) {
  if (to.dtype == DType::f32)
    convert_to<float>(from, to, range);
  else
    convert_to<bf16>(from, to, range);
}

void add(MatView<const float> from, MatView<float> to, Range range) {
  const hn::ScalableTag<float> d;
  for (size_t r = range.begin; r < range.end; ++r) {
    const float* HWY_RESTRICT in = from.row(r).data();
    float* out = to.row(r).data();
    for_each_vector(d, from.cols, [&](const auto& get, const auto& put) HWY_ATTR {
      put(hn::Add(get(in), get(static_cast<const float*>(out))), out);
    });
  }
}

template <class In, class Out>
void pool_typed(MatView<const In> x, size_t kv_heads, bool normalise, Out* HWY_RESTRICT out,
                float* HWY_RESTRICT sum) {
  const hn::ScalableTag<float> d;
  const size_t D = x.cols / kv_heads;
  std::fill(sum, sum + x.cols, 0.0f);
  for (size_t r = 0; r < x.rows; ++r) {
    const In* HWY_RESTRICT row = x.row(r).data();
    for_each_vector(d, x.cols, [&](const auto& get, const auto& put) HWY_ATTR {
      put(hn::Add(get(static_cast<const float*>(sum)), get(row)), sum);
    });
  }
  const float share = 1.0f / static_cast<float>(x.rows);
  for (size_t g = 0; g < kv_heads; ++g) {
    float* HWY_RESTRICT head = sum + g * D;
    float scale = share;
    if (normalise) {
      auto squares = hn::Zero(d);
      for_each_vector(d, D, [&](const auto& get, const auto&) HWY_ATTR {
        const auto mean = hn::Mul(get(static_cast<const float*>(head)), hn::Set(d, share));
        squares = hn::MulAdd(mean, mean, squares);
      });
      const float norm = std::sqrt(hn::GetLane(hn::SumOfLanes(d, squares)));
      scale = share / std::max(norm, 1e-12f);
    }
    for_each_vector(d, D, [&](const auto& get, const auto& put) HWY_ATTR {
      put(hn::Mul(get(static_cast<const float*>(head)), hn::Set(d, scale)), out + g * D);
    });
  }
}

void pool(ConstAnyMat x, size_t kv_heads, bool normalise, AnyMat out, std::span<float> sum) {
  const auto with_input = [&](auto typed) HWY_ATTR {
    if (out.dtype == DType::f32)
      pool_typed(typed, kv_heads, normalise, out.as<float>().row(0).data(), sum.data());
    else
      pool_typed(typed, kv_heads, normalise, out.as<bf16>().row(0).data(), sum.data());
  };
  if (x.dtype == DType::f32)
    with_input(x.as<float>());
  else
    with_input(x.as<bf16>());
}

}  // namespace msa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msa::cpu {
HWY_EXPORT(convert);
HWY_EXPORT(add);
HWY_EXPORT(pool);

void convert_rows(ConstAnyMat from, AnyMat to, Range range) {
  HWY_DYNAMIC_DISPATCH(convert)(from, to, range);
}

void embed_rows(std::span<const int32_t> tokens, ConstAnyMat table, MatView<float> x, Range range) {
  for (size_t t = range.begin; t < range.end; ++t)
    convert_rows(table.slice_rows(static_cast<size_t>(tokens[t]), 1), x.slice_rows(t, 1),
                 Range{0, 1});
}

void add_rows(MatView<const float> from, MatView<float> to, Range range) {
  HWY_DYNAMIC_DISPATCH(add)(from, to, range);
}

void pool_rows(ConstAnyMat x, size_t kv_heads, bool normalise, AnyMat out, std::span<float> sum) {
  HWY_DYNAMIC_DISPATCH(pool)(x, kv_heads, normalise, out, sum);
}

}  // namespace msa::cpu
#endif
