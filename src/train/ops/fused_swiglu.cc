#include "train/ops/fused.h"
#include "train/ops/views.h"
#include "train_kernels/rows.h"

namespace msa::train::fused {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

class Swiglu : public torch::autograd::Function<Swiglu> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& gate_up) {
    const Tensor y = torch::empty({gate_up.size(0), gate_up.size(1) / 2}, gate_up.options());
    train_kernels::swiglu(at::get_num_threads(), rows_of(gate_up), rows_of(y));
    context->save_for_backward({gate_up});
    context->set_materialize_grads(false);
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grad_outputs) {
    if (!grad_outputs[0].defined()) return {Tensor()};
    const Tensor gate_up = context->get_saved_variables()[0];
    const Tensor gradient = torch::empty(gate_up.sizes(), gate_up.options());
    train_kernels::swiglu_backward(at::get_num_threads(), rows_of(gate_up),
                                   rows_of(with_whole_rows(grad_outputs[0])), rows_of(gradient));
    return {gradient};
  }
};

}  // namespace

Tensor swiglu(const Tensor& gate_up) {
  TORCH_CHECK(gate_up.dim() == 2 && gate_up.size(1) % 2 == 0, "swiglu: gate and up are ",
              gate_up.sizes(), ", not [T, 2F]");
  return Swiglu::apply(with_whole_rows(gate_up));
}

}  // namespace msa::train::fused
