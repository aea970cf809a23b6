#include "base/runtime.h"

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <thread>

#include "base/cpu_quota.h"

namespace msa {
namespace {

// Cores in this process's affinity mask.
int affinity_cores() {
  // The kernel refuses a mask smaller than its own, whose size it does not tell.
  for (int capacity = 1024; capacity <= 1 << 20; capacity *= 2) {
    struct Free {
      void operator()(cpu_set_t* set) const { CPU_FREE(set); }
    };
    const std::unique_ptr<cpu_set_t, Free> set(CPU_ALLOC(static_cast<size_t>(capacity)));
    if (!set) break;
    const size_t bytes = CPU_ALLOC_SIZE(static_cast<size_t>(capacity));
    CPU_ZERO_S(bytes, set.get());
    if (sched_getaffinity(0, bytes, set.get()) == 0) return CPU_COUNT_S(bytes, set.get());
    if (errno != EINVAL) break;
  }
  return static_cast<int>(std::thread::hardware_concurrency());
}

}  // namespace

int resolve_threads(int threads) {
  if (threads > 0) return threads;
  const int cores = std::max(affinity_cores(), 1);
  return std::min(cores, cgroup_cores().value_or(cores));
}

}  // namespace msa
