// Attention in tiles that fit the cache: scores exist for one tile at a time only.
#pragma once

#include <span>
#include <vector>

#include "base/mat_view.h"
#include "kernels/cpu/huge_buffer.h"

namespace msa::cpu {

// One caller at a time.
class Attention {
 public:
  // native_bf16: whether tile_product() of bf16 is to be used; else bf16 is widened to float32.
  Attention(int threads, bool native_bf16) : threads_(threads), native_bf16_(native_bf16) {}

  // As in backend.h.
  void documents(ConstAnyMat q, ConstAnyMat k, ConstAnyMat v, std::span<const uint32_t> starts,
                 size_t kv_heads, size_t head_dim, AnyMat out);
  void context(ConstAnyMat q, ConstAnyMat k, ConstAnyMat v, size_t kv_heads, size_t head_dim,
               AnyMat out);

 private:
  // Queries [first, first + count) of rows [q_first, ..), which see the keys from k_first up to
  // themselves: query i sees seen + i keys.
  struct Block {
    size_t q_first, count, k_first, seen;
  };
  template <class T>
  void run_blocks(ConstAnyMat q, ConstAnyMat k, ConstAnyMat v, size_t kv_heads, size_t head_dim,
                  AnyMat out);
  void few(ConstAnyMat q, ConstAnyMat k, ConstAnyMat v, size_t kv_heads, size_t head_dim,
           AnyMat out);
  void run(ConstAnyMat q, ConstAnyMat k, ConstAnyMat v, size_t kv_heads, size_t head_dim,
           AnyMat out);
  size_t block_queries(size_t queries, size_t kv_heads, size_t group) const;

  int threads_;
  bool native_bf16_;
  std::vector<Block> blocks_;
  HugeBuffer scratch_;  // per thread
};

}  // namespace msa::cpu
