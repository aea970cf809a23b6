// Rewrites segments so that the rows of removed documents are gone. Private to memory/.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <stop_token>

#include "memory/bank.h"
#include "memory/catalogue.h"
#include "memory/segment.h"

namespace msa {

// What a compaction works on: the writer's own, whose lock is held and who has nothing pending.
struct CompactionTarget {
  const std::filesystem::path& folder;
  const SegmentShape& shape;
  Catalogue& catalogue;
  int64_t& next_segment;  // the id of the next segment file; moves on with every attempt
};

// See BankWriter::compact().
Result<CompactionReport> compact_bank(CompactionTarget bank, uint64_t segment_bytes,
                                      const std::function<void(uint64_t, uint64_t)>& progress,
                                      std::stop_token stop);

// Removes the files of segments that compactions replaced, and then their records.
Result<void> remove_retired(const std::filesystem::path& folder, Catalogue& catalogue);

}  // namespace msa
