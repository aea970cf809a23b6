#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/ref/reference.h"

namespace msa::ref {

void context_attention(ConstAnyMat q, ConstAnyMat k, ConstAnyMat v, size_t kv_heads,
                       size_t head_dim, AnyMat out) {
  const size_t D = head_dim, heads = q.cols / D, group = heads / kv_heads;
  assert(q.cols == heads * D && k.cols == kv_heads * D && v.cols == k.cols);
  assert(heads == group * kv_heads && k.rows == v.rows && k.rows >= q.rows);
  assert(out.rows == q.rows && out.cols == q.cols);
  std::vector<double> weights, mean(D);
  for (size_t t = 0; t < q.rows; ++t)
    for (size_t h = 0; h < heads; ++h) {
      const size_t seen = k.rows - q.rows + t + 1, kv = h / group * D;

      weights.assign(seen, 0);
      double highest = -std::numeric_limits<double>::infinity(), total = 0;
      for (size_t s = 0; s < seen; ++s) {
        for (size_t i = 0; i < D; ++i) weights[s] += get(q, t, h * D + i) * get(k, s, kv + i);
        weights[s] /= std::sqrt(static_cast<double>(D));
        highest = std::max(highest, weights[s]);
      }
      for (double& weight : weights) {
        weight = std::exp(weight - highest);
        total += weight;
      }

      std::fill(mean.begin(), mean.end(), 0);
      for (size_t s = 0; s < seen; ++s)
        for (size_t i = 0; i < D; ++i) mean[i] += weights[s] / total * get(v, s, kv + i);
      for (size_t i = 0; i < D; ++i) set(out, t, h * D + i, mean[i]);
    }
}

void document_attention(ConstAnyMat q, ConstAnyMat k, ConstAnyMat v,
                        std::span<const uint32_t> starts, size_t kv_heads, size_t head_dim,
                        AnyMat out) {
  for (size_t d = 0; d + 1 < starts.size(); ++d) {
    const size_t first = starts[d], length = starts[d + 1] - starts[d];
    context_attention(q.slice_rows(first, length), k.slice_rows(first, length),
                      v.slice_rows(first, length), kv_heads, head_dim,
                      out.slice_rows(first, length));
  }
}

}  // namespace msa::ref
