// Shared by the files of this folder.
#pragma once

#include <cstdint>

namespace msa::plan {

// No size here is larger, so that sums of a few of them fit 64 bits.
inline constexpr uint64_t kMostBytes = uint64_t{1} << 60;

// a / b, rounded up. `b` is not zero; nothing overflows.
inline uint64_t divide_up(uint64_t a, uint64_t b) {
  return a / b + (a % b != 0 ? 1 : 0);
}

}  // namespace msa::plan
