#include "train/model/router.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <map>

namespace msa::train {
namespace {

using torch::Tensor;

Tensor rows_on(const std::vector<int64_t>& rows, torch::Device device) {
  return torch::tensor(at::ArrayRef<int64_t>(rows), torch::kInt64).to(device);
}

std::vector<int64_t> last_of_runs(const std::vector<int32_t>& runs) {
  std::vector<int64_t> rows;
  for (size_t i = 1; i < runs.size(); ++i) rows.push_back(runs[i] - 1);
  return rows;
}

// The largest row of each run, per column: [M, n] -> [R, n]. Runs of similar length are computed
// together, padded with their first row: a repeated row leaves the maximum as it is, and its share
// of the gradient goes to the same place.
Tensor run_maxima(const Tensor& x, const std::vector<int32_t>& runs) {
  std::map<size_t, std::vector<size_t>> by_length;  // padded length -> runs
  for (size_t i = 0; i + 1 < runs.size(); ++i)
    by_length[std::bit_ceil(static_cast<size_t>(runs[i + 1] - runs[i]))].push_back(i);
  std::vector<Tensor> maxima;
  std::vector<int64_t> place(runs.size() - 1);
  int64_t placed = 0;
  for (const auto& [length, members] : by_length) {
    std::vector<int64_t> rows;
    for (const size_t i : members) {
      for (size_t j = 0; j < length; ++j) {
        const int64_t row = runs[i] + static_cast<int64_t>(j);
        rows.push_back(row < runs[i + 1] ? row : runs[i]);
      }
      place[i] = placed++;
    }
    const auto count = static_cast<int64_t>(members.size());
    maxima.push_back(x.index_select(0, rows_on(rows, x.device()))
                         .view({count, static_cast<int64_t>(length), x.size(1)})
                         .amax(1));
  }
  return torch::cat(maxima, 0).index_select(0, rows_on(place, x.device()));
}

Tensor run_means(const Tensor& x, const std::vector<int32_t>& runs, OpsMode mode) {
  return pool_rows(x.unsqueeze(1), runs, mode).squeeze(1);
}

Tensor normalised(const Tensor& x) {
  return torch::nn::functional::normalize(
      x, torch::nn::functional::NormalizeFuncOptions().p(2).dim(-1).eps(1e-12));
}

// Scores of chunks, reduced over heads and routing tokens: [R, C].
Tensor chunk_scores(const Tensor& queries, const Tensor& keys, const StepPlan& plan,
                    const MsaConfig& config, bool cosine, OpsMode mode) {
  Tensor q = queries, k = keys;
  const int64_t H = q.size(1), D = q.size(2), G = k.size(1), C = k.size(0);
  std::vector<int32_t> runs = plan.routing_runs;
  if (config.query_reduce == QueryReduce::last) {
    q = q.index_select(0, rows_on(last_of_runs(runs), q.device()));
    for (size_t i = 0; i < runs.size(); ++i) runs[i] = static_cast<int32_t>(i);
  }
  const int64_t M = q.size(0);
  if (cosine) {
    q = normalised(q);
    k = normalised(k);
  } else {
    q = q / std::sqrt(static_cast<double>(D));
  }
  Tensor scores;  // [M, C]
  switch (config.head_reduce) {
    case HeadReduce::mean:
      // The mean over heads is linear: the query heads of a group are added first, and one product
      // of length G * D is left per pair.
      scores =
          torch::mm(q.view({M, G, H / G, D}).sum(2).view({M, G * D}), k.reshape({C, G * D}).t()) /
          static_cast<double>(H);
      break;
    case HeadReduce::max: {
      const Tensor by_group =
          q.view({M, G, H / G, D}).permute({1, 0, 2, 3}).reshape({G, M * (H / G), D});
      scores = torch::bmm(by_group, k.permute({1, 2, 0})).view({G, M, H / G, C}).amax({0, 2});
      break;
    }
  }
  switch (config.query_reduce) {
    case QueryReduce::max: scores = run_maxima(scores, runs); break;
    case QueryReduce::mean: scores = run_means(scores, runs, mode); break;
    case QueryReduce::last: break;
  }
  return scores;
}

}  // namespace

Tensor route_scores(const Tensor& queries, const Tensor& keys, const Tensor& others,
                    const StepPlan& plan, const MsaConfig& config, bool cosine, OpsMode mode) {
  const int64_t own = keys.size(0);
  const Tensor scores = chunk_scores(
      queries, others.defined() ? torch::cat({keys, others}, 0) : keys, plan, config, cosine, mode);
  const Tensor by_chunk = scores.slice(1, 0, own).t().contiguous();  // [own chunks, R]
  const Tensor by_document = config.chunk_reduce == ChunkReduce::max
                                 ? run_maxima(by_chunk, plan.doc_chunks)
                                 : run_means(by_chunk, plan.doc_chunks, mode);
  if (!others.defined()) return by_document.t().contiguous();
  return torch::cat({by_document.t(), scores.slice(1, own)}, 1);
}

HardNegatives hardest_negatives(const Tensor& queries, const Tensor& others,
                                const Tensor& unrelated, size_t most, const StepPlan& plan,
                                const MsaConfig& config, bool cosine, OpsMode mode) {
  const torch::NoGradGuard no_gradient;
  constexpr double kNever = -1e30;
  const Tensor scores = chunk_scores(queries.detach(), others, plan, config, cosine, mode)
                            .masked_fill(unrelated.logical_not(), kNever);
  const auto count = std::min(static_cast<int64_t>(most), others.size(0));
  const auto [values, places] = scores.topk(count, 1);
  // Where fewer may count than are wanted, the rest are none.
  const Tensor counts = values.gt(kNever / 2).to(torch::kCPU);
  const Tensor host = places.to(torch::kCPU);
  const auto* place = host.data_ptr<int64_t>();
  const bool* is_one = counts.data_ptr<bool>();
  const auto all = static_cast<size_t>(host.numel());
  std::map<int64_t, size_t> columns;
  for (size_t i = 0; i < all; ++i)
    if (is_one[i]) columns.emplace(place[i], 0);
  std::vector<int64_t> chunks;
  for (auto& [chunk, column] : columns) {
    column = chunks.size();
    chunks.push_back(chunk);
  }
  HardNegatives negatives{rows_on(chunks, others.device()), {}};
  negatives.hard.resize(plan.routed.size() * chunks.size());
  for (size_t i = 0; i < all; ++i)
    if (is_one[i])
      negatives.hard[i / static_cast<size_t>(count) * chunks.size() + columns.at(place[i])] = 1;
  return negatives;
}

Selection select_documents(const Tensor& scores, const StepPlan& plan, size_t top_k,
                           bool include_positives) {
  const Tensor host = scores.detach().to(torch::kCPU, torch::kFloat32).contiguous();
  const float* values = host.data_ptr<float>();
  const size_t documents = plan.documents();
  Selection selection;
  selection.ranking.resize(plan.routed.size());
  selection.ranking_scores.resize(plan.routed.size());
  selection.chosen.resize(plan.query_starts.size() - 1);
  for (size_t r = 0; r < plan.routed.size(); ++r) {
    const float* row = values + r * documents;
    const uint8_t* relevant = plan.is_relevant.data() + r * documents;
    const auto value = [&](int32_t n) {
      const float score = row[n];
      return std::isnan(score) ? -std::numeric_limits<float>::infinity() : score;
    };
    const auto better = [&](int32_t a, int32_t b) {
      return value(a) != value(b) ? value(a) > value(b) : a < b;
    };
    std::vector<int32_t>& ranking = selection.ranking[r];
    std::vector<int32_t> positives;
    for (size_t n = 0; n < documents; ++n) {
      if (!plan.sees[r * documents + n]) continue;
      ranking.push_back(static_cast<int32_t>(n));
      if (relevant[n]) positives.push_back(static_cast<int32_t>(n));
    }
    const size_t ranked = std::min(ranking.size(), std::max(top_k, Selection::kRanked));
    std::partial_sort(ranking.begin(), ranking.begin() + static_cast<ptrdiff_t>(ranked),
                      ranking.end(), better);
    ranking.resize(ranked);
    for (const int32_t n : ranking) selection.ranking_scores[r].push_back(row[n]);

    std::vector<int32_t>& chosen = selection.chosen[static_cast<size_t>(plan.routed[r])];
    if (include_positives) {
      std::sort(positives.begin(), positives.end(), better);
      chosen = std::move(positives);
    }
    for (const int32_t n : ranking)
      if (!include_positives || !relevant[n]) chosen.push_back(n);
    chosen.resize(std::min(top_k, chosen.size()));
    std::sort(chosen.begin(), chosen.end());
  }
  return selection;
}

}  // namespace msa::train
