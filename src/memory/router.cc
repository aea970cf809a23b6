#include "memory/router.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <utility>

#include "base/page_advice.h"
#include "kernels/cpu/fold.h"
#include "kernels/int8_rows.h"
#include "memory/held_content.h"

namespace msa {
namespace {

bool all_finite(MatView<const float> m) {
  for (size_t r = 0; r < m.rows; ++r)
    for (const float value : m.row(r))
      if (!std::isfinite(value)) return false;
  return true;
}

std::span<const std::byte> bytes_of(const ConstAnyMat& rows) {
  return {rows.data, rows.rows * rows.stride * size_of(rows.dtype)};
}

bool is_int8(const SegmentLayer& layer) {
  return layer.content_int8.heads > 0;
}

}  // namespace

Router::Router(Backend& backend, std::shared_ptr<const Snapshot> snapshot, RouteRule rule,
               size_t top_k, std::shared_ptr<CandidateIndex> index, TooFewFound too_few)
    : backend_(backend),
      snapshot_(std::move(snapshot)),
      rule_(rule),
      top_k_(top_k),
      index_(std::move(index)),
      too_few_(too_few) {
  blocks_.resize(snapshot_->router_layers.size());
  compressed_.resize(blocks_.size());
  for (size_t l = 0; l < blocks_.size(); ++l) {
    for (const SegmentView& segment : snapshot_->segments) {
      // Segments without documents stay in, so that a hit's block is the segment's index.
      const SegmentLayer& layer = segment.layers[l];
      blocks_[l].push_back({layer.keys, segment.documents});
      if (layer.compressed) compressed_[l].push_back({*layer.compressed, segment.documents});
    }
    if (compressed_[l].size() < blocks_[l].size()) compressed_[l].clear();
  }
  if (index_) know_index();
}

void Router::know_index() {
  assert(is_inner_product(rule_));
  block_of_.assign(index_->segments(), -1);
  unindexed_ = blocks_;
  unindexed_compressed_ = compressed_;
  bool known = false;
  all_indexed_ = true;
  for (size_t s = 0; s < snapshot_->segments.size(); ++s) {
    const std::optional<uint32_t> number = index_->number_of(snapshot_->segments[s]);
    if (!number) {
      all_indexed_ = all_indexed_ && snapshot_->segments[s].documents.empty();
      continue;
    }
    known = true;
    block_of_[*number] = static_cast<int64_t>(s);
    indexed_documents_ += snapshot_->segments[s].documents.size();
    for (std::vector<KeyBlock>& blocks : unindexed_) blocks[s].documents = {};
    for (std::vector<CompressedBlock>& blocks : unindexed_compressed_)
      if (!blocks.empty()) blocks[s].documents = {};
  }
  if (!known) index_.reset();
}

Result<size_t> Router::index_of(int layer) const {
  const std::vector<int>& layers = snapshot_->router_layers;
  const auto found = std::find(layers.begin(), layers.end(), layer);
  if (found == layers.end())
    return Error{Code::mismatch,
                 fmt::format("layer {}: the memory holds nothing for it, only for layers {}; use "
                             "the model that the bank was made with",
                             layer, fmt::join(layers, ","))};
  const auto l = static_cast<size_t>(found - layers.begin());
  const size_t width = rule_.kv_heads * rule_.head_dim;
  for (const KeyBlock& block : blocks_[l])
    if (block.keys.cols != width)
      return Error{
          Code::mismatch,
          fmt::format("layer {}: the memory's routing keys have {} values, the model's {}; "
                      "use the model that the bank was made with",
                      layer, block.keys.cols, width)};
  return l;
}

Result<std::vector<LayerChoice>> Router::choose(int layer, std::span<const RouteQuery> requests) {
  MSA_ASSIGN(const size_t l, index_of(layer));
  std::vector<LayerChoice> choices(requests.size());
  // Bounds on the error of compressed keys, and an index, are for finite queries only.
  const bool by_index = index_ != nullptr;
  std::vector<RouteQuery> in_full, others;
  std::vector<LayerChoice*> of_full, of_others;
  for (size_t r = 0; r < requests.size(); ++r) {
    assert(requests[r].router_q.cols == rule_.query_heads * rule_.head_dim);
    choices[r].layer = layer;
    if (requests[r].router_q.rows == 0 || requests[r].k == 0 || snapshot_->documents == 0) continue;
    const bool full = (compressed_[l].empty() && !by_index) || !all_finite(requests[r].router_q);
    (full ? in_full : others).push_back(requests[r]);
    (full ? of_full : of_others).push_back(&choices[r]);
  }
  if (!in_full.empty()) choose_in_full(blocks_[l], in_full, of_full);
  if (!others.empty()) {
    if (by_index)
      MSA_TRY(choose_by_index(l, others, of_others));
    else
      choose_compressed(l, compressed_[l], others, of_others);
  }
  for (const LayerChoice& choice : choices) fetch_content(l, choice.hits);
  return choices;
}

void Router::choose_by_scan(size_t l, std::span<const KeyBlock> blocks,
                            std::span<const CompressedBlock> compressed,
                            std::span<const RouteQuery> requests, std::span<LayerChoice*> choices) {
  if (compressed.empty())
    choose_in_full(blocks, requests, choices);
  else
    choose_compressed(l, compressed, requests, choices);
}

void Router::choose_in_full(std::span<const KeyBlock> blocks, std::span<const RouteQuery> requests,
                            std::span<LayerChoice*> choices) {
  std::vector<std::vector<RouteHit>> hits;
  backend_.route(rule_, requests, blocks, hits);
  for (size_t r = 0; r < requests.size(); ++r) choices[r]->hits = std::move(hits[r]);
}

void Router::choose_compressed(size_t l, std::span<const CompressedBlock> blocks,
                               std::span<const RouteQuery> requests,
                               std::span<LayerChoice*> choices) {
  std::vector<RouteCandidates> found;
  backend_.route_candidates(rule_, requests, blocks, found);
  for (size_t r = 0; r < requests.size(); ++r) {
    choices[r]->certain = found[r].certain;
    score_again(l, requests[r], std::move(found[r]), *choices[r]);
  }
}

Result<void> Router::choose_by_index(size_t l, std::span<const RouteQuery> requests,
                                     std::span<LayerChoice*> choices) {
  std::vector<RouteQuery> found, scanned;
  std::vector<LayerChoice*> of_found, of_scanned;
  std::vector<RouteCandidates> candidates;  // of each of `found`
  std::vector<float> folded;
  for (size_t r = 0; r < requests.size(); ++r) {
    const MatView<const float> router_q = requests[r].router_q;
    folded.resize(router_q.rows * rule_.kv_heads * rule_.head_dim);
    const MatView<float> queries(folded.data(), router_q.rows, rule_.kv_heads * rule_.head_dim);
    cpu::fold_heads(rule_, router_q, queries);
    MSA_ASSIGN(const std::vector<NearChunk> near, index_->search(l, queries, requests[r].k));
    std::vector<RouteHit> documents = documents_of(l, near, index_->candidates(l, requests[r].k));
    if (too_few_ == TooFewFound::scanned &&
        documents.size() < std::min(requests[r].k, indexed_documents_)) {
      scanned.push_back(requests[r]);
      of_scanned.push_back(choices[r]);
      continue;
    }
    found.push_back(requests[r]);
    of_found.push_back(choices[r]);
    // No bound is known, so that none of them is left out.
    std::vector<float> uppers(documents.size(), std::numeric_limits<float>::infinity());
    candidates.push_back({std::move(documents), std::move(uppers), /*certain=*/false});
  }
  if (!scanned.empty()) choose_by_scan(l, blocks_[l], compressed_[l], scanned, of_scanned);
  if (!found.empty() && !all_indexed_)
    choose_by_scan(l, unindexed_[l], unindexed_compressed_[l], found, of_found);
  for (size_t r = 0; r < found.size(); ++r) {
    // What the scan of the other segments found has its exact scores already.
    LayerChoice& choice = *of_found[r];
    const std::vector<RouteHit> others = std::move(choice.hits);
    choice.hits.clear();
    score_again(l, found[r], std::move(candidates[r]), choice);
    choice.hits.insert(choice.hits.end(), others.begin(), others.end());
    std::sort(choice.hits.begin(), choice.hits.end(), ranks_before);
    choice.hits.resize(std::min(choice.hits.size(), found[r].k));
    choice.certain = false;
  }
  return {};
}

// The documents that the best of these chunks belong to, each with its best chunk's score.
std::vector<RouteHit> Router::documents_of(size_t l, std::span<const NearChunk> chunks,
                                           size_t most) const {
  std::vector<RouteHit> documents;
  documents.reserve(chunks.size());
  for (const NearChunk& chunk : chunks) {
    if (chunk.segment >= block_of_.size() || block_of_[chunk.segment] < 0) continue;
    const auto block = static_cast<uint32_t>(block_of_[chunk.segment]);
    const std::span<const DocumentSpan> spans = blocks_[l][block].documents;
    const auto after = std::upper_bound(
        spans.begin(), spans.end(), chunk.row,
        [](uint32_t row, const DocumentSpan& span) { return row < span.first_chunk; });
    if (after == spans.begin()) continue;
    const DocumentSpan& span = *(after - 1);
    if (chunk.row - span.first_chunk >= span.chunks) continue;  // of a removed document
    documents.push_back(
        {span.number, chunk.score, block, static_cast<uint32_t>(after - 1 - spans.begin())});
  }
  std::sort(documents.begin(), documents.end(), [](const RouteHit& a, const RouteHit& b) {
    return a.number != b.number ? a.number < b.number : ranks_before(a, b);
  });
  const auto last =
      std::unique(documents.begin(), documents.end(),
                  [](const RouteHit& a, const RouteHit& b) { return a.number == b.number; });
  documents.erase(last, documents.end());
  if (documents.size() > most) {
    std::nth_element(documents.begin(), documents.begin() + static_cast<std::ptrdiff_t>(most),
                     documents.end(), ranks_before);
    documents.resize(most);
  }
  return documents;
}

// The best k of the candidates, by the keys in full. Those that are likely to be among them come
// first: the k-th of their scores leaves out most of the others, whose bounds are below it.
void Router::score_again(size_t l, const RouteQuery& request, RouteCandidates candidates,
                         LayerChoice& choice) {
  constexpr size_t kFirstPerHit = 4, kFewestFirst = 16;
  std::vector<RouteHit>& documents = candidates.documents;
  if (documents.empty()) return;
  const size_t k = std::min(request.k, documents.size());
  const size_t first =
      std::min(documents.size(),
               std::max(kFewestFirst, std::min(k, SIZE_MAX / kFirstPerHit) * kFirstPerHit));
  std::vector<size_t> order(documents.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(first), order.end(),
                    [&](size_t a, size_t b) { return ranks_before(documents[a], documents[b]); });
  const auto chosen = [&](std::span<const size_t> places) {
    std::vector<RouteHit> of_places;
    of_places.reserve(places.size());
    for (const size_t place : places) of_places.push_back(documents[place]);
    return of_places;
  };
  // The likely winners' content is read from the disk while the candidates are scored.
  fetch_content(l, chosen(std::span(order).first(k)));
  std::vector<RouteHit> hits =
      scores_in_full(l, request, chosen(std::span(order).first(first)), choice);
  if (first < documents.size()) {
    const float least = hits.back().score;  // a score that is no number leaves nothing out
    const auto rest =
        std::remove_if(order.begin() + static_cast<std::ptrdiff_t>(first), order.end(),
                       [&](size_t place) { return candidates.uppers[place] < least; });
    order.erase(rest, order.end());
    const std::vector<RouteHit> more =
        scores_in_full(l, request, chosen(std::span(order).subspan(first)), choice);
    hits.insert(hits.end(), more.begin(), more.end());
    std::sort(hits.begin(), hits.end(), ranks_before);
    hits.resize(k);
  }
  choice.hits = std::move(hits);
}

// The best of these documents by the keys in full, at most request.k of them, best first.
std::vector<RouteHit> Router::scores_in_full(size_t l, const RouteQuery& request,
                                             std::vector<RouteHit> documents, LayerChoice& choice) {
  std::vector<RouteHit> hits;
  if (documents.empty()) return hits;
  choice.rescored += documents.size();
  std::sort(documents.begin(), documents.end(), [](const RouteHit& a, const RouteHit& b) {
    return a.block != b.block ? a.block < b.block : a.span < b.span;
  });
  // Each document is a block of its own: no row between them is read.
  std::vector<DocumentSpan> spans;
  std::vector<KeyBlock> blocks;
  spans.reserve(documents.size());
  blocks.reserve(documents.size());
  for (const RouteHit& document : documents) {
    const KeyBlock& block = blocks_[l][document.block];
    const DocumentSpan& span = block.documents[document.span];
    spans.push_back({span.number, 0, span.chunks});
    choice.rescored_chunks += span.chunks;
    blocks.push_back({block.keys.slice_rows(span.first_chunk, span.chunks),
                      std::span<const DocumentSpan>(&spans.back(), 1)});
    fetch_ahead(bytes_of(blocks.back().keys));
  }
  backend_.route(rule_, request.router_q, blocks, request.k, hits);
  for (RouteHit& hit : hits) {
    const RouteHit& document = documents[hit.block];
    hit.block = document.block;
    hit.span = document.span;
  }
  return hits;
}

void Router::fetch_content(size_t l, std::span<const RouteHit> hits) const {
  for (const RouteHit& hit : hits) {
    const SegmentView& segment = snapshot_->segments[hit.block];
    const SegmentLayer& layer = segment.layers[l];
    const DocumentSpan& span = blocks_[l][hit.block].documents[hit.span];
    const std::span<const std::byte> rows =
        is_int8(layer) ? layer.content_int8.slice_rows(span.first_chunk, span.chunks).bytes()
                       : bytes_of(layer.content.slice_rows(span.first_chunk, span.chunks));
    // What is held in memory is there, and the system need not look through its pages.
    if (is_mapped(segment, rows)) fetch_ahead(rows);
  }
}

// The hits' rows [., 2*G*D], as routing keys are: where they lie, or widened, until the next call.
std::vector<ConstAnyMat> Router::content_of(size_t l, std::span<const RouteHit> hits) {
  const size_t cols = 2 * rule_.kv_heads * rule_.head_dim;
  const auto place = [&](const RouteHit& hit) -> const DocumentSpan& {
    return blocks_[l][hit.block].documents[hit.span];
  };
  const auto layer = [&](const RouteHit& hit) -> const SegmentLayer& {
    return snapshot_->segments[hit.block].layers[l];
  };
  size_t bytes = 0;
  for (const RouteHit& hit : hits)
    if (is_int8(layer(hit))) bytes += place(hit).chunks * cols * size_of(layer(hit).keys.dtype);
  widened_.reserve_discarding(bytes);
  std::vector<ConstAnyMat> content;
  content.reserve(hits.size());
  std::byte* room = widened_.data();
  for (const RouteHit& hit : hits) {
    const size_t first = place(hit).first_chunk, rows = place(hit).chunks;
    if (!is_int8(layer(hit))) {
      content.push_back(layer(hit).content.slice_rows(first, rows));
      continue;
    }
    const AnyMat to(room, layer(hit).keys.dtype, rows, cols);
    from_int8_rows(layer(hit).content_int8.slice_rows(first, rows), to);
    content.push_back(to);
    room += rows * cols * size_of(to.dtype);
  }
  return content;
}

Result<std::vector<ContextBlock>> Router::select(int layer, MatView<const float> router_q) {
  // The best that are left are among as many more as are passed over.
  const RouteQuery request[] = {{router_q, top_k_ + passed_over_.size()}};
  MSA_ASSIGN(std::vector<LayerChoice> chosen, choose(layer, request));
  std::vector<RouteHit>& hits = chosen.front().hits;
  std::erase_if(hits, [&](const RouteHit& hit) {
    return std::binary_search(passed_over_.begin(), passed_over_.end(), hit.number);
  });
  hits.resize(std::min(hits.size(), top_k_));
  MSA_ASSIGN(const size_t l, index_of(layer));
  const size_t width = rule_.kv_heads * rule_.head_dim;
  // The next layer often chooses the same: its content is read while this layer computes.
  if (l + 1 < blocks_.size()) fetch_content(l + 1, chosen.front().hits);

  std::vector<RouteHit> winners = chosen.front().hits;
  std::sort(winners.begin(), winners.end(),
            [](const RouteHit& a, const RouteHit& b) { return a.number < b.number; });
  std::vector<ContextBlock> context;
  context.reserve(winners.size());
  for (const ConstAnyMat& rows : content_of(l, winners))
    context.push_back({rows.slice_cols(0, width), rows.slice_cols(width, width)});
  choices_.push_back(std::move(chosen.front()));
  return context;
}

std::vector<RankedDocument> rank_documents(std::span<const LayerChoice> choices) {
  struct Tally {
    uint32_t number = 0;
    size_t layers = 0;
    double sum = 0;
    // Scores that are no numbers rank below all others.
    double mean() const {
      const double m = sum / static_cast<double>(layers);
      return std::isnan(m) ? -std::numeric_limits<double>::infinity() : m;
    }
  };
  std::map<uint32_t, Tally> by_number;
  for (const LayerChoice& choice : choices)
    for (const RouteHit& hit : choice.hits) {
      Tally& tally = by_number[hit.number];
      tally.number = hit.number;
      ++tally.layers;
      tally.sum += hit.score;
    }
  std::vector<Tally> order;
  order.reserve(by_number.size());
  for (const auto& entry : by_number) order.push_back(entry.second);
  // Stable over ascending numbers: equals stay in that order.
  std::stable_sort(order.begin(), order.end(), [](const Tally& a, const Tally& b) {
    return a.layers != b.layers ? a.layers > b.layers : a.mean() > b.mean();
  });

  // Keeps the mean's part strictly inside one layer's worth, also after rounding to float.
  constexpr double kMargin = 0x1p-14;
  const double total = static_cast<double>(choices.size());
  std::vector<RankedDocument> ranking;
  ranking.reserve(order.size());
  for (const Tally& tally : order) {
    const double mean = tally.mean();
    const double share =
        std::isinf(mean) ? (mean > 0 ? 1 : 0) : (mean / (1 + std::abs(mean)) + 1) / 2;
    const double squeezed = std::clamp(share, kMargin, 1 - kMargin);
    auto score = static_cast<float>((static_cast<double>(tally.layers) + squeezed) / total);
    // Rounding never turns the order around.
    if (!ranking.empty()) score = std::min(score, ranking.back().score);
    ranking.push_back({tally.number, score});
  }
  return ranking;
}

}  // namespace msa
