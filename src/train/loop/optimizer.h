// AdamW or Muon over a model's parameters.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "train/loop/recipe.h"

namespace msa::train {

struct UpdateRule {
  double learning_rate = 0;
  OptimizerKind kind = OptimizerKind::adamw;
  double head_norm_rate = 1;  // of the gains of q_norm and k_norm, in learning rates
  double embedding_rate = 1;  // of the token embeddings, likewise
};

class Optimizer {
 public:
  // Float32 leaves, on one device; the tensors are shared, not copied.
  Optimizer(const std::vector<std::pair<std::string, torch::Tensor>>& parameters,
            const OptimizerOptions& options);

  // The model has other parameters from here on. Tensors that were among them keep their moments;
  // new ones begin with moments of zero, so that their first updates are somewhat smaller.
  void follow(const std::vector<std::pair<std::string, torch::Tensor>>& parameters);

  // Norm of all gradients together; not finite if one of them is not.
  double gradient_norm() const;
  // Applies the gradients, scaled down to the clipping norm where `norm` exceeds it. Parameters
  // without a gradient stay as they are. Muon is for the layers' matrices; vectors, embeddings and
  // the output matrix go with AdamW then too. The two share the running mean of the gradients, and
  // that of their squares is kept up for AdamW, so that one can follow the other.
  void update(const UpdateRule& rule, double norm);
  // Lets go of the gradients: the next backward pass starts new ones.
  void drop_gradients();

  uint64_t updates() const { return updates_; }
  void set_updates(uint64_t updates) { updates_ = updates; }

  struct Slot {
    std::string name;
    torch::Tensor values, mean, square;  // of the parameter's shape, float32
    bool layer_matrix = false;           // what Muon is for
    bool head_norm = false;              // the gains of q_norm or k_norm
    bool embedding = false;              // of tokens; where it is tied, the output matrix too
  };
  const std::vector<Slot>& slots() const { return slots_; }

 private:
  OptimizerOptions options_;
  std::vector<Slot> slots_;
  uint64_t updates_ = 0;
};

}  // namespace msa::train
