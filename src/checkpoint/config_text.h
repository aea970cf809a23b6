// The part of reading a config.json that needs no file.
#pragma once

#include <filesystem>
#include <string_view>

#include "checkpoint/config.h"
#include "msa/result.h"

namespace msa {

// read_config() of a text; `file` is for the messages.
Result<ModelConfig> parse_config(std::string_view text, const std::filesystem::path& file);
// The same of read_qwen3_config().
Result<ModelConfig> parse_qwen3_config(std::string_view text, const std::filesystem::path& file);

}  // namespace msa
