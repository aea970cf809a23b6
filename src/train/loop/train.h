// Training a model by a recipe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "msa/result.h"
#include "samples/batch.h"
#include "text/tokenizer.h"
#include "train/loop/log.h"
#include "train/loop/recipe.h"

namespace msa::train {

// Makes the batches of a phase or an evaluation. `seed` orders and mixes the samples.
using MakeBatcher = std::function<Result<std::unique_ptr<Batcher>>(
    const std::vector<DataEntry>& data, const BatchOptions& options, uint64_t seed)>;

struct TrainOptions {
  std::filesystem::path out;   // log.jsonl, state/ and model/ are written there
  bool resume = false;         // go on from the newest checkpoint in `out`, if there is one
  int threads = 0;             // 0: one per available core
  std::string device = "cpu";  // or "cuda", "cuda:1"
  std::filesystem::path init;  // weights to start from, instead of the recipe's
  std::function<bool()> stop;  // asked after every step: whether to save and leave
};

// After each step.
struct TrainProgress {
  std::string_view phase;
  uint64_t step = 0;
  double done = 0;  // share of the whole run, 0 to 1
  double seconds_left = 0;
  double tokens_per_second = 0;                    // lately
  double loss = 0, aux_loss = 0, recall_at_1 = 0;  // lately
};

// What is told while it goes on, from the calling thread.
class TrainObserver {
 public:
  virtual ~TrainObserver() = default;
  virtual void progress(const TrainProgress&) {}
  virtual void logged(const LogRecord&) {}
  virtual void message(std::string_view) {}  // one line
  virtual void warning(std::string_view) {}  // one line
};

struct TrainOutcome {
  bool stopped = false;  // by options.stop; else the recipe is done
  uint64_t steps = 0, tokens = 0, skipped_steps = 0;
  double seconds = 0;
  std::filesystem::path model;  // the folder that the engine opens
};

// Trains until the recipe is done or a stop is asked for. Errors leave the last checkpoint intact.
// `out` is locked while this runs: a second run into it is a `busy` error.
Result<TrainOutcome> train(const Recipe& recipe, const MakeBatcher& make_batcher,
                           const TrainOptions& options, TrainObserver& observer);

}  // namespace msa::train
