// The routing scan: one pass over all keys, a tile at a time, from scores to the best documents.
#pragma once

#include <span>
#include <vector>

#include "kernels/cpu/document_walk.h"
#include "kernels/cpu/folded_queries.h"
#include "kernels/cpu/huge_buffer.h"
#include "kernels/cpu/parallel.h"
#include "kernels/route.h"

namespace msa::cpu {

// One caller at a time.
class RouteScan {
 public:
  // native_bf16: whether tile_product() of bf16 is to be used; else bf16 keys are widened.
  RouteScan(int threads, bool native_bf16) : threads_(threads), native_bf16_(native_bf16) {}

  // As Backend::route.
  void run(const RouteRule& rule, std::span<const RouteQuery> requests,
           std::span<const KeyBlock> blocks, std::vector<std::vector<RouteHit>>& hits);

 private:
  // How keys of some dtype are multiplied with the queries.
  enum class Method {
    dots,        // few queries: dot_scores()
    dots_bf16,   // few queries, in bf16: row_dots()
    tiles_f32,   // tile_product() in float32; bf16 keys are widened, a tile at a time
    tiles_bf16,  // tile_product() in bf16
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
    std::vector<TilePiece> pieces;
    std::vector<DocumentScore> score;  // of the document that a tile's end cuts, per request
    std::vector<std::vector<RouteHit>> best;
  };

  void lay_out(DType keys, const FoldedQueries& folded, Queries& queries) const;
  void scan(const KeyBlock& block, uint32_t block_number, Range spans, Worker& worker) const;
  void score_chunks(const Request& request, ConstAnyMat keys, Worker& worker) const;

  int threads_;
  bool native_bf16_;

  // Of the call that runs; what is beyond requests_count_ is memory kept for later ones.
  RouteRule rule_;
  std::vector<Request> requests_;
  size_t request_count_ = 0;
  BlockRows rows_;
  std::vector<Worker> workers_;
};

}  // namespace msa::cpu
