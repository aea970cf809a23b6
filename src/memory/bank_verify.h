// Reads a whole bank back and compares it with its checksums. Private to memory/.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <set>
#include <stop_token>

#include "memory/bank.h"

namespace msa {

// See BankReader::verify(). The ids of segments that are missing, or not as they were written, go
// to `damaged` if there is one; then a segment that cannot be read for a reason outside the bank
// (no permission, no memory, too many open files, a disk that fails) is an error and not a problem,
// since nothing is known of it. On a stop request it ends within some megabytes of reading
// (`cancelled`).
Result<BankReader::Report> verify_bank(const std::filesystem::path& folder,
                                       const BankManifest& manifest, const Catalogue& catalogue,
                                       const std::function<void(uint64_t, uint64_t)>& progress,
                                       std::set<int64_t>* damaged = nullptr,
                                       const std::stop_token& stop = {});

// Opens the segment of a record and compares the two.
Result<Segment> open_segment(const std::filesystem::path& folder, const SegmentRecord& record,
                             const SegmentShape& shape);

}  // namespace msa
