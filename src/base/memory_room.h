// How much memory there is to be had, and how much this process has.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace msa {

// What this process could still use without pushing others out: the system's estimate, which counts
// cached files as free, or less where a control group has a limit. The largest number where the
// system does not say.
uint64_t available_memory();

// Bytes of this process that are in memory now, mapped files included; 0 where the system does not
// say.
uint64_t resident_memory();

// What may be taken for something that is to be held in memory.
struct MemoryBudget {
  uint64_t bytes = 0;      // there are for it
  bool limited = false;    // whether the user set a limit, and not the system
  uint64_t overdrawn = 0;  // what other things take beyond the limit already: then bytes is 0

  // By how much the limit would have to rise for `wanted` bytes, more than there are.
  uint64_t missing_for(uint64_t wanted) const {
    const uint64_t more = wanted - bytes;
    return more > UINT64_MAX - overdrawn ? UINT64_MAX : more + overdrawn;
  }
};

// Bytes for people: "57.6 GB", "250 kB", three digits at most; units are powers of 1000.
std::string memory_text(uint64_t bytes);

// The value of the line "name: 123 kB" of a file like /proc/meminfo, in bytes.
std::optional<uint64_t> kilobytes_line(std::string_view text, std::string_view name);

// What a control group leaves of its limit: `max` is the text of memory.max ("max" or a number),
// `current` of memory.current, `stat` of memory.stat, whose cached files count as free. Nothing
// without a limit.
std::optional<uint64_t> room_in_cgroup(std::string_view max, std::string_view current,
                                       std::string_view stat);

}  // namespace msa
