#include "train/model/router_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

namespace msa::train {
namespace {

// Integers below this are exact in float32.
constexpr uint64_t kExact = uint64_t{1} << 24;

}  // namespace

RouterMemory::RouterMemory(const ModelConfig& config, size_t chunks, torch::Device device)
    : capacity_(chunks),
      heads_(static_cast<int64_t>(config.kv_heads)),
      head_dim_(static_cast<int64_t>(config.head_dim)) {
  assert(chunks > 0);
  const auto rows = static_cast<int64_t>(chunks);
  tensors_.emplace_back("negatives.added", torch::zeros({1}, torch::kFloat32));
  tensors_.emplace_back("negatives.subjects", torch::zeros({rows, 2}, torch::kFloat32));
  for (const int layer : config.msa.router_layers) {
    layers_.push_back(static_cast<size_t>(layer));
    tensors_.emplace_back(
        fmt::format("negatives.{}", layer),
        torch::zeros({rows, heads_ * head_dim_}, torch::dtype(torch::kFloat32).device(device)));
  }
}

size_t RouterMemory::size() const {
  return std::min(capacity_, static_cast<size_t>(tensors_[0].second.item<float>()));
}

torch::Tensor RouterMemory::keys(size_t layer) const {
  const auto place = std::find(layers_.begin(), layers_.end(), layer) - layers_.begin();
  const torch::Tensor& all = tensors_[2 + static_cast<size_t>(place)].second;
  // A copy: the graph keeps it until the backward pass, and the memory moves on before.
  return all.slice(0, 0, static_cast<int64_t>(size())).clone().view({-1, heads_, head_dim_});
}

std::vector<uint64_t> RouterMemory::subjects() const {
  const float* halves = tensors_[1].second.data_ptr<float>();
  std::vector<uint64_t> subjects(size());
  for (size_t i = 0; i < subjects.size(); ++i)
    subjects[i] =
        static_cast<uint64_t>(halves[2 * i]) * kExact + static_cast<uint64_t>(halves[2 * i + 1]);
  return subjects;
}

void RouterMemory::add(const std::vector<uint64_t>& subjects,
                       const std::vector<torch::Tensor>& keys) {
  assert(keys.size() == layers_.size());
  const torch::NoGradGuard no_gradient;
  const size_t count = std::min(subjects.size(), capacity_);
  const size_t skipped = subjects.size() - count;
  auto added = static_cast<size_t>(tensors_[0].second.item<float>());
  size_t done = 0;
  while (done < count) {
    const size_t at = (added + done) % capacity_;
    const size_t run = std::min(count - done, capacity_ - at);
    const auto from = static_cast<int64_t>(skipped + done), to = static_cast<int64_t>(at);
    const auto length = static_cast<int64_t>(run);
    for (size_t i = 0; i < layers_.size(); ++i)
      tensors_[2 + i]
          .second.slice(0, to, to + length)
          .copy_(keys[i].flatten(1).slice(0, from, from + length));
    float* halves = tensors_[1].second.data_ptr<float>() + 2 * at;
    for (size_t j = 0; j < run; ++j) {
      const uint64_t subject = subjects[skipped + done + j];
      halves[2 * j] = static_cast<float>(subject / kExact % kExact);
      halves[2 * j + 1] = static_cast<float>(subject % kExact);
    }
    done += run;
  }
  added += count;
  if (added >= 2 * capacity_) added = capacity_ + added % capacity_;
  tensors_[0].second.fill_(static_cast<double>(added));
}

}  // namespace msa::train
