// The routing queries of one request as 8-bit integers, each head of a query with its own scale.
#pragma once

#include <cstddef>
#include <vector>

#include "kernels/compressed_keys.h"
#include "kernels/cpu/folded_queries.h"
#include "kernels/cpu/huge_buffer.h"
#include "kernels/cpu/integer_dots.h"

namespace msa::cpu {

class RoundedQueries {
 public:
  // native: whether integer_row_dots() and integer_tile_product() are to be used.
  void round(const RouteRule& rule, MatView<const float> router_q, bool native);

  // Of those below, after the folding.
  size_t count() const { return folded_.count(); }
  // scores [rows, 64] of the queries first .. first+63 (first a multiple of 64) with all heads of
  // the keys, reduced over heads. more [rows, 64]: scratch.
  void multiply(IntegerKeys keys, size_t first, float* scores, float* more) const;

  // How far a score may be off for a row of `keys` whose scales are [G]: bound() always holds;
  // where errors of single values are independent, deviation() is a standard deviation of the sum.
  // Of all queries of the request, reduced by any rule.
  class Error {
   public:
    Error(const RoundedQueries& queries, const CompressedKeys& keys);
    float bound(const bf16* scales) const;
    float deviation(const bf16* scales) const;

   private:
    bool max_;                           // over heads; else they are added
    std::vector<float> bound_, square_;  // [G], times the scale or its square
  };

 private:
  enum class Method { dots, row_dots, tiles };
  struct Head {
    size_t kv_head = 0;
    float norm = 0,
          error = 0;  // highest over the queries: L2 norms of the values, of their rounding
  };
  void lay_out(size_t unit, MatView<const float> values);

  FoldedQueries folded_;
  Method method_ = Method::dots;
  bool max_heads_ = false;
  size_t head_dim_ = 0, padded_ = 0;
  std::vector<Head> heads_;       // in the order of the folded queries' columns
  size_t panel_bytes_ = 0;        // of all heads' integers of 64 queries
  HugeBuffer integers_;           // [panels, heads, ...] as integer_dots.h has it
  std::vector<float> scales_;     // [panels, heads, 64]
  std::vector<int32_t> offsets_;  // [panels, heads, 64]
};

}  // namespace msa::cpu
