#include "memory/router.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "base/page_advice.h"
#include "kernels/int8_rows.h"

namespace msa {
namespace {

bool all_finite(MatView<const float> m) {
  for (size_t r = 0; r < m.rows; ++r)
    for (const float value : m.row(r))
      if (!std::isfinite(value)) return false;
  return true;
}

void fetch_rows(const ConstAnyMat& rows) {
  fetch_ahead({rows.data, rows.rows * rows.stride * size_of(rows.dtype)});
}

bool is_int8(const SegmentLayer& layer) {
  return layer.content_int8.heads > 0;
}

}  // namespace

Router::Router(Backend& backend, std::shared_ptr<const Snapshot> snapshot, RouteRule rule,
               size_t top_k)
    : backend_(backend), snapshot_(std::move(snapshot)), rule_(rule), top_k_(top_k) {
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
  // Bounds on the error of compressed keys hold for finite queries only.
  std::vector<RouteQuery> in_full, compressed;
  std::vector<LayerChoice*> of_full, of_compressed;
  for (size_t r = 0; r < requests.size(); ++r) {
    assert(requests[r].router_q.cols == rule_.query_heads * rule_.head_dim);
    choices[r].layer = layer;
    if (requests[r].router_q.rows == 0 || requests[r].k == 0 || snapshot_->documents == 0) continue;
    const bool full = compressed_[l].empty() || !all_finite(requests[r].router_q);
    (full ? in_full : compressed).push_back(requests[r]);
    (full ? of_full : of_compressed).push_back(&choices[r]);
  }
  if (!in_full.empty()) choose_in_full(l, in_full, of_full);
  if (!compressed.empty()) choose_compressed(l, compressed, of_compressed);
  for (const LayerChoice& choice : choices) fetch_content(l, choice.hits);
  return choices;
}

void Router::choose_in_full(size_t l, std::span<const RouteQuery> requests,
                            std::span<LayerChoice*> choices) {
  std::vector<std::vector<RouteHit>> hits;
  backend_.route(rule_, requests, blocks_[l], hits);
  for (size_t r = 0; r < requests.size(); ++r) choices[r]->hits = std::move(hits[r]);
}

void Router::choose_compressed(size_t l, std::span<const RouteQuery> requests,
                               std::span<LayerChoice*> choices) {
  std::vector<RouteCandidates> found;
  backend_.route_candidates(rule_, requests, compressed_[l], found);
  for (size_t r = 0; r < requests.size(); ++r) {
    choices[r]->rescored = found[r].documents.size();
    choices[r]->certain = found[r].certain;
    score_again(l, requests[r], found[r].documents, choices[r]->hits);
  }
}

void Router::score_again(size_t l, const RouteQuery& request, std::vector<RouteHit>& candidates,
                         std::vector<RouteHit>& hits) {
  // The likely winners' content is read from the disk while the candidates are scored.
  const size_t k = std::min(request.k, candidates.size());
  std::partial_sort(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(k),
                    candidates.end(), ranks_before);
  fetch_content(l, std::span(candidates).first(k));

  // Each candidate is a block of its own: no row between them is read.
  std::sort(candidates.begin(), candidates.end(), [](const RouteHit& a, const RouteHit& b) {
    return a.block != b.block ? a.block < b.block : a.span < b.span;
  });
  std::vector<DocumentSpan> spans;
  std::vector<KeyBlock> blocks;
  spans.reserve(candidates.size());
  blocks.reserve(candidates.size());
  for (const RouteHit& candidate : candidates) {
    const KeyBlock& block = blocks_[l][candidate.block];
    const DocumentSpan& span = block.documents[candidate.span];
    spans.push_back({span.number, 0, span.chunks});
    blocks.push_back({block.keys.slice_rows(span.first_chunk, span.chunks),
                      std::span<const DocumentSpan>(&spans.back(), 1)});
    fetch_rows(blocks.back().keys);
  }
  backend_.route(rule_, request.router_q, blocks, request.k, hits);
  for (RouteHit& hit : hits) {
    const RouteHit& candidate = candidates[hit.block];
    hit.block = candidate.block;
    hit.span = candidate.span;
  }
}

void Router::fetch_content(size_t l, std::span<const RouteHit> hits) const {
  for (const RouteHit& hit : hits) {
    const SegmentLayer& layer = snapshot_->segments[hit.block].layers[l];
    const DocumentSpan& span = blocks_[l][hit.block].documents[hit.span];
    if (is_int8(layer))
      fetch_ahead(layer.content_int8.slice_rows(span.first_chunk, span.chunks).bytes());
    else
      fetch_rows(layer.content.slice_rows(span.first_chunk, span.chunks));
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
  const RouteQuery request[] = {{router_q, top_k_}};
  MSA_ASSIGN(std::vector<LayerChoice> chosen, choose(layer, request));
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
