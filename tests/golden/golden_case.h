// One golden folder: a small checkpoint and the numbers the published reference computed with it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/safetensors.h"
#include "msa/result.h"

namespace msa {

// Inputs are token ids; expected values stay in the mapped file.
struct GoldenCase {
  std::shared_ptr<const Checkpoint> checkpoint;
  SafetensorsFile expected;
  std::vector<int32_t> prefix;
  std::vector<std::vector<int32_t>> documents;
  std::vector<std::vector<int32_t>> queries;  // routing tokens
  std::vector<int32_t> tail;                  // follow each query, do not route

  // Reads `folder` (config.json, model.safetensors, expected.safetensors); errors name the tensor.
  static Result<GoldenCase> open(const std::filesystem::path& folder);

  // Whether the folder has this tensor.
  bool has(const std::string& name) const;
  // Its values as float32 or int64, whatever the shape.
  Result<std::vector<float>> floats(const std::string& name) const;
  Result<std::vector<int64_t>> integers(const std::string& name) const;
};

}  // namespace msa
