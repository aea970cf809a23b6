// The model's parameters, and the copies of them that one step computes with.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "checkpoint/config.h"
#include "msa/result.h"

namespace msa::train {

// Float32 leaves that require gradients, by their names in a checkpoint. Symbols as in ops.h.
class Parameters {
 public:
  static Result<Parameters> random(const ModelConfig& config, uint64_t seed);
  // The weights of a checkpoint folder, and its config.
  static Result<std::pair<Parameters, ModelConfig>> read(const std::filesystem::path& folder);

  const std::vector<std::pair<std::string, torch::Tensor>>& all() const { return list_; }
  // Asking for one that the config does not call for is a bug (assert).
  const torch::Tensor& at(std::string_view name) const;
  void to(torch::Device device);
  // Those of a deeper model: before each of the layers `places` of `config` (ascending; the number
  // of layers: after the last) a new one that adds nothing to the residual stream yet. It is a copy
  // of the layer below it, of the first one where there is none, without a router and with output
  // matrices of zeros. All other tensors are shared with this object.
  Result<std::pair<Parameters, ModelConfig>> with_layers(const ModelConfig& config,
                                                         std::span<const size_t> places) const;
  // Those of a model in which only `layers`, some of the router layers of `config`, route: without
  // the router matrices of the others. All tensors are shared with this object.
  Result<std::pair<Parameters, ModelConfig>> with_routers(const ModelConfig& config,
                                                          std::span<const size_t> layers) const;

 private:
  void add(std::string name, torch::Tensor values);

  std::vector<std::pair<std::string, torch::Tensor>> list_;  // in file order
  std::map<std::string, size_t, std::less<>> places_;
};

// What one layer multiplies with. Matrices in the compute type, [out, in]; those that share an
// input are one matrix. Vectors, and the router's matrices, float32.
struct LayerWeights {
  torch::Tensor input_norm, post_norm;  // [d]
  torch::Tensor q_norm, k_norm;         // [D]
  torch::Tensor qkv;                    // [(H + 2G) * D, d]
  torch::Tensor o;                      // [d, H * D]
  torch::Tensor gate_up;                // [2F, d]
  torch::Tensor down;                   // [d, F]
  torch::Tensor router_q, router_k;     // [H * D, d], [G * D, d]; undefined if there are none
};
struct StepWeights {
  std::vector<LayerWeights> layers;
  torch::Tensor embeddings;  // [vocabulary, d] float32
  torch::Tensor norm;        // [d] float32
  torch::Tensor head;        // [vocabulary, d] float32
};
// Gradients of the copies flow to the parameters.
StepWeights step_weights(const Parameters& parameters, const ModelConfig& config,
                         torch::Dtype compute);

}  // namespace msa::train
