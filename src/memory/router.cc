#include "memory/router.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

namespace msa {

Router::Router(Backend& backend, std::shared_ptr<const Snapshot> snapshot, RouteRule rule,
               size_t top_k)
    : backend_(backend), snapshot_(std::move(snapshot)), rule_(rule), top_k_(top_k) {
  blocks_.resize(snapshot_->router_layers.size());
  for (size_t l = 0; l < blocks_.size(); ++l)
    for (const SegmentView& segment : snapshot_->segments)
      // Segments without documents stay in, so that a hit's block is the segment's index.
      blocks_[l].push_back({segment.layers[l].keys, segment.documents});
}

Result<std::vector<ContextBlock>> Router::select(int layer, MatView<const float> router_q) {
  const std::vector<int>& layers = snapshot_->router_layers;
  const auto found = std::find(layers.begin(), layers.end(), layer);
  if (found == layers.end())
    return Error{Code::mismatch,
                 fmt::format("layer {}: the memory holds nothing for it, only for layers {}; use "
                             "the model that the bank was made with",
                             layer, fmt::join(layers, ","))};
  const size_t l = static_cast<size_t>(found - layers.begin());
  const size_t width = rule_.kv_heads * rule_.head_dim;
  for (const KeyBlock& block : blocks_[l])
    if (block.keys.cols != width)
      return Error{
          Code::mismatch,
          fmt::format("layer {}: the memory's routing keys have {} values, the model's {}; "
                      "use the model that the bank was made with",
                      layer, block.keys.cols, width)};
  assert(router_q.cols == rule_.query_heads * rule_.head_dim);

  LayerChoice choice;
  choice.layer = layer;
  if (router_q.rows > 0 && top_k_ > 0 && snapshot_->documents > 0)
    backend_.route(rule_, router_q, blocks_[l], top_k_, choice.hits);

  std::vector<RouteHit> winners = choice.hits;
  std::sort(winners.begin(), winners.end(),
            [](const RouteHit& a, const RouteHit& b) { return a.number < b.number; });
  std::vector<ContextBlock> context;
  context.reserve(winners.size());
  for (const RouteHit& hit : winners) {
    const DocumentSpan& span = blocks_[l][hit.block].documents[hit.span];
    const ConstAnyMat rows =
        snapshot_->segments[hit.block].layers[l].content.slice_rows(span.first_chunk, span.chunks);
    context.push_back({rows.slice_cols(0, width), rows.slice_cols(width, width)});
  }
  choices_.push_back(std::move(choice));
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
