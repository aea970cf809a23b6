#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/fold.cc"
#include <hwy/foreach_target.h>
// The line above must come first.
#include "kernels/cpu/fold.h"
#include "kernels/cpu/vector_io-inl.h"

#include <algorithm>
#include <cmath>

HWY_BEFORE_NAMESPACE();
namespace msa::cpu::HWY_NAMESPACE {

// What one head of a query is multiplied by.
HWY_INLINE float head_factor(const RouteRule& rule, const float* HWY_RESTRICT head) {
  const size_t D = rule.head_dim;
  if (!rule.cosine) return 1.0f / std::sqrt(static_cast<float>(D));
  const hn::ScalableTag<float> d;
  auto squares = hn::Zero(d);
  for_each_vector(d, D, [&](const auto& get, const auto&) HWY_ATTR {
    const auto x = get(head);
    squares = hn::MulAdd(x, x, squares);
  });
  return 1.0f / std::max(std::sqrt(hn::GetLane(hn::SumOfLanes(d, squares))), 1e-12f);
}

void fold(const RouteRule& rule, MatView<const float> router_q, MatView<float> out) {
  const hn::ScalableTag<float> d;
  const size_t D = rule.head_dim, group = rule.query_heads / rule.kv_heads;
  const float share = 1.0f / static_cast<float>(rule.query_heads);
  for (size_t t = 0; t < router_q.rows; ++t) {
    std::fill(out.row(t).begin(), out.row(t).end(), 0.0f);
    for (size_t h = 0; h < rule.query_heads; ++h) {
      const float* HWY_RESTRICT head = router_q.row(t).data() + h * D;
      float* HWY_RESTRICT sum = out.row(t).data() + h / group * D;
      const auto factor = hn::Set(d, head_factor(rule, head) * share);
      for_each_vector(d, D, [&](const auto& get, const auto& put) HWY_ATTR {
        put(hn::MulAdd(get(head), factor, get(static_cast<const float*>(sum))), sum);
      });
    }
  }
}

void scale(const RouteRule& rule, MatView<const float> router_q, MatView<float> out) {
  const hn::ScalableTag<float> d;
  const size_t D = rule.head_dim;
  for (size_t t = 0; t < router_q.rows; ++t)
    for (size_t h = 0; h < rule.query_heads; ++h) {
      const float* HWY_RESTRICT head = router_q.row(t).data() + h * D;
      float* HWY_RESTRICT to = out.row(t).data() + h * D;
      const auto factor = hn::Set(d, head_factor(rule, head));
      for_each_vector(d, D, [&](const auto& get, const auto& put) HWY_ATTR {
        put(hn::Mul(get(head), factor), to);
      });
    }
}

}  // namespace msa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msa::cpu {
HWY_EXPORT(fold);
HWY_EXPORT(scale);

void fold_heads(const RouteRule& rule, MatView<const float> router_q, MatView<float> out) {
  HWY_DYNAMIC_DISPATCH(fold)(rule, router_q, out);
}
void scale_heads(const RouteRule& rule, MatView<const float> router_q, MatView<float> out) {
  HWY_DYNAMIC_DISPATCH(scale)(rule, router_q, out);
}

}  // namespace msa::cpu
#endif
