// The training loop proper: steps, checkpoints, log. What it trains and on what is given.
#pragma once

#include "train/loop/train.h"
#include "train/model/model.h"

namespace msa::train {

// As train() says, for a model that is there already and whose tokenizer has this fingerprint.
// Resuming overwrites the model's weights.
Result<TrainOutcome> run_training(Model& model, const Recipe& recipe, uint64_t tokenizer,
                                  const MakeBatcher& make_batcher, const TrainOptions& options,
                                  TrainObserver& observer);

}  // namespace msa::train
