// The tier of the pooled keys and values: whether winners' rows are read where the segments are
// mapped, and may have to come from the disk, or from memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>

#include "base/memory_room.h"
#include "memory/snapshot.h"
#include "msa/result.h"

namespace msa {

// Bytes of memory that the content of all of a snapshot's segments takes, rows of removed documents
// included. Nothing if they do not fit 64 bits.
std::optional<uint64_t> content_bytes(const Snapshot& snapshot);

// Whether these rows of a segment lie in its mapped file, so that they may have to come from the
// disk. Held content does not.
bool is_mapped(const SegmentView& segment, std::span<const std::byte> rows);

// Holds the content of a bank's segments in memory, as it is stored: int8 stays int8. Segments
// never change, so what was copied of one is used by every later snapshot that has it. The memory
// is the host's, whatever the backend. One caller at a time.
class HeldContent {
 public:
  explicit HeldContent(MemoryBudget budget) : budget_(budget) {}

  // What holding `snapshot` takes, as content_bytes(). A `no_space` error if that is more than the
  // budget: it says how much is missing.
  Result<uint64_t> bytes_for(const Snapshot& snapshot) const;

  // Gives up the last snapshot, which keeps what else is held of it, and content that it had and
  // `next` has not, as soon as no query uses them. hold() does so itself: this is for whoever needs
  // the room before that.
  void make_room_for(const Snapshot& next);

  // A copy of `snapshot` whose layers' content is in memory, and that keeps `snapshot` alive; the
  // last one if `snapshot` is that one's. What is new is read from the segments once, in pieces
  // that do not stay in memory twice. Content that the last snapshot had and this one has not is
  // given up first, as soon as no query uses it. Errors are those of bytes_for(). Throws
  // std::bad_alloc; what was held before then stays of use.
  Result<std::shared_ptr<const Snapshot>> hold(std::shared_ptr<const Snapshot> snapshot);

  uint64_t bytes() const { return bytes_; }  // held, of the last snapshot

 private:
  struct SegmentContent;  // one segment's copy
  static std::shared_ptr<const SegmentContent> copy(const SegmentView& segment);

  MemoryBudget budget_;
  std::shared_ptr<const Snapshot> source_, held_;  // the last snapshot, and what it became
  std::map<int64_t, std::shared_ptr<const SegmentContent>> segments_;  // by id
  uint64_t bytes_ = 0;
};

}  // namespace msa
