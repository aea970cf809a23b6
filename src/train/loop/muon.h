// Muon: updates of matrices that are as large in every direction (Jordan et al. 2024, "Muon: an
// optimizer for hidden layers in neural networks"; the scale is that of Liu et al. 2025,
// arXiv 2502.16982).
#pragma once

#include <torch/torch.h>

namespace msa::train {

struct MuonStep {
  double learning_rate = 0;
  double momentum = 0.95;
  double weight_decay = 0;    // decoupled: values shrink by learning_rate * weight_decay
  double gradient_scale = 1;  // of the gradient, before anything else (clipping)
};

// The matrix with x's singular vectors and singular values near 1 (from 0.68 to 1.13; less where
// they are below a hundredth of x's norm): five steps of a Newton-Schulz iteration, computed in
// `compute`. x [m, n] float32, not empty; zero stays zero.
torch::Tensor orthogonalised(const torch::Tensor& x, torch::Dtype compute);

// values [m, n] and mean (the running mean of gradients) are updated. An element moves by
// 0.2 * learning_rate in the root mean square, about as AdamW moves it, so that both go with the
// same learning rate. All three float32, of one shape and device; `compute` as above (bfloat16 is
// exact enough, whatever the model computes in).
void muon_update(const torch::Tensor& values, const torch::Tensor& gradient,
                 const torch::Tensor& mean, const MuonStep& step, torch::Dtype compute);

}  // namespace msa::train
