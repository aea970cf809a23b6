// A memory of one encoded batch, for tests that need no files.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "memory/snapshot.h"
#include "model/encoder.h"

namespace msa {

// Documents are numbered from 0. The batch must outlive the snapshot.
inline std::shared_ptr<const Snapshot> snapshot_of_batch(const EncodedBatch& batch,
                                                         const std::vector<int>& router_layers) {
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->router_layers = router_layers;
  SegmentView& segment = snapshot->segments.emplace_back();
  for (size_t i = 0; i < batch.layers.size(); ++i)
    segment.layers.push_back(
        {batch.keys(i),
         {batch.layers[i].content.data(), batch.dtype, batch.total_chunks, 2 * batch.kv_width}});
  auto spans = std::make_shared<std::vector<DocumentSpan>>();
  uint32_t first = 0;
  for (uint32_t n = 0; n < batch.chunks.size(); ++n) {
    spans->push_back({n, first, batch.chunks[n]});
    first += batch.chunks[n];
  }
  segment.documents = *spans;
  snapshot->keep_alive = std::move(spans);
  snapshot->documents = batch.chunks.size();
  snapshot->chunks = batch.total_chunks;
  return snapshot;
}

}  // namespace msa
