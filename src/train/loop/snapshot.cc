#include "train/loop/snapshot.h"

#include <string>

namespace msa::train {

Snapshot::Snapshot(const Optimizer& optimizer, const RouterMemory* negatives) {
  const auto add = [&](const std::string& name, const torch::Tensor& tensor) {
    from_.push_back(tensor.detach());
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
  if (negatives)
    for (const auto& [name, tensor] : negatives->tensors()) add(name, tensor);
}

void Snapshot::put_back() const {
  const torch::NoGradGuard no_gradient;
  for (size_t i = 0; i < host_.size(); ++i) {
    torch::Tensor target = from_[i];
    if (target.data_ptr() != host_[i].data_ptr()) target.copy_(host_[i]);
  }
}

}  // namespace msa::train
