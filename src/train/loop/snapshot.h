// A model's and an optimizer's tensors as what a checkpoint stores.
#pragma once

#include <vector>

#include "train/loop/optimizer.h"
#include "train/loop/state.h"

namespace msa::train {

// Weights and moments of every parameter in host memory: the tensors' own where they are there,
// else copies.
class Snapshot {
 public:
  explicit Snapshot(const Optimizer& optimizer);
  const std::vector<StateTensor>& tensors() const { return tensors_; }
  // Writes the snapshot's values, which a caller may have overwritten, back into the optimizer it
  // was taken of, and so into its model.
  void put_back(const Optimizer& optimizer) const;

 private:
  std::vector<torch::Tensor> host_;
  std::vector<StateTensor> tensors_;
};

}  // namespace msa::train
