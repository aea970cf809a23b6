#include "train/model/recompute.h"

#include <utility>

namespace msa::train {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Kept : torch::CustomClassHolder {
  explicit Kept(TensorFunction function) : compute(std::move(function)) {}
  TensorFunction compute;
};

class Recompute : public torch::autograd::Function<Recompute> {
 public:
  static variable_list forward(AutogradContext* context, const TensorFunction& compute,
                               at::TensorList inputs) {
    context->saved_data["compute"] = c10::IValue::make_capsule(c10::make_intrusive<Kept>(compute));
    context->save_for_backward(inputs.vec());
    context->set_materialize_grads(false);
    return compute(inputs.vec());
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto kept =
        c10::static_intrusive_pointer_cast<Kept>(context->saved_data["compute"].toCapsule());
    const variable_list saved = context->get_saved_variables();
    variable_list inputs, wanted;
    for (const Tensor& tensor : saved) {
      inputs.push_back(tensor.detach().set_requires_grad(tensor.requires_grad()));
      if (tensor.requires_grad()) wanted.push_back(inputs.back());
    }
    variable_list outputs, output_gradients;
    {
      const torch::AutoGradMode enabled(true);
      const variable_list all = kept->compute(inputs);
      for (size_t i = 0; i < all.size(); ++i)
        if (gradients[i].defined() && all[i].requires_grad()) {
          outputs.push_back(all[i]);
          output_gradients.push_back(gradients[i]);
        }
    }
    variable_list result(saved.size() + 1);  // the function itself comes first
    if (outputs.empty()) return result;
    const variable_list found =
        torch::autograd::grad(outputs, wanted, output_gradients, /*retain_graph=*/false,
                              /*create_graph=*/false, /*allow_unused=*/true);
    size_t next = 0;
    for (size_t i = 0; i < saved.size(); ++i)
      if (saved[i].requires_grad()) result[i + 1] = found[next++];
    return result;
  }
};

}  // namespace

variable_list recompute(TensorFunction compute, const variable_list& inputs) {
  return Recompute::apply(compute, at::TensorList(inputs));
}

}  // namespace msa::train
