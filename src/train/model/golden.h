// The model held against numbers that the reference implementation computed (docs of the files:
// testdata/README.md).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "msa/result.h"

namespace msa::train {

struct GoldenReport {
  struct Line {
    std::string name;  // "fused INFONCE_DECOUPLE: gradient of model.norm.weight"
    // Largest difference, relative to the largest expected number; choices that differ count as 1.
    double error = 0;
  };
  double tolerance = 1e-4;
  std::vector<Line> lines;

  bool ok() const;
  const Line& worst() const;  // there is always one
};

// Losses and gradients of every method, logits, routed documents and their scores of one golden
// folder, in float32, with the fused and with the composed operations.
Result<GoldenReport> check_golden(const std::filesystem::path& folder);

}  // namespace msa::train
