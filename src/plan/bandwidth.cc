#include "plan/bandwidth.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "base/runtime.h"

namespace msa::plan {
namespace {

constexpr int kPasses = 4;
constexpr size_t kLanes = 8;  // words that are summed side by side

uint64_t sum(const uint64_t* words, size_t count) {
  uint64_t sums[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (size_t lane = 0; lane < kLanes; ++lane) sums[lane] += words[i + lane];
  for (; i < count; ++i) sums[0] += words[i];
  uint64_t total = 0;
  for (const uint64_t part : sums) total += part;
  return total;
}

// Calls work(first, count) on each thread with its part of `words` words.
void in_parallel(size_t words, size_t threads, const auto& work) {
  std::vector<std::jthread> others;
  const size_t part = words / threads;
  for (size_t i = 1; i < threads; ++i)
    others.emplace_back([&work, i, part, threads, words] {
      work(i * part, i + 1 == threads ? words - i * part : part);
    });
  work(0, threads == 1 ? words : part);
}

}  // namespace

Result<double> measure_memory_bandwidth(int threads, size_t bytes) {
  const size_t words = std::max<size_t>(bytes / sizeof(uint64_t), 1);
  const auto count = static_cast<size_t>(std::max(resolve_threads(threads), 1));
  // More than there is would be handed out all the same, and end the program when it is touched.
  const auto there = static_cast<uint64_t>(std::max(sysconf(_SC_PHYS_PAGES), 0L)) *
                     static_cast<uint64_t>(std::max(sysconf(_SC_PAGESIZE), 0L));
  const std::unique_ptr<uint64_t[]> memory(bytes > there ? nullptr
                                                         : new (std::nothrow) uint64_t[words]);
  if (!memory)
    return Error{Code::no_space,
                 fmt::format("memory bandwidth: {} bytes to measure it with are not there; give "
                             "the bandwidth instead",
                             bytes)};
  std::atomic<uint64_t> total = 0;  // so that no compiler leaves the sums out
  double best = 0;
  try {
    // Each thread touches its own part first, so that on machines of several nodes it is near.
    in_parallel(words, count,
                [&](size_t first, size_t n) { std::fill_n(memory.get() + first, n, uint64_t{1}); });
    for (int pass = 0; pass < kPasses; ++pass) {
      const auto start = std::chrono::steady_clock::now();
      in_parallel(words, count,
                  [&](size_t first, size_t n) { total += sum(memory.get() + first, n); });
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
      best = std::max(best,
                      static_cast<double>(words * sizeof(uint64_t)) / std::max(took.count(), 1e-9));
    }
  } catch (const std::system_error& error) {
    return Error{Code::io, fmt::format("memory bandwidth: {} threads do not start ({}); pass "
                                       "--threads with fewer",
                                       count, error.what())};
  }
  if (total != words * static_cast<uint64_t>(kPasses))
    return Error{Code::internal,
                 "memory bandwidth: memory does not hold what was written to it; "
                 "give the bandwidth instead"};
  return best;
}

}  // namespace msa::plan
