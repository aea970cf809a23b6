#include "train/ops/composed.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace msa::train::composed {
namespace {

using torch::Tensor;

// The type of the arithmetic on `x`.
torch::Dtype wide_type(const Tensor& x) {
  return x.scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
}

Tensor wide(const Tensor& x) {
  return x.to(wide_type(x));
}

Tensor rms_scaled(const Tensor& x, double eps) {
  return x * torch::rsqrt(x.square().mean(-1, /*keepdim=*/true) + eps);
}

// A host array as a tensor on `device`.
template <class T>
Tensor on_device(const std::vector<T>& values, torch::Dtype dtype, torch::Device device) {
  return torch::tensor(at::ArrayRef<T>(values), torch::dtype(dtype)).to(device);
}

// Segments that are computed together, padded to the longest.
struct Bucket {
  std::vector<size_t> segments;
  int64_t queries = 0, keys = 0;  // of the longest
};

// The extents of one segment.
struct Extent {
  int64_t queries = 0, context = 0;  // own tokens; prefix and chunks before them
  int64_t keys() const { return context + queries; }
};

// Neighbours in the order of length share a bucket while padding wastes less than half, and while
// the scores of one bucket stay of a bounded size.
std::vector<Bucket> make_buckets(const std::vector<Extent>& extents) {
  constexpr int64_t kScores = int64_t{1} << 24;
  std::vector<size_t> order;
  for (size_t s = 0; s < extents.size(); ++s)
    if (extents[s].queries > 0) order.push_back(s);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return extents[a].queries != extents[b].queries ? extents[a].queries < extents[b].queries
                                                    : extents[a].context < extents[b].context;
  });
  std::vector<Bucket> buckets;
  int64_t needed = 0;  // scores of the open bucket without padding
  for (const size_t s : order) {
    const Extent& extent = extents[s];
    const int64_t own = extent.queries * extent.keys();
    bool fits = !buckets.empty();
    if (fits) {
      const Bucket& open = buckets.back();
      const auto count = static_cast<int64_t>(open.segments.size()) + 1;
      const int64_t padded =
          count * std::max(open.queries, extent.queries) * std::max(open.keys, extent.keys());
      fits = padded <= 2 * (needed + own) && padded <= kScores;
    }
    if (!fits) {
      buckets.emplace_back();
      needed = 0;
    }
    Bucket& bucket = buckets.back();
    bucket.segments.push_back(s);
    bucket.queries = std::max(bucket.queries, extent.queries);
    bucket.keys = std::max(bucket.keys, extent.keys());
    needed += own;
  }
  return buckets;
}

// Attention of one bucket. q_rows [S, Lq] and key_rows [S, Lk] are rows of `q` and of `keys` and
// `values`; key j of a segment is visible to query i where key_rank[j] <= i. [S, Lq, H, D].
Tensor bucket_attention(const Tensor& q, const Tensor& keys, const Tensor& values,
                        const Tensor& q_rows, const Tensor& key_rows, const Tensor& key_rank) {
  const int64_t S = q_rows.size(0), Lq = q_rows.size(1), Lk = key_rows.size(1);
  const int64_t H = q.size(1), G = keys.size(1), D = q.size(2), R = H / G;
  const auto gathered = [&](const Tensor& rows, const Tensor& indices) {
    return rows.index_select(0, indices.flatten());
  };
  // The query heads of a group share their keys, so they stand below each other: [S, G, R*Lq, D].
  const Tensor queries =
      gathered(q, q_rows).view({S, Lq, G, R, D}).permute({0, 2, 3, 1, 4}).reshape({S, G, -1, D});
  const Tensor k = gathered(keys, key_rows).view({S, Lk, G, D}).permute({0, 2, 3, 1});
  const Tensor v = gathered(values, key_rows).view({S, Lk, G, D}).transpose(1, 2);
  const Tensor scores = torch::matmul(queries, k) / std::sqrt(static_cast<double>(D));
  const Tensor rank = torch::arange(Lq, key_rank.options()).view({1, Lq, 1});
  const Tensor hidden = (key_rank.unsqueeze(1) > rank).view({S, 1, 1, Lq, Lk});
  const Tensor weights = scores.view({S, G, R, Lq, Lk})
                             .masked_fill(hidden, -std::numeric_limits<double>::infinity())
                             .softmax(-1);
  return torch::matmul(weights.view({S, G, R * Lq, Lk}), v)
      .view({S, G, R, Lq, D})
      .permute({0, 3, 1, 2, 4})
      .reshape({S, Lq, H, D});
}

}  // namespace

NormOutput add_rms_norm(const Tensor& hidden, const Tensor& delta, const Tensor& weight, double eps,
                        torch::Dtype out) {
  const Tensor sum = delta.defined() ? hidden + delta.to(hidden.scalar_type()) : hidden;
  return {sum, (rms_scaled(sum, eps) * weight).to(out)};
}

Tensor head_norm_rotary(const Tensor& x, const Tensor& weight, double eps, const Tensor& positions,
                        double theta) {
  const int64_t half = x.size(2) / 2;
  const Tensor normed = rms_scaled(wide(x), eps) * weight;
  const auto options = torch::dtype(torch::kFloat64).device(x.device());
  const Tensor frequency =
      torch::pow(theta, torch::arange(half, options) / -static_cast<double>(half));
  const Tensor angle = (positions.to(torch::kFloat64).unsqueeze(1) * frequency).unsqueeze(1);
  const Tensor cosine = angle.cos().to(normed.scalar_type());
  const Tensor sine = angle.sin().to(normed.scalar_type());
  const Tensor first = normed.slice(2, 0, half), second = normed.slice(2, half);
  return torch::cat({first * cosine - second * sine, second * cosine + first * sine}, 2)
      .to(x.scalar_type());
}

Tensor swiglu(const Tensor& gate_up) {
  const std::vector<Tensor> halves = wide(gate_up).chunk(2, -1);
  return (torch::silu(halves[0]) * halves[1]).to(gate_up.scalar_type());
}

Tensor pool_rows(const Tensor& x, const std::vector<int32_t>& runs) {
  const size_t count = runs.empty() ? 0 : runs.size() - 1;
  const auto options = torch::dtype(wide_type(x)).device(x.device());
  Tensor sums = torch::zeros({static_cast<int64_t>(count), x.size(1), x.size(2)}, options);
  if (count == 0) return sums;
  std::vector<int64_t> run_of_row;
  std::vector<float> share;
  for (size_t c = 0; c < count; ++c) {
    const int32_t length = runs[c + 1] - runs[c];
    run_of_row.insert(run_of_row.end(), static_cast<size_t>(length), static_cast<int64_t>(c));
    share.push_back(static_cast<float>(std::max(length, 1)));
  }
  const Tensor rows = wide(x.slice(0, runs.front(), runs.back()));
  sums = sums.index_add(0, on_device(run_of_row, torch::kInt64, x.device()), rows);
  return sums / on_device(share, wide_type(x), x.device()).view({-1, 1, 1});
}

Tensor segment_attention(const Tensor& q, const Tensor& k, const Tensor& v, const SegmentKv& extra,
                         const SegmentLayout& layout) {
  const size_t segments = layout.sees_prefix.size();
  // All keys below each other: prefix, chunks, tokens.
  const int64_t prefix = extra.prefix_k.defined() ? extra.prefix_k.size(0) : 0;
  const int64_t chunks = extra.chunk_k.defined() ? extra.chunk_k.size(0) : 0;
  const auto stacked = [](const Tensor& first, const Tensor& second, const Tensor& third) {
    std::vector<Tensor> parts;
    for (const Tensor& part : {first, second, third})
      if (part.defined()) parts.push_back(wide(part));
    return torch::cat(parts, 0);
  };
  const Tensor keys = stacked(extra.prefix_k, extra.chunk_k, k);
  const Tensor values = stacked(extra.prefix_v, extra.chunk_v, v);
  const Tensor queries = wide(q);

  std::vector<Extent> extents(segments);
  for (size_t s = 0; s < segments; ++s)
    extents[s] = {
        layout.starts[s + 1] - layout.starts[s],
        (layout.sees_prefix[s] ? prefix : 0) + layout.chunk_starts[s + 1] - layout.chunk_starts[s]};

  std::vector<Tensor> outputs;
  std::vector<int64_t> place(static_cast<size_t>(q.size(0)), 0);  // of each row among the outputs
  int64_t written = 0;
  for (const Bucket& bucket : make_buckets(extents)) {
    const auto count = static_cast<int64_t>(bucket.segments.size());
    std::vector<int64_t> q_rows, key_rows, key_rank;
    q_rows.reserve(static_cast<size_t>(count * bucket.queries));
    key_rows.reserve(static_cast<size_t>(count * bucket.keys));
    key_rank.reserve(static_cast<size_t>(count * bucket.keys));
    for (const size_t s : bucket.segments) {
      const int64_t first = layout.starts[s];
      for (int64_t i = 0; i < bucket.queries; ++i) {
        const bool real = i < extents[s].queries;
        q_rows.push_back(real ? first + i : first);
        if (real) place[static_cast<size_t>(first + i)] = written + i;
      }
      written += bucket.queries;
      const size_t end = key_rows.size() + static_cast<size_t>(bucket.keys);
      if (layout.sees_prefix[s])
        for (int64_t p = 0; p < prefix; ++p) key_rows.push_back(p);
      for (int32_t c = layout.chunk_starts[s]; c < layout.chunk_starts[s + 1]; ++c)
        key_rows.push_back(prefix + layout.chunks[static_cast<size_t>(c)]);
      key_rank.resize(key_rows.size(), -1);  // everyone sees these
      for (int64_t i = 0; i < extents[s].queries; ++i) {
        key_rows.push_back(prefix + chunks + first + i);
        key_rank.push_back(i);
      }
      key_rows.resize(end, prefix + chunks + first);
      key_rank.resize(end, std::numeric_limits<int64_t>::max());  // padding: nobody
    }
    const auto matrix = [&](const std::vector<int64_t>& values_of, int64_t columns) {
      return on_device(values_of, torch::kInt64, q.device()).view({count, columns});
    };
    outputs.push_back(bucket_attention(queries, keys, values, matrix(q_rows, bucket.queries),
                                       matrix(key_rows, bucket.keys), matrix(key_rank, bucket.keys))
                          .flatten(0, 1));
  }
  if (outputs.empty()) return torch::zeros_like(q);
  return torch::cat(outputs, 0)
      .index_select(0, on_device(place, torch::kInt64, q.device()))
      .to(q.scalar_type());
}

}  // namespace msa::train::composed
