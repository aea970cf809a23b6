#include "train/loop/snapshot.h"

#include <string>

namespace msa::train {

Snapshot::Snapshot(const Optimizer& optimizer) {
  const auto add = [&](const std::string& name, const torch::Tensor& tensor) {
    host_.push_back(tensor.detach().to(torch::kCPU).contiguous());
    tensors_.push_back(
        {name,
         {tensor.sizes().begin(), tensor.sizes().end()},
         {host_.back().data_ptr<float>(), static_cast<size_t>(host_.back().numel())}});
  };
  for (const Optimizer::Slot& slot : optimizer.slots()) {
    add(slot.name, slot.values);
    add("mean." + slot.name, slot.mean);
    add("square." + slot.name, slot.square);
  }
}

void Snapshot::put_back(const Optimizer& optimizer) const {
  const torch::NoGradGuard no_gradient;
  size_t next = 0;
  for (const Optimizer::Slot& slot : optimizer.slots())
    for (const torch::Tensor* tensor : {&slot.values, &slot.mean, &slot.square}) {
      const torch::Tensor& host = host_[next++];
      torch::Tensor target = tensor->detach();
      if (target.data_ptr() != host.data_ptr()) target.copy_(host);
    }
}

}  // namespace msa::train
