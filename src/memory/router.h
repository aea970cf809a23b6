// Chooses documents for each router layer from a snapshot, and hands their chunks to the model.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "kernels/backend.h"
#include "memory/snapshot.h"
#include "model/context_source.h"
#include "msa/result.h"

namespace msa {

struct LayerChoice {
  int layer = 0;
  std::vector<RouteHit> hits;  // best first
};

// One query at a time. Records what it chose, layer by layer, until reset().
class Router : public ContextSource {
 public:
  Router(Backend& backend, std::shared_ptr<const Snapshot> snapshot, RouteRule rule, size_t top_k);

  // An error if `layer` is not one of the snapshot's.
  Result<std::vector<ContextBlock>> select(int layer, MatView<const float> router_q) override;

  const std::vector<LayerChoice>& choices() const { return choices_; }  // in the order of the calls
  void reset() { choices_.clear(); }
  size_t top_k() const { return top_k_; }

 private:
  Backend& backend_;
  std::shared_ptr<const Snapshot> snapshot_;
  RouteRule rule_;
  size_t top_k_;
  std::vector<std::vector<KeyBlock>> blocks_;  // per router layer
  std::vector<LayerChoice> choices_;
};

// An overall ranking over layers: documents by the number of layers that chose them, then by mean
// score over those layers, then by number.
struct RankedDocument {
  uint32_t number = 0;
  float score = 0;  // share of layers, plus the mean score squeezed below one layer's worth
};
std::vector<RankedDocument> rank_documents(std::span<const LayerChoice> choices);

}  // namespace msa
