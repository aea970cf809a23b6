// The tensors of a model, its optimizer and its kept negatives as what a checkpoint stores.
#pragma once

#include <vector>

#include "train/loop/optimizer.h"
#include "train/loop/state.h"
#include "train/model/router_memory.h"

namespace msa::train {

// Weights and moments of every parameter in host memory: the tensors' own where they are there,
// else copies.
class Snapshot {
 public:
  // negatives: null where the running phase keeps none.
  Snapshot(const Optimizer& optimizer, const RouterMemory* negatives);
  const std::vector<StateTensor>& tensors() const { return tensors_; }
  // Writes the snapshot's values, which a caller may have overwritten, back into what it was taken
  // of, and so into the model.
  void put_back() const;

 private:
  std::vector<torch::Tensor> from_, host_;
  std::vector<StateTensor> tensors_;
};

}  // namespace msa::train
