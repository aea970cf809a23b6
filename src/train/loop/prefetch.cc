#include "train/loop/prefetch.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <utility>

namespace msa::train {

Prefetcher::Prefetcher(std::unique_ptr<Batcher> batcher, size_t ahead)
    : batcher_(std::move(batcher)), ahead_(std::max<size_t>(ahead, 1)) {
  thread_ = std::jthread([this](const std::stop_token& stop) {
    try {
      work(stop);
    } catch (const std::exception& problem) {
      const std::lock_guard lock(mutex_);
      failed_ = Error{Code::internal,
                      fmt::format("making a batch: {}; report this as a defect", problem.what())};
      ready_.notify_all();
    }
  });
}

Prefetcher::~Prefetcher() = default;

void Prefetcher::work(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock(mutex_);
      if (!room_.wait(lock, stop, [&] { return queue_.size() < ahead_; })) return;
    }
    Result<Batch> batch = batcher_->next();
    if (!batch) {
      const std::lock_guard lock(mutex_);
      failed_ = std::move(batch).error();
      ready_.notify_all();
      return;
    }
    PreparedBatch prepared{*std::move(batch), batcher_->state()};
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(prepared));
    ready_.notify_all();
  }
}

Result<PreparedBatch> Prefetcher::next() {
  std::unique_lock lock(mutex_);
  ready_.wait(lock, [&] { return !queue_.empty() || failed_; });
  if (queue_.empty()) return *failed_;
  PreparedBatch prepared = std::move(queue_.front());
  queue_.pop_front();
  room_.notify_all();
  return prepared;
}

}  // namespace msa::train
