#include "kernels/cpu/route_scan.h"

#include <algorithm>
#include <cassert>

#include "kernels/cpu/rows.h"
#include "kernels/cpu/score.h"
#include "kernels/cpu/tile_product.h"

namespace msa::cpu {
namespace {

// Keys per tile: with G*D = 1024 in bf16 they take 96 KiB and their scores 12 KiB, which leaves the
// rest of a core's cache to the queries. A multiple of the rows that tile products take at once.
constexpr size_t kTileRows = 48;
// Longer ones where each product is a call of a library; still within a core's cache.
constexpr size_t kLibraryTileRows = 192;
// Up to here float32 queries keep up with memory; more are rounded to bf16 where that is faster.
constexpr size_t kDotQueriesBesideBf16 = 2;

void keep_best(const RouteHit& hit, size_t k, std::vector<RouteHit>& best) {
  if (k == 0) return;
  if (best.size() < k) {
    best.push_back(hit);
    std::push_heap(best.begin(), best.end(), ranks_before);
  } else if (ranks_before(hit, best.front())) {
    std::pop_heap(best.begin(), best.end(), ranks_before);
    best.back() = hit;
    std::push_heap(best.begin(), best.end(), ranks_before);
  }
}

}  // namespace

void RouteScan::run(const RouteRule& rule, std::span<const RouteQuery> requests,
                    std::span<const KeyBlock> blocks, std::vector<std::vector<RouteHit>>& hits) {
  hits.resize(requests.size());
  for (auto& best : hits) best.clear();
  rows_.assign(blocks);
  if (requests.empty() || rows_.documents() == 0) return;

  rule_ = rule;
  const size_t cols = rule.kv_heads * rule.head_dim, threads = static_cast<size_t>(threads_);
  request_count_ = requests.size();
  requests_.resize(std::max(requests_.size(), request_count_));
  for (size_t r = 0; r < request_count_; ++r) {
    Request& request = requests_[r];
    request.k = std::min(requests[r].k, rows_.documents());
    request.folded.fold(rule, requests[r].router_q);
    request.for_f32.ready = request.for_bf16.ready = false;
    for (const KeyBlock& block : blocks) {
      assert(block.keys.cols == cols);
      lay_out(block.keys.dtype, request.folded,
              block.keys.dtype == DType::f32 ? request.for_f32 : request.for_bf16);
    }
  }
  workers_.resize(std::max(workers_.size(), threads));
  choose_tiles(blocks);
  for (Worker& worker : workers_) {
    worker.best.resize(request_count_);
    worker.score.assign(request_count_, DocumentScore());
    for (size_t r = 0; r < request_count_; ++r) {
      worker.best[r].clear();
      worker.best[r].reserve(requests_[r].k);
    }
    const size_t scores = tile_rows_ * kPanelColumns;
    worker.scores = worker.memory.reserve<float>(2 * scores + tile_rows_ * (1 + cols));
    worker.more_scores = worker.scores + scores;
    worker.wide_keys = worker.more_scores + scores;
    worker.whole_tile = reinterpret_cast<bf16*>(worker.wide_keys);
    worker.chunk_scores = worker.wide_keys + tile_rows_ * cols;
  }
  const size_t pieces = rows_.pieces(threads);
  parallel_units(threads_, pieces, [&](size_t piece, int thread) {
    rows_.for_each_part(blocks, part_of(rows_.rows(), piece, pieces), [&](size_t b, Range spans) {
      scan(blocks[b], static_cast<uint32_t>(b), spans, workers_[static_cast<size_t>(thread)]);
    });
  });
  for (size_t r = 0; r < request_count_; ++r) {
    for (const Worker& worker : workers_)
      hits[r].insert(hits[r].end(), worker.best[r].begin(), worker.best[r].end());
    std::sort(hits[r].begin(), hits[r].end(), ranks_before);
    hits[r].resize(std::min(hits[r].size(), requests_[r].k));
  }
}

// Turns to oneDNN's products for requests whose queries are multiplied with whole rows.
void RouteScan::choose_tiles(std::span<const KeyBlock> blocks) {
  took_library_ = false;
  tile_rows_ = kTileRows;
  const size_t cols = rule_.kv_heads * rule_.head_dim;
  const bool dense = std::all_of(blocks.begin(), blocks.end(), [](const KeyBlock& block) {
    return block.keys.dtype == DType::bf16 && block.keys.dense();
  });
  if (bf16_tiles_ != Bf16Tiles::library || !dense || cols % kRowDotInputs != 0) return;
  for (size_t r = 0; r < request_count_; ++r) {
    Queries& queries = requests_[r].for_bf16;
    if (queries.method != Method::tiles_bf16 || requests_[r].folded.heads() > 1) continue;
    const TileMatmul::Shape shape{kLibraryTileRows, cols};
    for (Worker& worker : workers_)
      if (!worker.matmul || worker.matmul->shape() != shape) worker.matmul.emplace(shape);
    if (!workers_.front().matmul->is_fast()) return;
    queries.method = Method::tiles_library;
    took_library_ = true;
    tile_rows_ = kLibraryTileRows;
  }
}

void RouteScan::lay_out(DType keys, const FoldedQueries& folded, Queries& queries) const {
  if (queries.ready) return;
  queries.ready = true;
  const size_t count = folded.count(), width = folded.head_width();
  const bool bf16_tiles =
      keys == DType::bf16 && bf16_tiles_ != Bf16Tiles::widened && width % 2 == 0;
  queries.method = bf16_tiles ? Method::tiles_bf16 : Method::tiles_f32;
  if (count <= (bf16_tiles ? kDotQueriesBesideBf16 : kDotQueries))
    queries.method = Method::dots;
  else if (bf16_tiles && count <= kRowDots && width % kRowDotInputs == 0)
    queries.method = Method::dots_bf16;
  const bool split = queries.method == Method::dots && keys == DType::bf16;
  const bool tiles = queries.method == Method::tiles_f32 || queries.method == Method::tiles_bf16;
  const bool rounded_queries =
      queries.method == Method::tiles_bf16 || queries.method == Method::dots_bf16;
  const size_t elements = tiles   ? packed_size(width, count)
                          : split ? count * split_stride(width)
                                  : count * width;
  queries.head_bytes = elements * size_of(rounded_queries ? DType::bf16 : DType::f32);
  auto* memory = queries.memory.reserve<std::byte>(folded.heads() * queries.head_bytes);
  std::vector<bf16> rounded(rounded_queries ? std::min(count, kPanelColumns) * width : 0);
  for (size_t h = 0; h < folded.heads(); ++h) {
    const MatView<const float> head = folded.head(h);
    auto* to = reinterpret_cast<float*>(memory + h * queries.head_bytes);
    if (split) {
      split_pairs(head, to);
    } else if (queries.method == Method::dots) {
      convert_rows(ConstAnyMat(head), AnyMat(MatView<float>(to, count, width)), Range{0, count});
    } else if (queries.method == Method::dots_bf16) {
      const MatView<bf16> narrow(rounded.data(), count, width);
      convert_rows(ConstAnyMat(head), AnyMat(narrow), Range{0, count});
      pack_dot_queries(narrow, reinterpret_cast<bf16*>(to));
    } else {
      for (size_t first = 0; first < count; first += kPanelColumns) {
        const size_t columns = std::min(kPanelColumns, count - first);
        const MatView<const float> panel = head.slice_rows(first, columns);
        if (queries.method == Method::tiles_f32) {
          pack_panel_of_rows(panel.data, panel.stride, columns, width, to + first * width);
        } else {
          const MatView<bf16> narrow(rounded.data(), columns, width);
          convert_rows(ConstAnyMat(panel), AnyMat(narrow), Range{0, columns});
          pack_panel_of_rows<bf16>(narrow.data, narrow.stride, columns, width,
                                   reinterpret_cast<bf16*>(to) + first * width);
        }
      }
    }
  }
}

void RouteScan::scan(const KeyBlock& block, uint32_t block_number, Range spans,
                     Worker& worker) const {
  walk_tiles(block.documents, spans, tile_rows_, 1, worker.pieces,
             [&](size_t first, size_t rows, std::span<const TilePiece> pieces) {
               for (size_t r = 0; r < request_count_; ++r) {
                 const Request& request = requests_[r];
                 score_chunks(request, block.keys.slice_rows(first, rows), worker);
                 for (const TilePiece& piece : pieces) {
                   DocumentScore& score = worker.score[r];
                   score.add({worker.chunk_scores + piece.offset, piece.count});
                   if (!piece.ends) continue;
                   keep_best({block.documents[piece.span].number, score.value(rule_.chunks),
                              block_number, static_cast<uint32_t>(piece.span)},
                             request.k, worker.best[r]);
                   score = DocumentScore();
                 }
               }
             });
}

// Scores of up to tile_rows_ chunks, reduced over heads and tokens, into worker.chunk_scores.
void RouteScan::score_chunks(const Request& request, ConstAnyMat keys, Worker& worker) const {
  const FoldedQueries& folded = request.folded;
  const Queries& queries = keys.dtype == DType::f32 ? request.for_f32 : request.for_bf16;
  const size_t width = folded.head_width();
  const bool mean = rule_.tokens == RouteRule::Tokens::mean;
  const size_t rows = keys.rows;
  if (queries.method == Method::tiles_f32 && keys.dtype == DType::bf16) {
    const MatView<float> wide(worker.wide_keys, rows, keys.cols);
    convert_rows(keys, AnyMat(wide), Range{0, rows});
    keys = ConstAnyMat(AnyMat(wide));
  } else if (queries.method == Method::tiles_library && rows < tile_rows_) {
    std::copy_n(reinterpret_cast<const bf16*>(keys.data), rows * keys.cols, worker.whole_tile);
    keys = ConstAnyMat(AnyMat(MatView<bf16>(worker.whole_tile, rows, keys.cols)));
  }
  for (size_t first = 0; first < folded.count(); first += kPanelColumns) {
    const size_t count = std::min(kPanelColumns, folded.count() - first);
    for (size_t h = 0; h < folded.heads(); ++h) {
      const ConstAnyMat part = keys.slice_cols(folded.column(h), width);
      const std::byte* packed = queries.memory.data() + h * queries.head_bytes;
      float* scores = h == 0 ? worker.scores : worker.more_scores;
      switch (queries.method) {
        case Method::dots:
          dot_scores(part, reinterpret_cast<const float*>(packed), count, scores);
          break;
        case Method::dots_bf16:
          row_dots(reinterpret_cast<const bf16*>(part.data), part.stride,
                   reinterpret_cast<const bf16*>(packed), rows, count, width, scores);
          break;
        case Method::tiles_f32:
          tile_product(reinterpret_cast<const float*>(part.data), part.stride,
                       reinterpret_cast<const float*>(packed) + first * width, rows, count, width,
                       scores, kPanelColumns, false);
          break;
        case Method::tiles_bf16:
          tile_product(reinterpret_cast<const bf16*>(part.data), part.stride,
                       reinterpret_cast<const bf16*>(packed) + first * width, rows, count, width,
                       scores, kPanelColumns, false);
          break;
        case Method::tiles_library:
          worker.matmul->multiply(reinterpret_cast<const bf16*>(part.data),
                                  reinterpret_cast<const bf16*>(packed) + first * width, scores);
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
    for (size_t c = 0; c < rows; ++c) worker.chunk_scores[c] /= static_cast<float>(folded.count());
}

}  // namespace msa::cpu
