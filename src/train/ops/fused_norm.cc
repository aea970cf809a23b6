#include "train/ops/fused.h"
#include "train/ops/views.h"
#include "train_kernels/rows.h"

namespace msa::train::fused {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Inputs hidden, weight, and delta if there is one; outputs the norm, and the sum if there is one.
class AddRmsNorm : public torch::autograd::Function<AddRmsNorm> {
 public:
  static variable_list forward(AutogradContext* context, at::TensorList given, double eps,
                               torch::Dtype out) {
    const Tensor &hidden = given[0], &weight = given[1];
    const bool adds = given.size() > 2;
    const Tensor sum = adds ? torch::empty(hidden.sizes(), hidden.options()) : Tensor();
    const Tensor normed = torch::empty(hidden.sizes(), hidden.options().dtype(out));
    const Tensor inverse_rms = torch::empty({hidden.size(0)}, hidden.options());
    train_kernels::add_rms_norm(at::get_num_threads(), rows_of(hidden).as<float>(),
                                rows_of(adds ? given[2] : Tensor()), floats_of(weight),
                                static_cast<float>(eps), rows_of(sum).as<float>(), rows_of(normed),
                                floats_of(inverse_rms));
    context->save_for_backward({adds ? sum : hidden, weight, inverse_rms});
    if (adds) context->saved_data["delta"] = given[2].scalar_type();
    context->set_materialize_grads(false);
    if (adds) return {normed, sum};
    return {normed};
  }

  static variable_list backward(AutogradContext* context, const variable_list& grad_outputs) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &sum = saved[0], &weight = saved[1], &inverse_rms = saved[2];
    const bool adds = grad_outputs.size() > 1;
    const bool hidden_wanted = context->needs_input_grad(0);
    const bool weight_wanted = context->needs_input_grad(1);
    const bool delta_wanted = adds && context->needs_input_grad(2);
    Tensor hidden, grad_weight, delta;
    const auto result = [&] {
      variable_list all = {hidden, grad_weight};
      if (adds) all.push_back(delta);
      all.resize(all.size() + 2);  // of eps and out
      return all;
    };
    const torch::Dtype delta_type =
        adds ? context->saved_data["delta"].toScalarType() : torch::kFloat32;
    const Tensor& grad_normed = grad_outputs[0];
    const Tensor grad_sum = adds ? with_whole_rows(grad_outputs[1]) : Tensor();
    if (!grad_normed.defined()) {
      if (grad_sum.defined()) {
        hidden = grad_sum;
        delta = grad_sum.to(delta_type);
      }
      return result();
    }
    // One tensor for both where their types are the same.
    const bool same = delta_type == torch::kFloat32;
    if (hidden_wanted || (delta_wanted && same)) hidden = torch::empty(sum.sizes(), sum.options());
    if (delta_wanted)
      delta = same ? hidden : torch::empty(sum.sizes(), sum.options().dtype(delta_type));
    if (weight_wanted) grad_weight = torch::empty(weight.sizes(), weight.options());
    train_kernels::add_rms_norm_backward(
        at::get_num_threads(), rows_of(sum).as<float>(), floats_of(weight), floats_of(inverse_rms),
        rows_of(with_whole_rows(grad_normed)), rows_of(grad_sum).as<float>(),
        {rows_of(hidden).as<float>(), rows_of(same ? Tensor() : delta), floats_of(grad_weight)});
    return result();
  }
};

}  // namespace

NormOutput add_rms_norm(const Tensor& hidden, const Tensor& delta, const Tensor& weight, double eps,
                        torch::Dtype out) {
  TORCH_CHECK(hidden.dim() == 2 && hidden.scalar_type() == torch::kFloat32 && weight.dim() == 1 &&
                  weight.size(0) == hidden.size(1) && weight.scalar_type() == torch::kFloat32,
              "add_rms_norm: hidden is ", hidden.sizes(), " ", hidden.scalar_type(), " and weight ",
              weight.sizes(), " ", weight.scalar_type(), ", not float32 [T, d] and [d]");
  TORCH_CHECK(!delta.defined() || delta.sizes() == hidden.sizes(), "add_rms_norm: delta is ",
              delta.sizes(), ", hidden ", hidden.sizes());
  variable_list given = {with_whole_rows(hidden), weight.contiguous()};
  if (!delta.defined()) return {hidden, AddRmsNorm::apply(at::TensorList(given), eps, out)[0]};
  given.push_back(with_whole_rows(delta));
  const variable_list outputs = AddRmsNorm::apply(at::TensorList(given), eps, out);
  return {outputs[1], outputs[0]};
}

}  // namespace msa::train::fused
