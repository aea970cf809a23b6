// The layers of the model over the rows of one step (plan.h).
#pragma once

#include <torch/torch.h>

#include <memory>
#include <vector>

#include "checkpoint/config.h"
#include "train/model/model.h"
#include "train/model/plan.h"
#include "train/model/router.h"
#include "train/model/weights.h"

namespace msa::train {

struct RouterLayer {
  size_t layer = 0;
  torch::Tensor scores;       // [R, N], with U hard negatives [R, N + U]; float32, differentiable
  std::vector<uint8_t> hard;  // [R, U]: HardNegatives::hard
  torch::Tensor keys;         // [C, G, D] float32, the documents' routing keys, without gradient
  Selection selection;
};

struct ForwardOutput {
  // The residual stream after the last layer is hidden + delta. Rows of the context; also those of
  // the documents where these have something to predict.
  torch::Tensor hidden;              // [rows, d] float32
  torch::Tensor delta;               // [rows, d] compute type
  std::vector<RouterLayer> routers;  // of the layers where a query routes, ascending
};

// The plan is kept as long as the graph.
ForwardOutput forward(std::shared_ptr<const StepPlan> plan, const ModelConfig& config,
                      const StepWeights& weights, const StepOptions& options, torch::Device device);

}  // namespace msa::train
