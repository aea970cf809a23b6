// Which documents a query reads, and how sure the router is of it (spec of the scores: the paper's
// section 3.2; the same reductions as the engine's).
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "checkpoint/config.h"
#include "train/model/plan.h"

namespace msa::train {

// Scores of all documents for all routing queries, [R, N] float32, differentiable; also of those of
// other groups. R, N, M and C as in StepPlan.
//   queries [M, H, D] float32, of the routing tokens
//   keys    [C, G, D] float32, means over chunks
//   others  [U, G, D] float32 or undefined: keys of chunks that are no document's of the step;
//           their scores follow, one column each: [R, N + U]
// cosine: both are L2-normalised per head; otherwise scores are divided by sqrt(D).
torch::Tensor route_scores(const torch::Tensor& queries, const torch::Tensor& keys,
                           const torch::Tensor& others, const StepPlan& plan,
                           const MsaConfig& config, bool cosine, OpsMode mode);

// Of many chunks that are no document's of the step, those that come closest to being chosen. With
// all of them the loss would be about the many that nobody would choose.
struct HardNegatives {
  torch::Tensor chunks;       // [U] int64, ascending: each among the hardest of some query
  std::vector<uint8_t> hard;  // [R, U]: whether it is among the query's own
};
// queries as above, others [K, G, D]; unrelated [R, K] bool: whether the chunk may count; the
// `most` with the highest scores do.
HardNegatives hardest_negatives(const torch::Tensor& queries, const torch::Tensor& others,
                                const torch::Tensor& unrelated, size_t most, const StepPlan& plan,
                                const MsaConfig& config, bool cosine, OpsMode mode);

// The documents of one router layer.
struct Selection {
  static constexpr size_t kRanked = 5;
  // Per routing query (R): the best documents of its group, best first, top_k or kRanked of them,
  // whichever is more; equal scores: the lower number first. A score that is not a number comes
  // last.
  std::vector<std::vector<int32_t>> ranking;
  std::vector<std::vector<float>> ranking_scores;
  // Per query of the batch (Q): the documents it attends to, ascending, at most top_k.
  std::vector<std::vector<int32_t>> chosen;
};
// scores [R, N]. include_positives: relevant documents are chosen before all others (at most top_k
// of them, the best first).
Selection select_documents(const torch::Tensor& scores, const StepPlan& plan, size_t top_k,
                           bool include_positives);

}  // namespace msa::train
