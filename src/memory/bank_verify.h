// Reads a whole bank back and compares it with its checksums. Private to memory/.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include "memory/bank.h"

namespace msa {

// See BankReader::verify().
Result<BankReader::Report> verify_bank(const std::filesystem::path& folder,
                                       const BankManifest& manifest, const Catalogue& catalogue,
                                       const std::function<void(uint64_t, uint64_t)>& progress);

// Opens the segment of a record and compares the two.
Result<Segment> open_segment(const std::filesystem::path& folder, const SegmentRecord& record,
                             const SegmentShape& shape);

}  // namespace msa
