// The routing queries of one request as 8-bit integers, each head of a query with its own scale.
#pragma once

#include <cstddef>
#include <vector>

#include "kernels/compressed_keys.h"
#include "kernels/cpu/folded_queries.h"
#include "kernels/cpu/huge_buffer.h"
#include "kernels/cpu/panel_scores.h"

namespace msa::cpu {

class RoundedQueries {
 public:
  // For keys of `format`. native: for score_panels_native().
  void round(const RouteRule& rule, MatView<const float> router_q, KeyFormat format, bool native);

  size_t count() const { return folded_.count(); }  // of queries, after the folding
  // For score_panels(); valid until the next round().
  PanelQueries panels() const;

  // How far scores may be off for rows of `keys`: bounds() always hold; where errors of single
  // values are independent, deviations() are standard deviations of their sums. Of all queries of
  // the request, reduced by any rule.
  class Error {
   public:
    Error(const RoundedQueries& queries, const CompressedKeys& keys);
    // Of a panel's rows, whose scales are [G, 16]. errors [16]
    void bounds(const bf16* scales, float* errors) const;
    void deviations(const bf16* scales, float* errors) const;

   private:
    bool max_;                           // over heads; else they are added
    std::vector<float> bound_, square_;  // [G], times the scale or its square
  };

 private:
  struct Head {
    size_t kv_head = 0;
    float norm = 0,
          error = 0;  // highest over the queries: L2 norms of the values, of their rounding
  };
  void lay_out(size_t unit, KeyFormat format, MatView<const float> values);

  FoldedQueries folded_;
  bool native_ = false, max_heads_ = false, mean_ = false;
  size_t padded_ = 0;        // values of a head
  std::vector<Head> heads_;  // the units of PanelQueries
  std::vector<uint32_t> kv_heads_;
  HugeBuffer integers_;  // as PanelQueries has them
  std::vector<float> scales_;
  std::vector<int32_t> offsets_;
};

}  // namespace msa::cpu
