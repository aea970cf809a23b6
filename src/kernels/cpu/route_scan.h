// The routing scan: one pass over all keys, a tile at a time, from scores to the best documents.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "kernels/cpu/document_walk.h"
#include "kernels/cpu/folded_queries.h"
#include "kernels/cpu/huge_buffer.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/tile_matmul.h"
#include "kernels/route.h"

namespace msa::cpu {

// How keys in bf16 are multiplied with more queries than a few.
enum class Bf16Tiles {
  widened,  // in float32
  native,   // tile_product() of bf16
  library,  // TileMatmul, where the shape suits it; faster where the processor has AMX
};

// One caller at a time.
class RouteScan {
 public:
  RouteScan(int threads, Bf16Tiles bf16_tiles) : threads_(threads), bf16_tiles_(bf16_tiles) {}

  // As Backend::route.
  void run(const RouteRule& rule, std::span<const RouteQuery> requests,
           std::span<const KeyBlock> blocks, std::vector<std::vector<RouteHit>>& hits);
  // Whether TileMatmul had a part in the last run.
  bool took_library() const { return took_library_; }

 private:
  // How keys of some dtype are multiplied with the queries.
  enum class Method {
    dots,           // few queries: dot_scores()
    dots_bf16,      // few queries, in bf16: row_dots()
    tiles_f32,      // tile_product() in float32; bf16 keys are widened, a tile at a time
    tiles_bf16,     // tile_product() in bf16
    tiles_library,  // TileMatmul
  };
  // The queries laid out for a method and dtype, heads one after the other.
  struct Queries {
    Method method = Method::dots;
    size_t head_bytes = 0;
    HugeBuffer memory;
    bool ready = false;
  };
  struct Request {
    size_t k = 0;
    FoldedQueries folded;
    Queries for_f32, for_bf16;
  };
  // Scratch of one thread, and the best documents it has met for each request: heaps with the worst
  // on top.
  struct Worker {
    HugeBuffer memory;
    float *scores = nullptr, *more_scores = nullptr, *chunk_scores = nullptr, *wide_keys = nullptr;
    bf16* whole_tile =
        nullptr;  // the keys of one that is not, where tiles are always multiplied whole
    std::optional<TileMatmul> matmul;
    std::vector<TilePiece> pieces;
    std::vector<DocumentScore> score;  // of the document that a tile's end cuts, per request
    std::vector<std::vector<RouteHit>> best;
  };

  void lay_out(DType keys, const FoldedQueries& folded, Queries& queries) const;
  void choose_tiles(std::span<const KeyBlock> blocks);
  void scan(const KeyBlock& block, uint32_t block_number, Range spans, Worker& worker) const;
  void score_chunks(const Request& request, ConstAnyMat keys, Worker& worker) const;

  int threads_;
  Bf16Tiles bf16_tiles_;

  // Of the call that runs; what is beyond requests_count_ is memory kept for later ones.
  RouteRule rule_;
  std::vector<Request> requests_;
  size_t request_count_ = 0;
  BlockRows rows_;
  bool took_library_ = false;
  size_t tile_rows_ = 0;
  std::vector<Worker> workers_;
};

}  // namespace msa::cpu
