#include <algorithm>
#include <utility>

#include "train/ops/fused.h"
#include "train/ops/views.h"
#include "train_kernels/rows.h"

namespace msa::train::fused {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Kept : torch::CustomClassHolder {
  std::vector<int32_t> runs;
  std::vector<int64_t> sizes;  // of x
  torch::Dtype dtype;

  Kept(std::vector<int32_t> given, const Tensor& x)
      : runs(std::move(given)), sizes(x.sizes().vec()), dtype(x.scalar_type()) {}
};

class PoolRows : public torch::autograd::Function<PoolRows> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& x,
                        const c10::intrusive_ptr<Kept>& kept) {
    const auto count = static_cast<int64_t>(kept->runs.empty() ? 0 : kept->runs.size() - 1);
    const Tensor means = torch::empty({count, x.size(1), x.size(2)}, torch::kFloat32);
    train_kernels::pool_rows(at::get_num_threads(), rows_of(x), kept->runs,
                             rows_of(means).as<float>());
    context->saved_data["kept"] = c10::IValue::make_capsule(kept);
    context->set_materialize_grads(false);
    return means;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grad_outputs) {
    if (!grad_outputs[0].defined()) return {Tensor(), Tensor()};
    const auto kept =
        c10::static_intrusive_pointer_cast<Kept>(context->saved_data["kept"].toCapsule());
    const Tensor gradient = torch::empty(kept->sizes, kept->dtype);
    train_kernels::pool_rows_backward(at::get_num_threads(),
                                      rows_of(with_whole_rows(grad_outputs[0])).as<float>(),
                                      kept->runs, rows_of(gradient));
    return {gradient, Tensor()};
  }
};

}  // namespace

Tensor pool_rows(const Tensor& x, const std::vector<int32_t>& runs) {
  TORCH_CHECK(x.dim() == 3, "pool_rows: x is ", x.sizes(), ", not [T, heads, D]");
  TORCH_CHECK(runs.empty() || (std::is_sorted(runs.begin(), runs.end()) && runs.front() >= 0 &&
                               runs.back() <= x.size(0)),
              "pool_rows: runs from ", runs.front(), " to ", runs.back(), ", not ascending within ",
              x.size(0), " rows");
  const Tensor rows = with_whole_rows(x);
  return PoolRows::apply(rows, c10::make_intrusive<Kept>(runs, rows));
}

}  // namespace msa::train::fused
