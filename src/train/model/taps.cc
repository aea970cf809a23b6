#include "train/model/taps.h"

#include <utility>

namespace msa::train {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

class TapFunction : public torch::autograd::Function<TapFunction> {
 public:
  static variable_list forward(AutogradContext* context, const Tensor& x, int64_t prefix,
                               const Tensor* rows, const Pooling* pooling, OpsMode mode) {
    context->set_materialize_grads(false);
    context->saved_data["shape"] = x.sizes();
    context->saved_data["type"] = x.scalar_type();
    context->saved_data["prefix"] = prefix;
    context->saved_data["picks"] = rows != nullptr;
    context->saved_data["pools"] = pooling != nullptr;
    variable_list saved, outputs = {x.view(x.sizes())};
    if (prefix > 0) outputs.push_back(x.slice(0, 0, prefix).clone());
    if (rows) {
      outputs.push_back(x.index_select(0, *rows));
      saved.push_back(*rows);
    }
    if (pooling) {
      outputs.push_back(pool_rows(x, pooling->runs, mode));
      saved.push_back(pooling->run_of_row);
      saved.push_back(pooling->shares);
      context->saved_data["first"] = static_cast<int64_t>(pooling->runs.front());
    }
    context->save_for_backward(saved);
    return outputs;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto& data = context->saved_data;
    const torch::Dtype type = data["type"].toScalarType();
    const variable_list saved = context->get_saved_variables();
    Tensor sum = std::move(gradients[0]);
    if (!sum.defined()) {
      torch::Device device = torch::kCPU;
      for (const Tensor& other : gradients)
        if (other.defined()) device = other.device();
      sum = torch::zeros(data["shape"].toIntVector(), torch::dtype(type).device(device));
    } else if (sum.use_count() > 1 || !sum.is_contiguous()) {
      sum = sum.clone(at::MemoryFormat::Contiguous);  // somebody else reads it too
    }
    size_t output = 1, next = 0;
    const int64_t prefix = data["prefix"].toInt();
    if (prefix > 0 && gradients[output++].defined())
      sum.slice(0, 0, prefix).add_(gradients[output - 1]);
    if (data["picks"].toBool()) {
      if (const Tensor& picked = gradients[output++]; picked.defined())
        sum.index_add_(0, saved[next], picked);
      ++next;
    }
    if (data["pools"].toBool()) {
      if (const Tensor& pooled = gradients[output++]; pooled.defined()) {
        const Tensor& run_of_row = saved[next];
        const int64_t first = data["first"].toInt();
        const Tensor each = (pooled * saved[next + 1]).to(type);
        sum.slice(0, first, first + run_of_row.size(0)).add_(each.index_select(0, run_of_row));
      }
    }
    return {sum, Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

Pooling make_pooling(std::vector<int32_t> runs, torch::Device device) {
  std::vector<int64_t> run_of_row;
  std::vector<float> shares;
  for (size_t c = 0; c + 1 < runs.size(); ++c) {
    const auto length = static_cast<size_t>(runs[c + 1] - runs[c]);
    run_of_row.insert(run_of_row.end(), length, static_cast<int64_t>(c));
    shares.push_back(1 / static_cast<float>(length));
  }
  Pooling pooling;
  pooling.runs = std::move(runs);
  pooling.run_of_row = torch::tensor(at::ArrayRef<int64_t>(run_of_row), torch::kInt64).to(device);
  pooling.shares =
      torch::tensor(at::ArrayRef<float>(shares), torch::kFloat32).view({-1, 1, 1}).to(device);
  return pooling;
}

Taps tap(const Tensor& x, int64_t prefix, const Tensor* rows, const Pooling* pooling,
         OpsMode mode) {
  const variable_list outputs = TapFunction::apply(x, prefix, rows, pooling, mode);
  Taps taps;
  size_t next = 0;
  taps.all = outputs[next++];
  if (prefix > 0) taps.prefix = outputs[next++];
  if (rows) taps.picked = outputs[next++];
  if (pooling) taps.pooled = outputs[next++];
  return taps;
}

}  // namespace msa::train
