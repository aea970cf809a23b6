// Routing keys of earlier steps, kept as further negatives: the router learns to tell a document
// from thousands although a step has room for dozens (cross-batch memory: Wang et al. 2020,
// arXiv 1912.06798).
#pragma once

#include <torch/torch.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/config.h"

namespace msa::train {

class RouterMemory {
 public:
  // Room for `chunks` chunks, at least 1, of every router layer of a model of this shape.
  RouterMemory(const ModelConfig& config, size_t chunks, torch::Device device);

  // Of how many chunks there are keys.
  size_t size() const;
  // Routing keys of one router layer as they came, [size, G, D] float32, without gradient.
  torch::Tensor keys(size_t layer) const;
  // What the document of each chunk is about (Batch::doc_subject).
  std::vector<uint64_t> subjects() const;

  // Puts a step's chunks in, over the oldest where there is no room. subjects: of the C chunks;
  // keys: per router layer, ascending, [C, G, D] float32. Of more chunks than there is room for the
  // last ones are kept.
  void add(const std::vector<uint64_t>& subjects, const std::vector<torch::Tensor>& keys);

  // All of it, float32: what a checkpoint of the training must hold. The tensors are shared.
  const std::vector<std::pair<std::string, torch::Tensor>>& tensors() const { return tensors_; }

 private:
  std::vector<size_t> layers_;
  size_t capacity_;
  int64_t heads_, head_dim_;
  // "negatives.added" [1]: how many came, ever, modulo twice the capacity once it is full;
  // "negatives.subjects" [capacity, 2]: 24 bits each; "negatives.{layer}" [capacity, G * D].
  std::vector<std::pair<std::string, torch::Tensor>> tensors_;
};

}  // namespace msa::train
