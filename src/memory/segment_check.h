// Reads a segment back and compares it with its checksums. Private to memory/.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "memory/segment.h"

namespace msa {

// Segment::problems() of a segment of this shape, in pieces of some megabytes. A stop request ends
// it before the next piece: what it returns then is not all, and may be nothing.
std::vector<std::string> segment_problems(const Segment& segment, const SegmentShape& shape,
                                          const std::function<void(uint64_t bytes)>& progress,
                                          const std::stop_token& stop);

}  // namespace msa
