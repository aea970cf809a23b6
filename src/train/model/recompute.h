// Trading time for memory: intermediate results that are computed again in the backward pass.
#pragma once

#include <torch/torch.h>

#include <functional>

namespace msa::train {

using TensorFunction =
    std::function<torch::autograd::variable_list(const torch::autograd::variable_list& inputs)>;

// compute(inputs), differentiable with respect to inputs, of which alone is kept what the backward
// pass needs: it calls `compute` a second time, which must then give the same. Every tensor that
// needs a gradient must be among the inputs; inputs and outputs are defined. `compute` is kept as
// long as the graph.
torch::autograd::variable_list recompute(TensorFunction compute,
                                         const torch::autograd::variable_list& inputs);

}  // namespace msa::train
