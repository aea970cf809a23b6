#include "kernels/cpu/candidate_scan.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <functional>

#include "kernels/cpu/compress.h"
#include "kernels/cpu/score.h"
#include "kernels/cpu/tile_product.h"

namespace msa::cpu {
namespace {

// Keys per tile: as bytes they take 48 KiB with G*D = 1024, their scores 12 KiB. A multiple of the
// rows that tile products take at once.
constexpr size_t kTileRows = 48;
// How far before their use keys are fetched from memory.
constexpr size_t kRowsAhead = 16;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

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
  candidates_.clear();
  candidates_.reserve(2 * most);
  lowers_.clear();
  lowers_.reserve(k);
}

void CandidateScan::Gathering::add(const RouteHit& hit, float error) {
  if (k_ == 0) return;
  const float upper = upper_of(hit.score, error), lower = lower_of(hit.score, error);
  if (lowers_.size() < k_) {
    lowers_.push_back(lower);
    std::push_heap(lowers_.begin(), lowers_.end(), std::greater<>());
  } else if (lower > lowers_.front()) {
    std::pop_heap(lowers_.begin(), lowers_.end(), std::greater<>());
    lowers_.back() = lower;
    std::push_heap(lowers_.begin(), lowers_.end(), std::greater<>());
  }
  const float least = lowers_.size() < k_ ? -kInfinity : lowers_.front();
  if (upper < least) return;
  candidates_.push_back({hit, upper});
  if (candidates_.size() < 2 * most_) return;
  std::erase_if(candidates_, [&](const Candidate& c) { return c.upper < least; });
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
    candidates.certain = true;
  }
  rows_.assign(blocks);
  if (requests.empty() || rows_.documents() == 0) return;

  rule_ = rule;
  const size_t cols = rule.kv_heads * rule.head_dim, threads = static_cast<size_t>(threads_);
  request_count_ = requests.size();
  requests_.resize(std::max(requests_.size(), request_count_));
  for (size_t r = 0; r < request_count_; ++r) {
    Request& request = requests_[r];
    request.k = std::min(requests[r].k, rows_.documents());
    request.most = std::min(std::max<size_t>(request.k, 4) * kCandidatesPerHit, rows_.documents());
    request.queries.round(rule, requests[r].router_q, native_);
    request.errors.clear();
    for (const CompressedBlock& block : blocks) {
      assert(block.keys.kv_heads == rule.kv_heads && block.keys.head_dim == rule.head_dim);
      request.errors.emplace_back(request.queries, block.keys);
    }
  }
  workers_.resize(std::max(workers_.size(), threads));
  for (Worker& worker : workers_) {
    worker.open.assign(request_count_, {});
    worker.gathered.resize(request_count_);
    for (size_t r = 0; r < request_count_; ++r)
      worker.gathered[r].start(requests_[r].k, requests_[r].most);
    constexpr size_t kScores = kTileRows * kPanelColumns;
    worker.scores = worker.memory.reserve<float>(
        2 * kScores + kTileRows + (kTileRows * cols + CompressedKeys::kSlack) / sizeof(float) + 1);
    worker.more_scores = worker.scores + kScores;
    worker.chunk_scores = worker.more_scores + kScores;
    worker.wide = reinterpret_cast<uint8_t*>(worker.chunk_scores + kTileRows);
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
  for (const Candidate& c : merged_) found.documents.push_back(c.hit);
}

void CandidateScan::scan(const CompressedBlock& block, uint32_t block_number, Range spans,
                         Worker& worker) const {
  const CompressedKeys& keys = block.keys;
  const size_t row_bytes = keys.row_bytes(), G = keys.kv_heads;
  const bool wide = keys.format == KeyFormat::int4;
  const auto tile = [&](size_t first, size_t rows, std::span<const TilePiece> pieces) {
    IntegerKeys integers;
    integers.rows = rows;
    integers.scales = keys.scales + first * G;
    integers.scale_stride = G;
    integers.ahead_bytes = row_bytes;
    if (wide) {
      widen_integers(keys, first, rows, worker.wide);
      integers.data = worker.wide;
      integers.stride = keys.width();
      integers.ahead = keys.integers + (first + rows) * row_bytes;
    } else {
      integers.data = keys.integers + first * row_bytes;
      integers.stride = row_bytes;
      integers.ahead = integers.data + kRowsAhead * row_bytes;
    }
    for (size_t r = 0; r < request_count_; ++r) {
      const Request& request = requests_[r];
      const RoundedQueries::Error& error = request.errors[block_number];
      score_chunks(request, integers, worker);
      integers.ahead_bytes = 0;  // the first request has fetched it
      for (const TilePiece& piece : pieces) {
        Open& open = worker.open[r];
        open.score.add({worker.chunk_scores + piece.offset, piece.count});
        for (size_t c = piece.offset; c < piece.offset + piece.count; ++c) {
          const bf16* scales = integers.scales + c * G;
          open.error = std::max(
              open.error, wide ? kInt4Deviations * error.deviation(scales) : error.bound(scales));
        }
        if (!piece.ends) continue;
        worker.gathered[r].add({block.documents[piece.span].number, open.score.value(rule_.chunks),
                                block_number, static_cast<uint32_t>(piece.span)},
                               open.error);
        open = {};
      }
    }
  };
  walk_tiles(block.documents, spans, kTileRows, worker.pieces, tile);
}

// Scores of up to kTileRows chunks, reduced over heads and tokens, into worker.chunk_scores.
void CandidateScan::score_chunks(const Request& request, const IntegerKeys& keys,
                                 Worker& worker) const {
  const bool mean = rule_.tokens == RouteRule::Tokens::mean;
  const size_t queries = request.queries.count();
  IntegerKeys tile = keys;
  for (size_t first = 0; first < queries; first += kPanelColumns) {
    const size_t count = std::min(kPanelColumns, queries - first);
    request.queries.multiply(tile, first, worker.scores, worker.more_scores);
    tile.ahead_bytes = 0;
    if (mean)
      reduce_sum(worker.scores, tile.rows, count, first == 0, worker.chunk_scores);
    else
      reduce_max(worker.scores, tile.rows, count, first == 0, worker.chunk_scores);
  }
  if (mean)
    for (size_t c = 0; c < tile.rows; ++c) worker.chunk_scores[c] /= static_cast<float>(queries);
}

}  // namespace msa::cpu
