// Chooses documents for each router layer from a snapshot, and hands their chunks to the model.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "kernels/backend.h"
#include "memory/candidate_index.h"
#include "memory/snapshot.h"
#include "model/context_source.h"
#include "msa/result.h"

namespace msa {

struct LayerChoice {
  int layer = 0;
  std::vector<RouteHit> hits;  // best first
  // With compressed keys or an index: how many documents were scored again with the keys in full,
  // how many chunks these have, and whether they certainly were enough (RouteCandidates).
  size_t rescored = 0, rescored_chunks = 0;
  bool certain = true;
};

// What becomes of a request for which an index finds fewer documents than are wanted, though it
// knows more: it looks into a few lists only, and much of what is there may have been removed.
enum class TooFewFound {
  taken,    // those that it finds, for measuring the index
  scanned,  // those that a router without it finds
};

// One query at a time. Records what it chose, layer by layer, until reset().
class Router : public ContextSource {
 public:
  // With an index, which needs a rule that is_inner_product(), documents of the segments it knows
  // are those that it finds; others are scanned.
  Router(Backend& backend, std::shared_ptr<const Snapshot> snapshot, RouteRule rule, size_t top_k,
         std::shared_ptr<CandidateIndex> index = nullptr, TooFewFound too_few = TooFewFound::taken);

  // An error if `layer` is not one of the snapshot's. What was chosen is on its way from the disk
  // when this returns. Content that is stored as int8 comes in the type of the routing keys.
  Result<std::vector<ContextBlock>> select(int layer, MatView<const float> router_q) override;

  // What select() would choose for each of several requests, in one pass over the keys. Nothing is
  // recorded. Requests may have any number of tokens, also none.
  Result<std::vector<LayerChoice>> choose(int layer, std::span<const RouteQuery> requests);

  // Documents, ascending numbers, that select() passes over until this is called again.
  void pass_over(std::vector<uint32_t> numbers) { passed_over_ = std::move(numbers); }

  const std::vector<LayerChoice>& choices() const { return choices_; }  // in the order of the calls
  void reset() { choices_.clear(); }
  size_t top_k() const { return top_k_; }

 private:
  Result<size_t> index_of(int layer) const;
  void know_index();
  // Without the index: by compressed keys, where there are some.
  void choose_by_scan(size_t layer, std::span<const KeyBlock> blocks,
                      std::span<const CompressedBlock> compressed,
                      std::span<const RouteQuery> requests, std::span<LayerChoice*> choices);
  void choose_in_full(std::span<const KeyBlock> blocks, std::span<const RouteQuery> requests,
                      std::span<LayerChoice*> choices);
  void choose_compressed(size_t layer, std::span<const CompressedBlock> blocks,
                         std::span<const RouteQuery> requests, std::span<LayerChoice*> choices);
  Result<void> choose_by_index(size_t layer, std::span<const RouteQuery> requests,
                               std::span<LayerChoice*> choices);
  std::vector<RouteHit> documents_of(size_t layer, std::span<const NearChunk> chunks,
                                     size_t most) const;
  void score_again(size_t layer, const RouteQuery& request, RouteCandidates candidates,
                   LayerChoice& choice);
  std::vector<RouteHit> scores_in_full(size_t layer, const RouteQuery& request,
                                       std::vector<RouteHit> documents, LayerChoice& choice);
  void fetch_content(size_t layer, std::span<const RouteHit> hits) const;
  std::vector<ConstAnyMat> content_of(size_t layer, std::span<const RouteHit> hits);

  Backend& backend_;
  std::shared_ptr<const Snapshot> snapshot_;
  RouteRule rule_;
  size_t top_k_;
  std::vector<std::vector<KeyBlock>> blocks_;             // per router layer
  std::vector<std::vector<CompressedBlock>> compressed_;  // per router layer; empty: in full
  std::shared_ptr<CandidateIndex> index_;  // only if it knows a segment of the snapshot
  std::vector<int64_t> block_of_;          // by the index's number of a segment; -1: gone
  // As blocks_ and compressed_, without the documents that the index searches.
  std::vector<std::vector<KeyBlock>> unindexed_;
  std::vector<std::vector<CompressedBlock>> unindexed_compressed_;
  bool all_indexed_ = false;      // there are none
  size_t indexed_documents_ = 0;  // live ones, of the segments that the index knows
  TooFewFound too_few_;
  std::vector<uint32_t> passed_over_;  // ascending
  std::vector<LayerChoice> choices_;
  AlignedBuffer<std::byte> widened_;  // what content_of() made of int8
};

// An overall ranking over layers: documents by the number of layers that chose them, then by mean
// score over those layers, then by number.
struct RankedDocument {
  uint32_t number = 0;
  float score = 0;  // share of layers, plus the mean score squeezed below one layer's worth
};
std::vector<RankedDocument> rank_documents(std::span<const LayerChoice> choices);

}  // namespace msa
