// A model folder from a checkpoint of a training run.
#pragma once

#include <filesystem>

#include "base/mat_view.h"
#include "msa/result.h"

namespace msa::train {

// Writes the weights of `checkpoint` (out/state/step-…) as a folder that the engine opens, in F32
// or BF16. `tokenizer_file` must be the one the run was trained with.
Result<void> export_checkpoint(const std::filesystem::path& checkpoint,
                               const std::filesystem::path& tokenizer_file,
                               const std::filesystem::path& folder, DType dtype);

}  // namespace msa::train
