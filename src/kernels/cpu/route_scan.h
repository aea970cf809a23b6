// The routing scan: one pass over all keys, a tile at a time, from scores to the best documents.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

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
  void run(const RouteRule& rule, MatView<const float> router_q, std::span<const KeyBlock> blocks,
           size_t k, std::vector<RouteHit>& hits);

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
  // Scratch of one thread, and the best documents it has met: a heap with the worst on top.
  struct Worker {
    HugeBuffer memory;
    float *scores = nullptr, *more_scores = nullptr, *chunk_scores = nullptr, *wide_keys = nullptr;
    std::vector<RouteHit> best;
  };

  void fold(MatView<const float> router_q);
  void lay_out(DType keys, Queries& queries);
  void scan(std::span<const KeyBlock> blocks, Range rows, size_t k, Worker& worker) const;
  void scan_documents(const KeyBlock& block, uint32_t block_number, Range spans, size_t k,
                      Worker& worker) const;
  void score_chunks(ConstAnyMat keys, Worker& worker) const;

  int threads_;
  bool native_bf16_;

  // Of the call that runs. A head is a product of columns of the keys with all queries: reduced by
  // mean all heads fold into one of G*D columns, by max each of the H is one of D.
  RouteRule rule_;
  size_t queries_ = 0, heads_ = 0, head_width_ = 0;
  HugeBuffer folded_;  // [queries, heads * head_width] f32
  Queries for_f32_, for_bf16_;
  std::vector<uint64_t> first_row_;  // of each block among the rows of all, and their number
  std::vector<Worker> workers_;
};

}  // namespace msa::cpu
