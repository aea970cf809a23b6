// Writing a model as the Hugging Face folder that the engine opens.
#pragma once

#include <filesystem>
#include <string_view>

#include "base/mat_view.h"
#include "msa/result.h"
#include "train/model/weights.h"

namespace msa::train {

// As Model::save() says.
Result<void> save_checkpoint(const std::filesystem::path& folder,
                             const std::filesystem::path& tokenizer_file, const ModelConfig& config,
                             const Parameters& parameters, DType dtype, std::string_view note);

}  // namespace msa::train
