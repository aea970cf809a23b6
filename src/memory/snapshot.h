// A consistent, read-only view of a memory: what routing scans and what attention reads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/mat_view.h"
#include "kernels/compressed_keys.h"
#include "kernels/int8_rows.h"
#include "kernels/route.h"

namespace msa {

class MappedFile;

// One segment's arrays of one router layer.
struct SegmentLayer {
  ConstAnyMat keys;  // [C, G*D]: routing keys
  ConstAnyMat
      content;  // [C, 2*G*D]: pooled key, then pooled value; empty where content_int8 is not
  // The same keys in fewer bits, if the scan is to read those (memory/held_keys.h).
  std::optional<CompressedKeys> compressed = {};
  Int8Rows content_int8 = {};  // [C, 2*G heads of D]: in place of content, where a bank stores int8
};

struct SegmentView {
  std::vector<SegmentLayer> layers;         // one per router layer, ascending
  std::span<const DocumentSpan> documents;  // live documents, ascending
  int64_t id = 0;                           // in the catalogue; never another segment's
  const MappedFile* file = nullptr;         // that `layers` look at, but for what is held in memory
};

// Everything a query sees. Immutable; `keep_alive` owns what the views look at.
struct Snapshot {
  std::vector<int> router_layers;
  std::vector<SegmentView> segments;
  std::shared_ptr<const void> keep_alive;
  uint64_t documents = 0, chunks = 0;  // live
};

}  // namespace msa
