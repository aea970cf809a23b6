// Batches made in the background while a step computes.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "msa/result.h"
#include "samples/batch.h"

namespace msa::train {

// A batch, and where its maker stood right after it: what must be kept to go on from there.
struct PreparedBatch {
  Batch batch;
  std::string state;
};

// Owns a Batcher and a thread that calls it, at most `ahead` batches ahead. The batches come in the
// Batcher's order. One consumer.
class Prefetcher {
 public:
  Prefetcher(std::unique_ptr<Batcher> batcher, size_t ahead);
  ~Prefetcher();
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  // Waits for the next batch. After an error, which comes after the batches before it, every call
  // gives that error.
  Result<PreparedBatch> next();

 private:
  void work(const std::stop_token& stop);

  const std::unique_ptr<Batcher> batcher_;  // only the thread touches it
  const size_t ahead_;
  std::mutex mutex_;
  std::condition_variable_any room_, ready_;
  std::deque<PreparedBatch> queue_;
  std::optional<Error> failed_;
  std::jthread thread_;  // last: ends before what it uses
};

}  // namespace msa::train
