// The activation between the two products of a feed-forward block.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "train_kernels/swiglu.cc"
#include <hwy/foreach_target.h>
// The line above must come first.
#include <hwy/contrib/math/math-inl.h>

#include <cassert>

#include "train_kernels/parallel.h"
#include "train_kernels/rows.h"
#include "train_kernels/vector_io-inl.h"

HWY_BEFORE_NAMESPACE();
namespace msa::train_kernels::HWY_NAMESPACE {

HWY_INLINE V16 sigmoid(V16 x) {
  const D16 d;
  const auto one = hn::Set(d, 1.0f);
  return hn::Div(one, hn::Add(one, hn::Exp(d, hn::Neg(x))));
}

template <class T>
void swiglu_typed(MatView<const T> gate_up, MatView<T> y, Range range) {
  for (size_t r = range.begin; r < range.end; ++r) {
    const T* HWY_RESTRICT gate = gate_up.row(r).data();
    const T* HWY_RESTRICT up = gate + y.cols;
    T* HWY_RESTRICT out = y.row(r).data();
    for_each_vector(D16(), y.cols, [&](const auto& get, const auto& put) HWY_ATTR {
      const auto g = get(gate);
      put(hn::Mul(hn::Mul(g, sigmoid(g)), get(up)), out);
    });
  }
}

// With s = sigmoid(g): d silu(g) / dg = s (1 + g (1 - s)) = s + silu(g) (1 - s).
template <class T>
void swiglu_backward_typed(MatView<const T> gate_up, MatView<const T> grad_y,
                           MatView<T> grad_gate_up, Range range) {
  const D16 d;
  const auto one = hn::Set(d, 1.0f);
  for (size_t r = range.begin; r < range.end; ++r) {
    const T* HWY_RESTRICT gate = gate_up.row(r).data();
    const T* HWY_RESTRICT up = gate + grad_y.cols;
    const T* HWY_RESTRICT dy = grad_y.row(r).data();
    T* HWY_RESTRICT grad_gate = grad_gate_up.row(r).data();
    T* HWY_RESTRICT grad_up = grad_gate + grad_y.cols;
    for_each_vector(d, grad_y.cols, [&](const auto& get, const auto& put) HWY_ATTR {
      const auto g = get(gate), out = get(dy), s = sigmoid(g), silu = hn::Mul(g, s);
      put(hn::Mul(out, silu), grad_up);
      put(hn::Mul(hn::Mul(out, get(up)), hn::MulAdd(silu, hn::Sub(one, s), s)), grad_gate);
    });
  }
}

void swiglu_forward(ConstAnyMat gate_up, AnyMat y, Range range) {
  if (y.dtype == DType::f32)
    swiglu_typed(gate_up.as<float>(), y.as<float>(), range);
  else
    swiglu_typed(gate_up.as<bf16>(), y.as<bf16>(), range);
}

void swiglu_backward(ConstAnyMat gate_up, ConstAnyMat grad_y, AnyMat grad_gate_up, Range range) {
  if (grad_y.dtype == DType::f32)
    swiglu_backward_typed(gate_up.as<float>(), grad_y.as<float>(), grad_gate_up.as<float>(), range);
  else
    swiglu_backward_typed(gate_up.as<bf16>(), grad_y.as<bf16>(), grad_gate_up.as<bf16>(), range);
}

}  // namespace msa::train_kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msa::train_kernels {
HWY_EXPORT(swiglu_forward);
HWY_EXPORT(swiglu_backward);

void swiglu(int threads, ConstAnyMat gate_up, AnyMat y) {
  assert(gate_up.rows == y.rows && gate_up.cols == 2 * y.cols && gate_up.dtype == y.dtype);
  parallel_rows(threads, y.rows, y.cols, [&](Range range) {
    HWY_DYNAMIC_DISPATCH(swiglu_forward)(gate_up, y, range);
  });
}

void swiglu_backward(int threads, ConstAnyMat gate_up, ConstAnyMat grad_y, AnyMat grad_gate_up) {
  assert(gate_up.rows == grad_y.rows && gate_up.cols == 2 * grad_y.cols);
  assert(grad_gate_up.rows == gate_up.rows && grad_gate_up.cols == gate_up.cols);
  assert(gate_up.dtype == grad_y.dtype && grad_gate_up.dtype == grad_y.dtype);
  parallel_rows(threads, grad_y.rows, grad_y.cols, [&](Range range) {
    HWY_DYNAMIC_DISPATCH(swiglu_backward)(gate_up, grad_y, grad_gate_up, range);
  });
}

}  // namespace msa::train_kernels
#endif
