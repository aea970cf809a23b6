// How a scan goes over the documents of blocks of keys: in tiles of rows that several requests look
// at one after the other, while a document's score is gathered from those of its chunks.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cpu/parallel.h"
#include "kernels/route.h"

namespace msa::cpu {

// A document's score from those of its chunks, which arrive in pieces.
class DocumentScore {
 public:
  void add(std::span<const float> chunk_scores) {
    for (const float score : chunk_scores) {
      sum_ += score;
      if (count_++ == 0 || !(score <= highest_ || std::isnan(highest_))) highest_ = score;
    }
  }
  float value(RouteRule::Chunks rule) const {
    return rule == RouteRule::Chunks::max ? highest_ : static_cast<float>(sum_ / count_);
  }

 private:
  uint32_t count_ = 0;
  float highest_ = 0;
  double sum_ = 0;
};

// The rows of all blocks, one block after the other, cut into parts of similar length. A document
// belongs to the part in which it begins.
class BlockRows {
 public:
  template <class Block>
  void assign(std::span<const Block> blocks) {
    first_row_.assign(1, 0);
    documents_ = 0;
    for (const Block& block : blocks) {
      first_row_.push_back(first_row_.back() + block.keys.rows);
      documents_ += block.documents.size();
    }
  }
  size_t rows() const { return first_row_.back(); }
  size_t documents() const { return documents_; }

  // Enough pieces of work to even out what threads lose to other programs.
  size_t pieces(size_t threads) const {
    constexpr size_t kPiecesPerThread = 16, kFewestRowsPerPiece = 512;
    return std::clamp<size_t>(rows() / kFewestRowsPerPiece, 1,
                              threads == 1 ? 1 : threads * kPiecesPerThread);
  }

  // Calls visit(block number, range of its documents) for the documents that begin in `rows`.
  template <class Block, class Visit>
  void for_each_part(std::span<const Block> blocks, Range rows, const Visit& visit) const {
    size_t b =
        static_cast<size_t>(std::upper_bound(first_row_.begin(), first_row_.end(), rows.begin) -
                            first_row_.begin() - 1);
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
      if (spans.begin < spans.end) visit(b, spans);
    }
  }

 private:
  std::vector<uint64_t> first_row_ = {0};
  size_t documents_ = 0;
};

// Chunks of one document within a tile.
struct TilePiece {
  size_t span = 0;               // the document, of its block
  size_t offset = 0, count = 0;  // rows of the tile
  bool ends = false;             // whether these are the document's last
};

// Calls tile(first row, rows, pieces) until all documents in `spans` were met, in order. Rows of
// removed documents lie in a tile where others surround them; none begins with them. A tile that
// another follows ends before a multiple of `align`, which divides tile_rows.
template <class Tile>
void walk_tiles(std::span<const DocumentSpan> documents, Range spans, size_t tile_rows,
                size_t align, std::vector<TilePiece>& pieces, const Tile& tile) {
  const DocumentSpan& last = documents[spans.end - 1];
  const size_t end = size_t{last.first_chunk} + last.chunks;
  size_t done = 0;  // chunks of the first document that former tiles held
  for (size_t span = spans.begin; span < spans.end;) {
    const size_t begin = documents[span].first_chunk + done;
    const size_t rows = std::min(tile_rows - begin % align, end - begin);
    pieces.clear();
    while (span < spans.end) {
      const DocumentSpan& document = documents[span];
      const size_t next = document.first_chunk + done;
      if (next >= begin + rows) break;
      const size_t count = std::min<size_t>(document.chunks - done, begin + rows - next);
      done += count;
      const bool ends = done == document.chunks;
      pieces.push_back({span, next - begin, count, ends});
      if (!ends) break;
      done = 0;
      ++span;
    }
    tile(begin, rows, pieces);
  }
}

}  // namespace msa::cpu
