#include "train/model/losses.h"

#include <algorithm>

namespace msa::train {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Far below every score, yet finite, so that no gradient becomes inf - inf.
constexpr double kNever = -1e30;

// Rows whose logits are held at once: 16 MiB of them, but enough for the products to be worth it.
int64_t rows_at_once(int64_t vocabulary) {
  return std::max<int64_t>(1024, (int64_t{1} << 22) / vocabulary);
}

class TokenLossFunction : public torch::autograd::Function<TokenLossFunction> {
 public:
  static variable_list forward(AutogradContext* context, const Tensor& x, const Tensor& head,
                               const Tensor& labels, const Tensor& weights, bool train) {
    const Tensor table = head.to(x.scalar_type());
    Tensor total = torch::zeros({}, weights.options());
    std::vector<Tensor> each, correct, x_gradient;
    Tensor head_gradient;
    if (train) head_gradient = torch::zeros_like(head);
    const int64_t rows = x.size(0), block = rows_at_once(head.size(0));
    for (int64_t begin = 0; begin < rows; begin += block) {
      const int64_t end = std::min(rows, begin + block);
      const Tensor part = x.slice(0, begin, end);
      const Tensor label = labels.slice(0, begin, end).unsqueeze(1);
      const Tensor weight = weights.slice(0, begin, end).unsqueeze(1);
      Tensor log_p = torch::log_softmax(torch::mm(part, table.t()), 1, torch::kFloat32);
      const Tensor of_label = log_p.gather(1, label);
      correct.push_back(log_p.argmax(1, /*keepdim=*/true).eq(label).squeeze(1));
      each.push_back(-of_label.squeeze(1));
      total -= (of_label * weight).sum();
      if (!train) continue;
      // d loss / d logits = softmax - one at the label, times the row's weight.
      log_p.exp_().mul_(weight).scatter_add_(1, label, -weight);
      const Tensor gradient = log_p.to(x.scalar_type());
      x_gradient.push_back(torch::mm(gradient, table));
      head_gradient += torch::mm(gradient.t(), part);
    }
    if (train) context->save_for_backward({torch::cat(x_gradient, 0), head_gradient});
    const Tensor all = torch::cat(each, 0), right = torch::cat(correct, 0);
    context->mark_non_differentiable({all, right});
    return {total, all, right};
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor& scale = gradients[0];
    return {saved[0] * scale.to(saved[0].scalar_type()), saved[1] * scale, Tensor(), Tensor(),
            Tensor()};
  }
};

}  // namespace

TokenLoss token_loss(const Tensor& x, const Tensor& head, const Tensor& labels,
                     const Tensor& weights) {
  const variable_list outputs =
      TokenLossFunction::apply(x, head, labels, weights, torch::GradMode::is_enabled());
  return {outputs[0], outputs[1], outputs[2]};
}

Tensor routing_loss(const Tensor& scores, const StepPlan& plan, AuxLoss kind, double temperature,
                    const std::vector<uint8_t>& hard) {
  const size_t documents = plan.documents();
  const size_t others_known = plan.routed.empty() ? 0 : hard.size() / plan.routed.size();
  std::vector<int64_t> rows;  // queries that have relevant documents
  std::vector<float> relevant, others;
  for (size_t r = 0; r < plan.routed.size(); ++r) {
    const uint8_t* is_relevant = plan.is_relevant.data() + r * documents;
    if (std::find(is_relevant, is_relevant + documents, 1) == is_relevant + documents) continue;
    rows.push_back(static_cast<int64_t>(r));
    for (size_t n = 0; n < documents; ++n) {
      relevant.push_back(is_relevant[n]);
      others.push_back(plan.sees[r * documents + n] && !is_relevant[n]);
    }
    relevant.resize(relevant.size() + others_known, 0);
    for (size_t n = 0; n < others_known; ++n) others.push_back(hard[r * others_known + n]);
  }
  if (rows.empty()) return {};
  const torch::Device device = scores.device();
  const auto mask = [&](const std::vector<float>& values) {
    return torch::tensor(at::ArrayRef<float>(values), torch::kFloat32)
        .view({-1, static_cast<int64_t>(documents + others_known)})
        .to(device);
  };
  const Tensor positive = mask(relevant), negative = mask(others);
  const Tensor s =
      scores.index_select(0, torch::tensor(at::ArrayRef<int64_t>(rows), torch::kInt64).to(device));
  if (kind == AuxLoss::bce) {
    const Tensor terms = positive * torch::softplus(-s) + negative * torch::softplus(s);
    return (terms.sum(1) / (positive + negative).sum(1)).mean();
  }
  const Tensor z = s / temperature;
  const bool decouple =
      kind == AuxLoss::infonce_decouple || kind == AuxLoss::infonce_decouple_focal;
  const bool focal = kind == AuxLoss::infonce_focal || kind == AuxLoss::infonce_decouple_focal;
  const auto log_sum = [&](const Tensor& among) {
    return z.masked_fill(among.eq(0), kNever).logsumexp(1, /*keepdim=*/true);
  };
  // Decoupled, each relevant document competes with those that are not relevant only.
  const Tensor normaliser =
      decouple ? torch::logaddexp(z, log_sum(negative)) : log_sum(positive + negative);
  // The others' terms count nothing; at 0 they cannot overflow on the way.
  const Tensor log_p = (z - normaliser).masked_fill(positive.eq(0), 0);
  const Tensor terms = focal ? -(1 - log_p.exp()).square() * log_p : -log_p;
  return (terms.sum(1) / positive.sum(1)).mean();
}

}  // namespace msa::train
