// AdamW over a model's parameters.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "train/loop/recipe.h"

namespace msa::train {

class Optimizer {
 public:
  // Float32 leaves, on one device; the tensors are shared, not copied.
  Optimizer(const std::vector<std::pair<std::string, torch::Tensor>>& parameters,
            const OptimizerOptions& options);

  // Norm of all gradients together; not finite if one of them is not.
  double gradient_norm() const;
  // Applies the gradients, scaled down to the clipping norm where `norm` exceeds it. Parameters
  // without a gradient stay as they are.
  void update(double learning_rate, double norm);
  // Lets go of the gradients: the next backward pass starts new ones.
  void drop_gradients();

  uint64_t updates() const { return updates_; }
  void set_updates(uint64_t updates) { updates_ = updates; }

  struct Slot {
    std::string name;
    torch::Tensor values, mean, square;  // of the parameter's shape, float32
  };
  const std::vector<Slot>& slots() const { return slots_; }

 private:
  OptimizerOptions options_;
  std::vector<Slot> slots_;
  uint64_t updates_ = 0;
};

}  // namespace msa::train
