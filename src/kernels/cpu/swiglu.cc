#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/swiglu.cc"
#include <hwy/foreach_target.h>
// The line above must come first.
#include <hwy/contrib/math/math-inl.h>

#include "kernels/cpu/rows.h"
#include "kernels/cpu/vector_io-inl.h"

HWY_BEFORE_NAMESPACE();
namespace msa::cpu::HWY_NAMESPACE {

template <class T>
void swiglu_typed(MatView<const T> gate_up, MatView<T> y, Range range) {
  const hn::ScalableTag<float> d;
  const auto one = hn::Set(d, 1.0f);
  for (size_t r = range.begin; r < range.end; ++r) {
    const T* HWY_RESTRICT gate = gate_up.row(r).data();
    const T* HWY_RESTRICT up = gate + y.cols;
    T* HWY_RESTRICT out = y.row(r).data();
    for_each_vector(d, y.cols, [&](const auto& get, const auto& put) HWY_ATTR {
      const auto g = get(gate);
      const auto silu = hn::Div(g, hn::Add(one, hn::Exp(d, hn::Neg(g))));
      put(hn::Mul(silu, get(up)), out);
    });
  }
}

void swiglu(ConstAnyMat gate_up, AnyMat y, Range range) {
  if (y.dtype == DType::f32)
    swiglu_typed(gate_up.as<float>(), y.as<float>(), range);
  else
    swiglu_typed(gate_up.as<bf16>(), y.as<bf16>(), range);
}

}  // namespace msa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msa::cpu {
HWY_EXPORT(swiglu);

void swiglu_rows(ConstAnyMat gate_up, AnyMat y, Range range) {
  HWY_DYNAMIC_DISPATCH(swiglu)(gate_up, y, range);
}

}  // namespace msa::cpu
#endif
