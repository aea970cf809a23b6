// The tier of the routing keys: whether a scan reads them in full, where the segments are mapped,
// or in fewer bits, from memory.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string_view>

#include "base/memory_room.h"
#include "kernels/backend.h"
#include "memory/snapshot.h"
#include "msa/result.h"

namespace msa {

enum class KeyChoice {
  automatic,  // the most exact that fits
  full,       // as the segments have them
  int8,
  int4,
};

// Bytes of all routing keys of a memory of `rows` chunks, removed ones included.
struct KeyBytes {
  // The scales of int8 and int4 and the padding of heads included, not that of a segment's last
  // panel of rows.
  uint64_t full = 0, int8 = 0, int4 = 0;
};
// Nothing if the sizes do not fit 64 bits.
std::optional<KeyBytes> key_bytes(uint64_t rows, size_t layers, size_t kv_heads, size_t head_dim,
                                  DType dtype);

// Nothing: in full. What is asked for but does not fit is a `no_space` error that says what would;
// keys in full need no memory of their own, and do without any where no limit was set.
Result<std::optional<KeyFormat>> choose_keys(KeyChoice choice, const KeyBytes& bytes,
                                             const MemoryBudget& budget);

// Holds the keys of a bank's segments for scanning. Segments never change, so what was made of one
// is used by every later snapshot that has it. One caller at a time.
class HeldKeys {
 public:
  HeldKeys(Backend& backend, size_t kv_heads, size_t head_dim, KeyChoice choice,
           MemoryBudget budget)
      : backend_(backend),
        kv_heads_(kv_heads),
        head_dim_(head_dim),
        choice_(choice),
        budget_(budget) {}

  // For later snapshots: what is held beside the keys has grown or shrunk.
  void set_budget(MemoryBudget budget) { budget_ = budget; }

  // `snapshot` with its keys held: the same one, or a copy whose layers have compressed keys and
  // that keeps `snapshot` alive. What is new is read from the segments once, in pieces that do not
  // stay in memory. Keys that the last snapshot had and this one has not are given up first, as
  // soon as no query uses them; an error gives up nothing. Throws std::bad_alloc; what was held
  // before then stays of use.
  Result<std::shared_ptr<const Snapshot>> hold(std::shared_ptr<const Snapshot> snapshot);
  // Whether hold() would return at once what it returned last.
  bool holds(const std::shared_ptr<const Snapshot>& snapshot) const { return snapshot == source_; }

  // Of the last snapshot.
  std::optional<KeyFormat> format() const { return format_; }  // nothing: in full
  uint64_t bytes() const { return bytes_; }                    // of all keys that a scan reads

 private:
  struct SegmentKeys;  // one segment's compressed keys
  std::shared_ptr<const SegmentKeys> compress(const SegmentView& segment, KeyFormat format);

  Backend& backend_;
  size_t kv_heads_, head_dim_;
  KeyChoice choice_;
  MemoryBudget budget_;
  std::shared_ptr<const Snapshot> source_, held_;  // the last snapshot, and what it became
  std::map<int64_t, std::shared_ptr<const SegmentKeys>> segments_;  // by id
  std::optional<KeyFormat> format_;
  uint64_t bytes_ = 0;
};

}  // namespace msa
