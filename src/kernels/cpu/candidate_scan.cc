#include "kernels/cpu/candidate_scan.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <functional>
#include <numbers>

#include "kernels/cpu/panel_scores.h"

namespace msa::cpu {
namespace {

// Keys per tile, which several requests look at one after the other: as bytes they take 64 KiB with
// G*D = 1024.
constexpr size_t kTileRows = 4 * kPanelRows;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
// Two rounded scores that are each taken to be off by so many deviations, in opposite directions,
// are as unlikely as one that is off by √2 times as many.
constexpr float kAloneOverBoth = std::numbers::sqrt2_v<float>;

// A score that is no number says nothing about the one in full.
float upper_of(float score, float error) {
  const float upper = score + error;
  return std::isnan(upper) ? kInfinity : upper;
}
float lower_of(float score, float error) {
  const float lower = score - error;
  return std::isnan(lower) ? -kInfinity : lower;
}

}  // namespace

void CandidateScan::Gathering::start(size_t k, size_t most) {
  k_ = k;
  most_ = most;
  least_ = k == 0 ? kInfinity : -kInfinity;
  candidates_.clear();
  candidates_.reserve(2 * most);
  lowers_.clear();
  lowers_.reserve(k);
}

void CandidateScan::Gathering::add(const RouteHit& hit, float error) {
  if (hit.score + error < least_ || k_ == 0) return;  // almost always
  const float upper = upper_of(hit.score, error), lower = lower_of(hit.score, error);
  if (lowers_.size() < k_) {
    lowers_.push_back(lower);
    std::push_heap(lowers_.begin(), lowers_.end(), std::greater<>());
  } else if (lower > lowers_.front()) {
    std::pop_heap(lowers_.begin(), lowers_.end(), std::greater<>());
    lowers_.back() = lower;
    std::push_heap(lowers_.begin(), lowers_.end(), std::greater<>());
  }
  if (lowers_.size() == k_) least_ = lowers_.front();
  candidates_.push_back({hit, upper});
  if (candidates_.size() < 2 * most_) return;
  std::erase_if(candidates_, [&](const Candidate& c) { return c.upper < least_; });
  if (candidates_.size() <= most_ + most_ / 2) return;
  // One more than are kept in the end, so that it is seen there that they were too many.
  const auto kept = candidates_.begin() + static_cast<std::ptrdiff_t>(most_ + 1);
  std::nth_element(candidates_.begin(), kept - 1, candidates_.end(),
                   [](const Candidate& a, const Candidate& b) {
                     return a.upper != b.upper ? a.upper > b.upper : a.hit.number < b.hit.number;
                   });
  candidates_.erase(kept, candidates_.end());
}

void CandidateScan::run(const RouteRule& rule, std::span<const RouteQuery> requests,
                        std::span<const CompressedBlock> blocks,
                        std::vector<RouteCandidates>& found) {
  found.resize(requests.size());
  for (RouteCandidates& candidates : found) {
    candidates.documents.clear();
    candidates.uppers.clear();
    candidates.certain = true;
  }
  rows_.assign(blocks);
  if (requests.empty() || rows_.documents() == 0) return;

  rule_ = rule;
  const auto threads = static_cast<size_t>(threads_);
  const KeyFormat format = blocks.front().keys.format;
  size_t most_queries = 0;
  int4_ = format == KeyFormat::int4;
  request_count_ = requests.size();
  requests_.resize(std::max(requests_.size(), request_count_));
  for (size_t r = 0; r < request_count_; ++r) {
    Request& request = requests_[r];
    request.k = std::min(requests[r].k, rows_.documents());
    request.most = std::min(std::max<size_t>(request.k, 4) * kCandidatesPerHit, rows_.documents());
    request.queries.round(rule, requests[r].router_q, format, native_);
    most_queries = std::max(most_queries, request.queries.count());
    request.errors.clear();
    for (const CompressedBlock& block : blocks) {
      assert(block.keys.kv_heads == rule.kv_heads && block.keys.head_dim == rule.head_dim &&
             block.keys.format == format);
      request.errors.emplace_back(request.queries, block.keys);
    }
  }
  workers_.resize(std::max(workers_.size(), threads));
  for (Worker& worker : workers_) {
    worker.open.assign(request_count_, {});
    worker.gathered.resize(request_count_);
    for (size_t r = 0; r < request_count_; ++r)
      worker.gathered[r].start(requests_[r].k, requests_[r].most);
    worker.totals = worker.memory.reserve<float>(most_queries * kPanelRows + 2 * kTileRows);
    worker.chunk_scores = worker.totals + most_queries * kPanelRows;
    worker.errors = worker.chunk_scores + kTileRows;
  }
  const size_t pieces = rows_.pieces(threads);
  parallel_units(threads_, pieces, [&](size_t piece, int thread) {
    rows_.for_each_part(blocks, part_of(rows_.rows(), piece, pieces), [&](size_t b, Range spans) {
      scan(blocks[b], static_cast<uint32_t>(b), spans, workers_[static_cast<size_t>(thread)]);
    });
  });
  for (size_t r = 0; r < request_count_; ++r) collect(r, found[r]);
}

// What is kept does not depend on which thread met which document: the bounds of all decide, and
// where too many remain, the highest.
void CandidateScan::collect(size_t r, RouteCandidates& found) {
  const Request& request = requests_[r];
  merged_.clear();
  lowers_.clear();
  for (const Worker& worker : workers_) {
    const auto candidates = worker.gathered[r].candidates();
    const auto lowers = worker.gathered[r].lowers();
    merged_.insert(merged_.end(), candidates.begin(), candidates.end());
    lowers_.insert(lowers_.end(), lowers.begin(), lowers.end());
  }
  if (request.k == 0) return;
  const auto kth = lowers_.begin() + static_cast<std::ptrdiff_t>(request.k - 1);
  std::nth_element(lowers_.begin(), kth, lowers_.end(), std::greater<>());
  std::erase_if(merged_, [&](const Candidate& c) { return c.upper < *kth; });
  if (merged_.size() > request.most) {
    found.certain = false;
    const auto kept = merged_.begin() + static_cast<std::ptrdiff_t>(request.most);
    std::nth_element(merged_.begin(), kept - 1, merged_.end(),
                     [](const Candidate& a, const Candidate& b) {
                       return a.upper != b.upper ? a.upper > b.upper : a.hit.number < b.hit.number;
                     });
    merged_.erase(kept, merged_.end());
  }
  for (const Candidate& c : merged_) {
    found.documents.push_back(c.hit);
    found.uppers.push_back(int4_ ? c.hit.score + (c.upper - c.hit.score) * kAloneOverBoth
                                 : c.upper);
  }
}

void CandidateScan::scan(const CompressedBlock& block, uint32_t block_number, Range spans,
                         Worker& worker) const {
  const CompressedKeys& keys = block.keys;
  const size_t G = keys.kv_heads;
  const bool int8 = keys.format == KeyFormat::int8;
  const auto tile = [&](size_t first, size_t rows, std::span<const TilePiece> pieces) {
    const size_t panel = first / kPanelRows;
    const size_t panels = (first + rows + kPanelRows - 1) / kPanelRows - panel;
    // Pieces count from the tile's first row, scores from its first panel's.
    const size_t skipped = first - panel * kPanelRows;
    for (size_t r = 0; r < request_count_; ++r) {
      const Request& request = requests_[r];
      const RoundedQueries::Error& error = request.errors[block_number];
      if (native_)
        score_panels_native(keys, panel, panels, request.queries.panels(), r == 0, worker.totals,
                            worker.chunk_scores);
      else
        score_panels(keys, panel, panels, request.queries.panels(), worker.totals,
                     worker.chunk_scores);
      for (size_t p = 0; p < panels; ++p) {
        const bf16* scales = keys.scales + (panel + p) * G * kPanelRows;
        float* errors = worker.errors + p * kPanelRows;
        if (int8) {
          error.bounds(scales, errors);
        } else {
          error.deviations(scales, errors);
          for (size_t c = 0; c < kPanelRows; ++c) errors[c] *= kInt4Deviations;
        }
      }
      for (const TilePiece& piece : pieces) {
        Open& open = worker.open[r];
        const size_t begin = skipped + piece.offset;
        open.score.add({worker.chunk_scores + begin, piece.count});
        for (size_t c = begin; c < begin + piece.count; ++c)
          open.error = std::max(open.error, worker.errors[c]);
        if (!piece.ends) continue;
        worker.gathered[r].add({block.documents[piece.span].number, open.score.value(rule_.chunks),
                                block_number, static_cast<uint32_t>(piece.span)},
                               open.error);
        open = {};
      }
    }
  };
  walk_tiles(block.documents, spans, kTileRows, kPanelRows, worker.pieces, tile);
}

}  // namespace msa::cpu
