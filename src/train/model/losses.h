// The two losses of training: of the next token, and of the router.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "train/model/model.h"
#include "train/model/plan.h"

namespace msa::train {

struct TokenLoss {
  torch::Tensor total;    // scalar float32, sum of weight * cross-entropy; differentiable
  torch::Tensor each;     // [n] float32, cross-entropy of every row, not weighted
  torch::Tensor correct;  // [n] bool, whether the label is what would be written: the likeliest
                          // token, of several the first
};
// x [n, d] compute type, head [vocabulary, d] float32, labels [n] int64, weights [n] float32. The
// logits exist for a block of rows at a time only: their gradient is made on the way.
TokenLoss token_loss(const torch::Tensor& x, const torch::Tensor& head, const torch::Tensor& labels,
                     const torch::Tensor& weights);

// The auxiliary loss of one layer's scores [R, N + U], the last U columns those of chunks of
// earlier steps: mean over the queries that have relevant documents of the mean over those.
// Undefined if no query has any. Temperature as given. BCE: the mean over the query's documents of
// -log sigmoid(s) or, of those not relevant, -log sigmoid(-s). hard [R, U]: whether the chunk
// counts, as one that is not relevant; U = 0: empty.
torch::Tensor routing_loss(const torch::Tensor& scores, const StepPlan& plan, AuxLoss kind,
                           double temperature, const std::vector<uint8_t>& hard = {});

}  // namespace msa::train
