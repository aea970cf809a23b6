// The residual stream: adding what a block produced, and the RMS norm that the next one reads.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "train_kernels/norm.cc"
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

// Calls body with a null pointer of the type that `dtype` names.
template <class Body>
HWY_INLINE void with_type(DType dtype, const Body& body) {
  if (dtype == DType::f32)
    body(static_cast<float*>(nullptr));
  else
    body(static_cast<bf16*>(nullptr));
}

HWY_INLINE float inverse_root(V16 squares, size_t n, float eps) {
  const float sum = hn::GetLane(hn::SumOfLanes(D16(), squares));
  return 1.0f / std::sqrt(sum / static_cast<float>(n) + eps);
}

template <class Delta, class Out>
HWY_INLINE void norm_typed(MatView<const float> hidden, MatView<const Delta> delta,
                           std::span<const float> weight, float eps, MatView<float> sum,
                           MatView<Out> normed, std::span<float> inverse_rms, Range range) {
  const D16 d;
  const size_t n = hidden.cols;
  for (size_t r = range.begin; r < range.end; ++r) {
    const float* HWY_RESTRICT in = hidden.row(r).data();
    const float* total = in;
    auto squares = hn::Zero(d);
    if (delta.data == nullptr) {
      for_each_vector(d, n, [&](const auto& get, const auto&) HWY_ATTR {
        const auto x = get(in);
        squares = hn::MulAdd(x, x, squares);
      });
    } else {
      const Delta* HWY_RESTRICT more = delta.row(r).data();
      float* HWY_RESTRICT to = sum.row(r).data();
      for_each_vector(d, n, [&](const auto& get, const auto& put) HWY_ATTR {
        const auto x = hn::Add(get(in), get(more));
        put(x, to);
        squares = hn::MulAdd(x, x, squares);
      });
      total = to;
    }
    inverse_rms[r] = inverse_root(squares, n, eps);
    const auto scale = hn::Set(d, inverse_rms[r]);
    Out* HWY_RESTRICT out = normed.row(r).data();
    for_each_vector(d, n, [&](const auto& get, const auto& put) HWY_ATTR {
      put(hn::Mul(hn::Mul(get(total), scale), get(weight.data())), out);
    });
  }
}

void norm_forward(MatView<const float> hidden, ConstAnyMat delta, std::span<const float> weight,
                  float eps, MatView<float> sum, AnyMat normed, std::span<float> inverse_rms,
                  Range range) {
  with_type(delta.dtype, [&](auto* of_delta) HWY_ATTR {
    with_type(normed.dtype, [&](auto* of_out) HWY_ATTR {
      using Delta = std::remove_pointer_t<decltype(of_delta)>;
      using Out = std::remove_pointer_t<decltype(of_out)>;
      norm_typed<Delta, Out>(hidden, delta.as<Delta>(), weight, eps, sum, normed.as<Out>(),
                             inverse_rms, range);
    });
  });
}

// With y = x r w and r = 1 / rms(x): dx = r w dy - x r^3 mean(x w dy), dw = sum of x r dy.
template <class Grad, class Delta>
HWY_INLINE void norm_backward_typed(MatView<const float> sum, std::span<const float> weight,
                                    std::span<const float> inverse_rms,
                                    MatView<const Grad> grad_normed, MatView<const float> grad_sum,
                                    MatView<float> grad_hidden, MatView<Delta> grad_delta,
                                    float* HWY_RESTRICT grad_weight, Range range) {
  const D16 d;
  const size_t n = sum.cols;
  const float* HWY_RESTRICT w = weight.data();
  for (size_t r = range.begin; r < range.end; ++r) {
    const float* HWY_RESTRICT x = sum.row(r).data();
    const Grad* HWY_RESTRICT dy = grad_normed.row(r).data();
    const float rms = inverse_rms[r];
    const auto scale = hn::Set(d, rms);
    auto dot = hn::Zero(d);
    for_each_vector(d, n, [&](const auto& get, const auto& put) HWY_ATTR {
      const auto product = hn::Mul(get(x), get(dy));
      dot = hn::MulAdd(product, get(w), dot);
      put(hn::MulAdd(product, scale, get(static_cast<const float*>(grad_weight))), grad_weight);
    });
    if (grad_hidden.data == nullptr && grad_delta.data == nullptr) continue;
    const float mean = hn::GetLane(hn::SumOfLanes(d, dot)) / static_cast<float>(n);
    const auto pull = hn::Set(d, rms * rms * rms * mean);
    const float* besides = grad_sum.data == nullptr ? nullptr : grad_sum.row(r).data();
    float* hidden = grad_hidden.data == nullptr ? nullptr : grad_hidden.row(r).data();
    Delta* delta = grad_delta.data == nullptr ? nullptr : grad_delta.row(r).data();
    for_each_vector(d, n, [&](const auto& get, const auto& put) HWY_ATTR {
      auto dx = hn::NegMulAdd(get(x), pull, hn::Mul(hn::Mul(get(dy), get(w)), scale));
      if (besides != nullptr) dx = hn::Add(dx, get(besides));
      if (hidden != nullptr) put(dx, hidden);
      if (delta != nullptr) put(dx, delta);
    });
  }
}

void norm_backward(MatView<const float> sum, std::span<const float> weight,
                   std::span<const float> inverse_rms, ConstAnyMat grad_normed,
                   MatView<const float> grad_sum, MatView<float> grad_hidden, AnyMat grad_delta,
                   float* grad_weight, Range range) {
  with_type(grad_normed.dtype, [&](auto* of_grad) HWY_ATTR {
    with_type(grad_delta.dtype, [&](auto* of_delta) HWY_ATTR {
      using Grad = std::remove_pointer_t<decltype(of_grad)>;
      using Delta = std::remove_pointer_t<decltype(of_delta)>;
      norm_backward_typed<Grad, Delta>(sum, weight, inverse_rms, grad_normed.as<Grad>(), grad_sum,
                                       grad_hidden, grad_delta.as<Delta>(), grad_weight, range);
    });
  });
}

}  // namespace msa::train_kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msa::train_kernels {
HWY_EXPORT(norm_forward);
HWY_EXPORT(norm_backward);

void add_rms_norm(int threads, MatView<const float> hidden, ConstAnyMat delta,
                  std::span<const float> weight, float eps, MatView<float> sum, AnyMat normed,
                  std::span<float> inverse_rms) {
  assert(weight.size() == hidden.cols && inverse_rms.size() == hidden.rows);
  assert(normed.rows == hidden.rows && normed.cols == hidden.cols);
  parallel_rows(threads, hidden.rows, hidden.cols, [&](Range range) {
    HWY_DYNAMIC_DISPATCH(norm_forward)(hidden, delta, weight, eps, sum, normed, inverse_rms, range);
  });
}

void add_rms_norm_backward(int threads, MatView<const float> sum, std::span<const float> weight,
                           std::span<const float> inverse_rms, ConstAnyMat grad_normed,
                           MatView<const float> grad_sum, const AddRmsNormGradients& gradients) {
  assert(weight.size() == sum.cols && inverse_rms.size() == sum.rows);
  assert(grad_normed.rows == sum.rows && grad_normed.cols == sum.cols);
  WeightSums sums(sum.rows, sum.cols);
  sums.for_each_part(threads, [&](Range range, float* grad_weight, float*) {
    HWY_DYNAMIC_DISPATCH(norm_backward)
    (sum, weight, inverse_rms, grad_normed, grad_sum, gradients.hidden, gradients.delta,
     grad_weight, range);
  });
  sums.write(gradients.weight);
}

}  // namespace msa::train_kernels
#endif
