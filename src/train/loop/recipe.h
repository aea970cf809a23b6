// A recipe: one JSON file that says what is trained, on what, and how (docs/training.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/mat_view.h"
#include "checkpoint/config.h"
#include "msa/result.h"
#include "samples/batch.h"

namespace msa::train {

// One source of samples: a maker by its name, or a file of JSON Lines.
struct DataEntry {
  std::string task;            // empty: `file`
  std::filesystem::path file;  // empty: `task`
  bool test = false;           // the maker's test split
  uint64_t seed = 0;
  std::map<std::string, std::string> settings;  // of the maker
  double weight = 1;                            // share of the samples, relative to its neighbours
  std::optional<double> reading_share;          // instead of the batch's, for its samples
};

enum class ScheduleKind { constant, linear, cosine };

// The learning rate rises for `warmup_steps` and then falls from the peak to `final_share` of it,
// which it reaches at the end of the phase.
struct Schedule {
  ScheduleKind kind = ScheduleKind::cosine;
  uint64_t warmup_steps = 0;
  double final_share = 0.1;
};

enum class OptimizerKind { adamw, muon };

struct Phase {
  std::string name;
  std::vector<size_t> insert_layers;  // Model::insert_layers() before the first step
  std::vector<size_t> router_layers;  // then Model::keep_routers(); none: those of before
  size_t chunk_size = 0;              // then Model::pool_by(); 0: as before
  uint64_t steps = 0, tokens = 0;     // how long: one of the two is not 0
  double learning_rate = 0;           // the peak
  double start_rate = 0;              // where the warm-up starts
  Schedule schedule;
  OptimizerKind optimizer = OptimizerKind::adamw;
  double head_norm_rate = 1;  // of the gains of q_norm and k_norm, in learning rates
  double embedding_rate = 1;  // of the token embeddings, likewise
  double lm_weight = 1, aux_weight = 1;
  std::string aux_loss = "INFONCE";  // a name that parse_aux_loss() knows
  double include_positives = 0;      // share of steps that do
  std::vector<size_t> top_k = {16};  // one is drawn per step
  size_t negatives = 0;              // chunks of earlier steps that questions are compared with too
  size_t accumulate = 1;             // batches per step
  bool checkpoint_activations = false;
  BatchOptions batch;
  std::vector<DataEntry> data;
  std::string text;  // all of the above as the recipe gives it, canonical JSON
};

struct OptimizerOptions {
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8;
  double weight_decay = 0.05;  // of matrices; vectors (norms) are not decayed
  double clip = 1;             // global norm of the gradients; 0: any
};

struct EvaluationPlan {
  uint64_t every = 0;  // steps; 0: never
  uint64_t batches = 8;
  size_t top_k = 16;
  BatchOptions batch;
  std::vector<DataEntry> data;
  uint64_t seed = 0;
};

struct Recipe {
  std::filesystem::path file;
  std::string note;

  std::filesystem::path init;        // a checkpoint folder; empty: new weights of `shape`
  std::optional<ModelConfig> shape;  // vocabulary 0: the tokenizer's
  std::filesystem::path tokenizer, data_folder;
  uint64_t seed = 1;
  DType compute = DType::bf16, save = DType::bf16;
  OptimizerOptions optimizer;
  uint64_t checkpoint_steps = 0;   // 0: not by steps
  double checkpoint_minutes = 10;  // 0: not by time
  uint64_t log_every = 10;         // steps
  std::optional<EvaluationPlan> evaluation;
  std::vector<Phase> phases;  // at least one

  std::string text;  // what every phase depends on (model, seed, optimizer), canonical JSON
};

// Whether a run that is in the middle of phase `before` may go on with phase `after` (Phase::text):
// they are the same, or differ in length alone where the learning rate does not depend on it.
bool may_go_on(const std::string& before, const std::string& after);

// Reads a recipe strictly: an unknown key, a wrong type or a number out of range is an error that
// names the file and the key's path ("phases[1].batch.tokens"). Paths in it are relative to the
// folder of the recipe.
Result<Recipe> read_recipe(const std::filesystem::path& file);
// The same from text; `file` is for messages and relative paths.
Result<Recipe> parse_recipe(std::string_view text, const std::filesystem::path& file);

}  // namespace msa::train
