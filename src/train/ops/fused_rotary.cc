#include <algorithm>

#include "train/ops/fused.h"
#include "train/ops/views.h"
#include "train_kernels/rows.h"

namespace msa::train::fused {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Angles for fewer positions than these, some 10 GB of them for a head of 128.
constexpr int64_t kPositions = int64_t{1} << 24;

// What both passes need beside tensors.
struct Kept : torch::CustomClassHolder {
  Tensor held;  // [T] int32, contiguous
  train_kernels::RotaryTable table;
  float eps;

  Kept(const Tensor& positions, size_t head_dim, double theta, double norm_eps)
      : held(positions), table(of(positions), head_dim, theta), eps(static_cast<float>(norm_eps)) {}

  static std::span<const int32_t> of(const Tensor& positions) {
    return {positions.data_ptr<int32_t>(), static_cast<size_t>(positions.numel())};
  }
  std::span<const int32_t> positions() const { return of(held); }
};

class HeadNormRotary : public torch::autograd::Function<HeadNormRotary> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& weight,
                        const c10::intrusive_ptr<Kept>& kept) {
    const Tensor y = torch::empty(x.sizes(), x.options());
    train_kernels::head_norm_rotary(at::get_num_threads(), rows_of(x), floats_of(weight), kept->eps,
                                    kept->positions(), kept->table, rows_of(y));
    context->save_for_backward({x, weight});
    context->saved_data["kept"] = c10::IValue::make_capsule(kept);
    context->set_materialize_grads(false);
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grad_outputs) {
    if (!grad_outputs[0].defined()) return {Tensor(), Tensor(), Tensor()};
    const auto kept =
        c10::static_intrusive_pointer_cast<Kept>(context->saved_data["kept"].toCapsule());
    const variable_list saved = context->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1];
    Tensor grad_x, grad_weight;
    if (context->needs_input_grad(0)) grad_x = torch::empty(x.sizes(), x.options());
    if (context->needs_input_grad(1)) grad_weight = torch::empty(weight.sizes(), weight.options());
    train_kernels::head_norm_rotary_backward(at::get_num_threads(), rows_of(x), floats_of(weight),
                                             kept->eps, kept->positions(), kept->table,
                                             rows_of(with_whole_rows(grad_outputs[0])),
                                             rows_of(grad_x), floats_of(grad_weight));
    return {grad_x, grad_weight, Tensor()};
  }
};

}  // namespace

Tensor head_norm_rotary(const Tensor& x, const Tensor& weight, double eps, const Tensor& positions,
                        double theta) {
  TORCH_CHECK(x.dim() == 3 && x.size(2) > 0 && x.size(2) % 2 == 0 && weight.dim() == 1 &&
                  weight.size(0) == x.size(2) && weight.scalar_type() == torch::kFloat32,
              "head_norm_rotary: x is ", x.sizes(), " and weight ", weight.sizes(), " ",
              weight.scalar_type(), ", not [T, heads, D] and float32 [D] with D even");
  TORCH_CHECK(positions.dim() == 1 && positions.size(0) == x.size(0) &&
                  positions.scalar_type() == torch::kInt32 && positions.device().is_cpu(),
              "head_norm_rotary: positions are ", positions.sizes(), " ", positions.scalar_type(),
              " for x of ", x.sizes(), ", not int32 [T]");
  const Tensor places = positions.contiguous();
  if (places.numel() > 0) {
    const auto [lowest, highest] =
        std::minmax_element(Kept::of(places).begin(), Kept::of(places).end());
    TORCH_CHECK(int64_t{*highest} - *lowest < kPositions, "head_norm_rotary: positions from ",
                *lowest, " to ", *highest, ", more than ", kPositions, " apart");
  }
  return HeadNormRotary::apply(
      with_whole_rows(x), weight.contiguous(),
      c10::make_intrusive<Kept>(places, static_cast<size_t>(x.size(2)), theta, eps));
}

}  // namespace msa::train::fused
