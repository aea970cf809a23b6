// A plain Qwen3 checkpoint as one of Memory Sparse Attention: the same weights, and a router.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <stop_token>
#include <string>

#include "checkpoint/checkpoint.h"
#include "msa/result.h"

namespace msa {

struct Conversion {
  MsaConfig msa;             // router layers, chunk size, documents per layer
  bool copy_router = false;  // router projections begin as q_proj and k_proj of their layer; else
                             // as normal(0, 0.02)
  uint64_t seed = 0;         // of the random ones
  std::string note;          // of the config.json
  std::function<void(uint64_t done, uint64_t all)> progress;  // bytes of tensors written
  std::stop_token stop;                                       // then: `cancelled`
};

// Writes config.json and model.safetensors into `folder`, which is there and holds neither, from
// `source`, which Checkpoint::open_qwen3() opened. Every tensor keeps its dtype; those of a router
// have that of the projection they stand beside. Weights are checked (no NaN, no infinity) and
// stream through: neither model is ever in memory. On failure what was written is removed.
Result<void> convert_qwen3(const Checkpoint& source, const std::filesystem::path& folder,
                           const Conversion& conversion);

}  // namespace msa
