#include "kernels/cpu/route_scan.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "kernels/cpu/fold.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/score.h"
#include "kernels/cpu/tile_product.h"

namespace msa::cpu {
namespace {

// Keys per tile: with G*D = 1024 in bf16 they take 96 KiB and their scores 12 KiB, which leaves the
// rest of a core's cache to the queries. A multiple of the rows that tile products take at once.
constexpr size_t kTileRows = 48;
// Pieces of work per thread: enough to even out what threads lose to other programs.
constexpr size_t kPiecesPerThread = 16;
constexpr size_t kFewestRowsPerPiece = 512;
// Up to here float32 queries keep up with memory; more are rounded to bf16 where that is faster.
constexpr size_t kDotQueriesBesideBf16 = 2;

// Which query head's key/value head, as columns of the keys.
size_t column_of(const RouteRule& rule, size_t head) {
  return head / (rule.query_heads / rule.kv_heads) * rule.head_dim;
}

void keep_best(const RouteHit& hit, size_t k, std::vector<RouteHit>& best) {
  if (best.size() < k) {
    best.push_back(hit);
    std::push_heap(best.begin(), best.end(), ranks_before);
  } else if (ranks_before(hit, best.front())) {
    std::pop_heap(best.begin(), best.end(), ranks_before);
    best.back() = hit;
    std::push_heap(best.begin(), best.end(), ranks_before);
  }
}

// A document's score from those of its chunks, which arrive in pieces.
class DocumentScore {
 public:
  explicit DocumentScore(RouteRule::Chunks rule) : rule_(rule) {}
  void add(std::span<const float> chunk_scores) {
    for (const float score : chunk_scores) {
      sum_ += score;
      if (count_++ == 0 || !(score <= highest_ || std::isnan(highest_))) highest_ = score;
    }
  }
  uint32_t count() const { return count_; }
  float value() const {
    return rule_ == RouteRule::Chunks::max ? highest_ : static_cast<float>(sum_ / count_);
  }

 private:
  RouteRule::Chunks rule_;
  uint32_t count_ = 0;
  float highest_ = 0;
  double sum_ = 0;
};

}  // namespace

void RouteScan::run(const RouteRule& rule, MatView<const float> router_q,
                    std::span<const KeyBlock> blocks, size_t k, std::vector<RouteHit>& hits) {
  assert(rule.kv_heads > 0 && rule.query_heads % rule.kv_heads == 0);
  assert(router_q.rows >= 1 && router_q.cols == rule.query_heads * rule.head_dim);
  hits.clear();
  first_row_.assign(1, 0);
  size_t documents = 0, cols = rule.kv_heads * rule.head_dim;
  for (const KeyBlock& block : blocks) {
    assert(block.keys.cols == cols);
    first_row_.push_back(first_row_.back() + block.keys.rows);
    documents += block.documents.size();
  }
  k = std::min(k, documents);
  if (k == 0) return;

  rule_ = rule;
  fold(router_q);
  for_f32_.ready = for_bf16_.ready = false;
  for (const KeyBlock& block : blocks)
    lay_out(block.keys.dtype, block.keys.dtype == DType::f32 ? for_f32_ : for_bf16_);

  const size_t rows = first_row_.back(), threads = static_cast<size_t>(threads_);
  const size_t pieces = std::clamp<size_t>(rows / kFewestRowsPerPiece, 1,
                                           threads == 1 ? 1 : threads * kPiecesPerThread);
  workers_.resize(std::max(workers_.size(), threads));
  for (Worker& worker : workers_) {
    worker.best.clear();
    worker.best.reserve(k);
    constexpr size_t kScores = kTileRows * kPanelColumns;
    worker.scores = worker.memory.reserve<float>(2 * kScores + kTileRows * (1 + cols));
    worker.more_scores = worker.scores + kScores;
    worker.wide_keys = worker.more_scores + kScores;
    worker.chunk_scores = worker.wide_keys + kTileRows * cols;
  }
  parallel_units(threads_, pieces, [&](size_t piece, int thread) {
    scan(blocks, part_of(rows, piece, pieces), k, workers_[static_cast<size_t>(thread)]);
  });
  for (const Worker& worker : workers_)
    hits.insert(hits.end(), worker.best.begin(), worker.best.end());
  std::sort(hits.begin(), hits.end(), ranks_before);
  hits.resize(std::min(hits.size(), k));
}

// Everything linear happens here, once, rather than for every chunk: the mean over heads and,
// unless a max over heads stands between, the mean over tokens.
void RouteScan::fold(MatView<const float> router_q) {
  if (rule_.tokens == RouteRule::Tokens::last) router_q = router_q.slice_rows(router_q.rows - 1, 1);
  const bool mean_heads = rule_.heads == RouteRule::Heads::mean;
  heads_ = mean_heads ? 1 : rule_.query_heads;
  head_width_ = mean_heads ? rule_.kv_heads * rule_.head_dim : rule_.head_dim;
  queries_ = router_q.rows;
  const size_t width = heads_ * head_width_;
  const MatView<float> folded(folded_.reserve<float>(queries_ * width), queries_, width);
  if (!mean_heads) return scale_heads(rule_, router_q, folded);
  fold_heads(rule_, router_q, folded);
  if (rule_.tokens == RouteRule::Tokens::mean) {
    for (size_t t = 1; t < queries_; ++t)
      for (size_t i = 0; i < width; ++i) folded.data[i] += folded.row(t)[i];
    for (size_t i = 0; i < width; ++i) folded.data[i] /= static_cast<float>(queries_);
    queries_ = 1;
  }
}

void RouteScan::lay_out(DType keys, Queries& queries) {
  if (queries.ready) return;
  queries.ready = true;
  const bool bf16_tiles = keys == DType::bf16 && native_bf16_ && head_width_ % 2 == 0;
  queries.method = bf16_tiles ? Method::tiles_bf16 : Method::tiles_f32;
  if (queries_ <= (bf16_tiles ? kDotQueriesBesideBf16 : kDotQueries))
    queries.method = Method::dots;
  else if (bf16_tiles && queries_ <= kRowDots && head_width_ % 32 == 0)
    queries.method = Method::dots_bf16;
  const bool split = queries.method == Method::dots && keys == DType::bf16;
  const bool tiles = queries.method == Method::tiles_f32 || queries.method == Method::tiles_bf16;
  const bool rounded_queries =
      queries.method == Method::tiles_bf16 || queries.method == Method::dots_bf16;
  const size_t elements = tiles   ? packed_size(head_width_, queries_)
                          : split ? queries_ * split_stride(head_width_)
                                  : queries_ * head_width_;
  queries.head_bytes = elements * size_of(rounded_queries ? DType::bf16 : DType::f32);
  auto* memory = queries.memory.reserve<std::byte>(heads_ * queries.head_bytes);
  const MatView<float> folded(reinterpret_cast<float*>(folded_.data()), queries_,
                              heads_ * head_width_);
  std::vector<bf16> rounded(queries.method == Method::tiles_bf16 ? kPanelColumns * head_width_ : 0);
  for (size_t h = 0; h < heads_; ++h) {
    const MatView<float> head = folded.slice_cols(h * head_width_, head_width_);
    auto* to = reinterpret_cast<float*>(memory + h * queries.head_bytes);
    if (split) {
      split_pairs(head, to);
    } else if (!tiles) {
      convert_rows(AnyMat(head),
                   AnyMat(memory + h * queries.head_bytes,
                          rounded_queries ? DType::bf16 : DType::f32, queries_, head_width_),
                   Range{0, queries_});
    } else {
      for (size_t first = 0; first < queries_; first += kPanelColumns) {
        const size_t count = std::min(kPanelColumns, queries_ - first);
        const MatView<float> panel = head.slice_rows(first, count);
        if (queries.method == Method::tiles_f32) {
          pack_panel_of_rows(panel.data, panel.stride, count, head_width_,
                             to + first * head_width_);
        } else {
          const MatView<bf16> narrow(rounded.data(), count, head_width_);
          convert_rows(AnyMat(panel), AnyMat(narrow), Range{0, count});
          pack_panel_of_rows(narrow.data, narrow.stride, count, head_width_,
                             reinterpret_cast<bf16*>(to) + first * head_width_);
        }
      }
    }
  }
}

// The documents that begin in rows [rows.begin, rows.end) of all blocks' rows.
void RouteScan::scan(std::span<const KeyBlock> blocks, Range rows, size_t k, Worker& worker) const {
  size_t b = static_cast<size_t>(
      std::upper_bound(first_row_.begin(), first_row_.end(), rows.begin) - first_row_.begin() - 1);
  for (; b < blocks.size() && first_row_[b] < rows.end; ++b) {
    const auto& documents = blocks[b].documents;
    const auto first_from = [&](uint64_t row) {
      const uint64_t chunk = row > first_row_[b] ? row - first_row_[b] : 0;
      return static_cast<size_t>(
          std::lower_bound(documents.begin(), documents.end(), chunk,
                           [](const DocumentSpan& d, uint64_t c) { return d.first_chunk < c; }) -
          documents.begin());
    };
    const Range spans{first_from(rows.begin), first_from(rows.end)};
    if (spans.begin < spans.end)
      scan_documents(blocks[b], static_cast<uint32_t>(b), spans, k, worker);
  }
}

void RouteScan::scan_documents(const KeyBlock& block, uint32_t block_number, Range spans, size_t k,
                               Worker& worker) const {
  const std::span<const DocumentSpan> documents = block.documents;
  const size_t end = documents[spans.end - 1].first_chunk + documents[spans.end - 1].chunks;
  assert(end <= block.keys.rows);
  DocumentScore score(rule_.chunks);
  for (size_t span = spans.begin; span < spans.end;) {
    // Rows of removed documents are scored in vain where they lie within a tile, passed over where
    // a tile would begin.
    const size_t begin = documents[span].first_chunk + score.count();
    const size_t rows = std::min(kTileRows, end - begin);
    score_chunks(block.keys.slice_rows(begin, rows), worker);
    while (span < spans.end) {
      const DocumentSpan& document = documents[span];
      const size_t next = document.first_chunk + score.count();
      if (next >= begin + rows) break;
      const size_t count = std::min<size_t>(document.chunks - score.count(), begin + rows - next);
      score.add({worker.chunk_scores + (next - begin), count});
      if (score.count() < document.chunks) break;
      keep_best({document.number, score.value(), block_number, static_cast<uint32_t>(span)}, k,
                worker.best);
      score = DocumentScore(rule_.chunks);
      ++span;
    }
  }
}

// Scores of up to kTileRows chunks, reduced over heads and tokens, into worker.chunk_scores.
void RouteScan::score_chunks(ConstAnyMat keys, Worker& worker) const {
  const Queries& queries = keys.dtype == DType::f32 ? for_f32_ : for_bf16_;
  const bool mean = rule_.tokens == RouteRule::Tokens::mean;
  const size_t rows = keys.rows;
  if (queries.method == Method::tiles_f32 && keys.dtype == DType::bf16) {
    const MatView<float> wide(worker.wide_keys, rows, keys.cols);
    convert_rows(keys, AnyMat(wide), Range{0, rows});
    keys = ConstAnyMat(AnyMat(wide));
  }
  for (size_t first = 0; first < queries_; first += kPanelColumns) {
    const size_t count = std::min(kPanelColumns, queries_ - first);
    for (size_t h = 0; h < heads_; ++h) {
      const size_t column = heads_ == 1 ? 0 : column_of(rule_, h);
      const ConstAnyMat part = keys.slice_cols(column, head_width_);
      const std::byte* packed = queries.memory.data() + h * queries.head_bytes;
      float* scores = h == 0 ? worker.scores : worker.more_scores;
      switch (queries.method) {
        case Method::dots:
          dot_scores(part, reinterpret_cast<const float*>(packed), count, scores);
          break;
        case Method::dots_bf16:
          row_dots(reinterpret_cast<const bf16*>(part.data), part.stride,
                   reinterpret_cast<const bf16*>(packed), rows, count, head_width_, scores);
          break;
        case Method::tiles_f32:
          tile_product(reinterpret_cast<const float*>(part.data), part.stride,
                       reinterpret_cast<const float*>(packed) + first * head_width_, rows, count,
                       head_width_, scores, kPanelColumns, false);
          break;
        case Method::tiles_bf16:
          tile_product(reinterpret_cast<const bf16*>(part.data), part.stride,
                       reinterpret_cast<const bf16*>(packed) + first * head_width_, rows, count,
                       head_width_, scores, kPanelColumns, false);
          break;
      }
      if (h > 0) max_scores(scores, rows, count, worker.scores);
    }
    if (mean)
      reduce_sum(worker.scores, rows, count, first == 0, worker.chunk_scores);
    else
      reduce_max(worker.scores, rows, count, first == 0, worker.chunk_scores);
  }
  if (mean)
    for (size_t c = 0; c < rows; ++c) worker.chunk_scores[c] /= static_cast<float>(queries_);
}

}  // namespace msa::cpu
