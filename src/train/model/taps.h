// Several readers of the same rows, whose gradients are added into one tensor.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "train/ops/ops.h"

namespace msa::train {

// The runs of rows that are pooled, and what the gradient of pooling needs.
struct Pooling {
  std::vector<int32_t> runs;  // C+1, ascending rows
  torch::Tensor run_of_row;   // int64, of the rows runs.front() .. runs.back()
  torch::Tensor shares;       // [C, 1, 1] float32: one over the length of each run
};
Pooling make_pooling(std::vector<int32_t> runs, torch::Device device);

// What a layer reads of x [T, heads, n].
struct Taps {
  torch::Tensor all;     // x
  torch::Tensor prefix;  // its first rows
  torch::Tensor picked;  // some rows, each at most once
  torch::Tensor pooled;  // [C, heads, n] float32, means over runs
};
// `rows` (int64) and `pooling` may be null: then picked and pooled are undefined; so is prefix if
// it has no rows. By libtorch's own slicing every reader would bring a gradient of the size of x,
// zero nearly everywhere.
Taps tap(const torch::Tensor& x, int64_t prefix, const torch::Tensor* rows, const Pooling* pooling,
         OpsMode mode);

}  // namespace msa::train
