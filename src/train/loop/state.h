// What a run keeps on disk to go on from: one folder per checkpoint, complete or not there.
//
//   state/step-000001200/state.json           counters, the batches' position, the recipe so far
//   state/step-000001200/tensors.safetensors  weights and the optimizer's moments, float32
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "msa/result.h"

namespace msa::train {

struct RunState {
  uint64_t step = 0;     // steps done, all phases, skipped ones included
  uint64_t updates = 0;  // of the weights
  uint64_t tokens = 0;
  uint64_t phase = 0, phase_step = 0, phase_tokens = 0;
  uint64_t negatives = 0;                      // room for so many chunks of earlier steps
  uint64_t skipped = 0, skipped_in_a_row = 0;  // steps whose loss or gradient was not finite
  uint64_t samples = 0, samples_skipped = 0;   // that were in batches; that were too long for one
  double seconds = 0;
  std::string batcher;  // Batcher::state(); empty at the start of a phase

  std::string model_config;  // the model's config.json
  uint64_t tokenizer = 0;    // its fingerprint
  std::string recipe;        // Recipe::text
  // Phase::text of the phases that are over, and of `phase` where it has done a step.
  std::vector<std::string> phase_recipes;
};

// A tensor as plain memory, owned by someone else.
struct StateTensor {
  std::string name;
  std::vector<size_t> shape;
  std::span<float> values;
};

// Writes a checkpoint into `folder` (out/state) and then removes all but the newest two. It is
// written beside and renamed, so that a crash, a kill or a full disk leaves the older ones whole.
Result<void> save_state(const std::filesystem::path& folder, const RunState& state,
                        std::span<const StateTensor> tensors);

// The newest checkpoint in `folder`, if there is one.
std::optional<std::filesystem::path> newest_state(const std::filesystem::path& folder);

// Reads one checkpoint's counters. That they fit each other is checked, and not whether they fit a
// recipe.
Result<RunState> read_state(const std::filesystem::path& checkpoint);
// Fills `tensors` from it; names and shapes must be exactly those, and the checksum right.
Result<void> read_state_tensors(const std::filesystem::path& checkpoint,
                                std::span<const StateTensor> tensors);

}  // namespace msa::train
