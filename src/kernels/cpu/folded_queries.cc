#include "kernels/cpu/folded_queries.h"

#include <cassert>

#include "kernels/cpu/fold.h"

namespace msa::cpu {

// Everything linear happens here, once, rather than for every chunk: the mean over heads and,
// unless a max over heads stands between, the mean over tokens.
void FoldedQueries::fold(const RouteRule& rule, MatView<const float> router_q) {
  assert(rule.kv_heads > 0 && rule.query_heads % rule.kv_heads == 0);
  assert(router_q.rows >= 1 && router_q.cols == rule.query_heads * rule.head_dim);
  if (rule.tokens == RouteRule::Tokens::last) router_q = router_q.slice_rows(router_q.rows - 1, 1);
  const bool mean_heads = rule.heads == RouteRule::Heads::mean;
  heads_ = mean_heads ? 1 : rule.query_heads;
  group_ = rule.query_heads / rule.kv_heads;
  head_width_ = mean_heads ? rule.kv_heads * rule.head_dim : rule.head_dim;
  count_ = router_q.rows;
  const size_t width = heads_ * head_width_;
  const MatView<float> folded(memory_.reserve<float>(count_ * width), count_, width);
  if (!mean_heads) return scale_heads(rule, router_q, folded);
  fold_heads(rule, router_q, folded);
  if (rule.tokens == RouteRule::Tokens::mean) {
    for (size_t t = 1; t < count_; ++t)
      for (size_t i = 0; i < width; ++i) folded.data[i] += folded.row(t)[i];
    for (size_t i = 0; i < width; ++i) folded.data[i] /= static_cast<float>(count_);
    count_ = 1;
  }
}

}  // namespace msa::cpu
