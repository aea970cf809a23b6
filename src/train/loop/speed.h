// How fast a model trains on this machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/mat_view.h"
#include "checkpoint/config.h"
#include "msa/result.h"

namespace msa::train {

struct SpeedOptions {
  size_t tokens = 8192;          // per step
  size_t document_tokens = 128;  // per document; three quarters of the tokens are documents'
  size_t top_k = 4;
  size_t steps = 5;  // measured, after one that is not
  bool checkpoint_activations = false;
  DType compute = DType::bf16;
  int threads = 0;
  std::string device = "cpu";
};

struct SpeedReport {
  uint64_t parameters = 0;
  uint64_t tokens = 0;  // of one step
  double seconds = 0;   // of one step, the fastest
  double mean_seconds = 0;
  double optimizer_seconds = 0;  // of it: norm and update
  // Floating-point operations of a step's matrix products with weights, forward and backward;
  // attention and what is computed twice to save memory are not counted.
  double product_operations = 0;
  // Operations per second of one large matrix product in the same type, measured in this run.
  double product_rate = 0;
  uint64_t peak_bytes = 0;  // of host memory, whole process

  double tokens_per_second() const { return static_cast<double>(tokens) / seconds; }
  double product_share() const { return product_operations / seconds / product_rate; }
};

// Trains a new model of `config` on random tokens for a few steps.
Result<SpeedReport> measure_speed(const ModelConfig& config, const SpeedOptions& options);

}  // namespace msa::train
