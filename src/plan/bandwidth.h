// This machine's memory bandwidth, measured in a moment.
#pragma once

#include <cstddef>

#include "msa/result.h"

namespace msa::plan {

// Far more than the caches of most processors hold.
inline constexpr size_t kBandwidthBytes = size_t{512} << 20;

// Bytes per second at which `threads` threads (0: one per core) read `bytes` bytes of memory: the
// best of several passes, in well under a second on a machine that does nothing else. What `bench`
// measures is the same with more care. An error if there is no such memory.
Result<double> measure_memory_bandwidth(int threads, size_t bytes = kBandwidthBytes);

}  // namespace msa::plan
