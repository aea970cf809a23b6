#include "train/loop/optimizer.h"

#include <cmath>
#include <span>
#include <utility>

#include "train/loop/adamw.h"
#include "train/loop/muon.h"

namespace msa::train {
namespace {

std::span<float> elements(const torch::Tensor& tensor) {
  return {tensor.data_ptr<float>(), static_cast<size_t>(tensor.numel())};
}

// For devices whose memory we cannot walk through ourselves.
void update_composed(const torch::Tensor& values, const torch::Tensor& gradient,
                     const torch::Tensor& mean, const torch::Tensor& square,
                     const AdamWStep& step) {
  const auto count = static_cast<double>(step.update);
  const double correction1 = 1 - std::pow(step.beta1, count);
  const double correction2 = 1 - std::pow(step.beta2, count);
  const torch::Tensor scaled = gradient * step.gradient_scale;
  mean.mul_(step.beta1).add_(scaled, 1 - step.beta1);
  square.mul_(step.beta2).addcmul_(scaled, scaled, 1 - step.beta2);
  const torch::Tensor denominator =
      square.sqrt().mul_(1 / std::sqrt(correction2)).add_(step.epsilon);
  values.mul_(1 - step.learning_rate * step.weight_decay)
      .addcdiv_(mean, denominator, -step.learning_rate / correction1);
}

}  // namespace

Optimizer::Optimizer(const std::vector<std::pair<std::string, torch::Tensor>>& parameters,
                     const OptimizerOptions& options)
    : options_(options) {
  follow(parameters);
}

void Optimizer::follow(const std::vector<std::pair<std::string, torch::Tensor>>& parameters) {
  const torch::NoGradGuard no_gradient;
  const std::vector<Slot> before = std::exchange(slots_, {});
  for (const auto& [name, values] : parameters)
    slots_.push_back({name, values, torch::zeros_like(values.detach()),
                      torch::zeros_like(values.detach()),
                      values.dim() == 2 && name.find(".layers.") != std::string::npos,
                      name.ends_with(".q_norm.weight") || name.ends_with(".k_norm.weight"),
                      name.ends_with("embed_tokens.weight")});
  for (Slot& slot : slots_)
    for (const Slot& known : before)
      if (known.values.is_same(slot.values)) {
        slot.mean = known.mean;
        slot.square = known.square;
      }
}

double Optimizer::gradient_norm() const {
  const torch::NoGradGuard no_gradient;
  double sum = 0;
  std::vector<torch::Tensor> elsewhere;  // summed on their device, fetched once
  for (const Slot& slot : slots_) {
    const torch::Tensor& gradient = slot.values.grad();
    if (!gradient.defined()) continue;
    if (gradient.is_cpu() && gradient.is_contiguous())
      sum += sum_of_squares(elements(gradient));
    else
      elsewhere.push_back(gradient.to(torch::kFloat64).square().sum());
  }
  if (!elsewhere.empty()) sum += torch::stack(elsewhere).sum().item<double>();
  return std::sqrt(sum);
}

void Optimizer::update(const UpdateRule& rule, double norm) {
  const torch::NoGradGuard no_gradient;
  AdamWStep step;
  step.beta1 = options_.beta1;
  step.beta2 = options_.beta2;
  step.epsilon = options_.epsilon;
  step.update = ++updates_;
  if (options_.clip > 0 && norm > options_.clip) step.gradient_scale = options_.clip / norm;
  for (const Slot& slot : slots_) {
    const torch::Tensor& gradient = slot.values.grad();
    if (!gradient.defined()) continue;
    const double multiple = slot.head_norm   ? rule.head_norm_rate
                            : slot.embedding ? rule.embedding_rate
                                             : 1;
    step.learning_rate = rule.learning_rate * multiple;
    // What faster learning is for must not be forgotten faster.
    step.weight_decay =
        slot.values.dim() >= 2 && multiple > 0 ? options_.weight_decay / multiple : 0;
    if (rule.kind == OptimizerKind::muon && slot.layer_matrix) {
      muon_update(slot.values, gradient, slot.mean,
                  {.learning_rate = step.learning_rate,
                   .weight_decay = step.weight_decay,
                   .gradient_scale = step.gradient_scale},
                  torch::kBFloat16);
      // For AdamW, should it follow: its correction takes all updates to have been counted here.
      slot.square.mul_(step.beta2)
          .addcmul_(gradient, gradient,
                    (1 - step.beta2) * step.gradient_scale * step.gradient_scale);
    } else if (slot.values.is_cpu())
      adamw_update(elements(slot.values), elements(gradient.contiguous()), elements(slot.mean),
                   elements(slot.square), step);
    else
      update_composed(slot.values, gradient, slot.mean, slot.square, step);
  }
}

void Optimizer::drop_gradients() {
  for (const Slot& slot : slots_) slot.values.mutable_grad() = torch::Tensor();
}

}  // namespace msa::train
