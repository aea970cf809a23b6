#include "train/loop/muon.h"

#include <algorithm>
#include <cassert>
#include <cmath>

namespace msa::train {
namespace {

constexpr int kIterations = 5;
// Of the odd polynomial a x + b x^3 + c x^5 that pulls singular values towards 1, steepest at 0.
constexpr double kA = 3.4445, kB = -4.7750, kC = 2.0315;
constexpr double kUpdateSize = 0.2;  // root mean square of an update, over the learning rate

}  // namespace

torch::Tensor orthogonalised(const torch::Tensor& x, torch::Dtype compute) {
  assert(x.dim() == 2);
  const torch::NoGradGuard no_gradient;
  // Products are of the short side's size.
  const bool tall = x.size(0) > x.size(1);
  torch::Tensor y = (tall ? x.t() : x) / (x.norm() + 1e-30);
  y = y.to(compute).contiguous();
  for (int i = 0; i < kIterations; ++i) {
    const torch::Tensor square = torch::mm(y, y.t());
    const torch::Tensor factor = torch::addmm(square, square, square, kB, kC);
    y = torch::addmm(y, factor, y, kA, 1);
  }
  return (tall ? y.t() : y).to(torch::kFloat32);
}

void muon_update(const torch::Tensor& values, const torch::Tensor& gradient,
                 const torch::Tensor& mean, const MuonStep& step, torch::Dtype compute) {
  const torch::NoGradGuard no_gradient;
  const torch::Tensor scaled = gradient * step.gradient_scale;
  mean.mul_(step.momentum).add_(scaled, 1 - step.momentum);
  // Nesterov's momentum: where the next step's mean would be with the same gradient again.
  const torch::Tensor direction = mean * step.momentum + scaled * (1 - step.momentum);
  const double size =
      kUpdateSize * std::sqrt(static_cast<double>(std::max(values.size(0), values.size(1))));
  torch::Tensor target = values.detach();
  target.mul_(1 - step.learning_rate * step.weight_decay)
      .add_(orthogonalised(direction, compute), -step.learning_rate * size);
}

}  // namespace msa::train
