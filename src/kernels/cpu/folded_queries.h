// The routing queries of one request, reduced to what has to be multiplied with every key.
#pragma once

#include <cstddef>

#include "base/mat_view.h"
#include "kernels/cpu/huge_buffer.h"
#include "kernels/route.h"

namespace msa::cpu {

// A head is a product of columns of the keys with all queries: reduced by mean all heads fold into
// one of G*D columns, by max each of the H is one of D.
class FoldedQueries {
 public:
  void fold(const RouteRule& rule, MatView<const float> router_q);

  size_t count() const { return count_; }  // of queries, at least 1
  size_t heads() const { return heads_; }
  size_t head_width() const { return head_width_; }
  // [count, head_width]; valid until the next fold().
  MatView<const float> head(size_t h) const {
    const auto* all = reinterpret_cast<const float*>(memory_.data());
    return {all + h * head_width_, count_, head_width_, heads_ * head_width_};
  }
  // The first column of the keys that a head is multiplied with.
  size_t column(size_t h) const { return heads_ == 1 ? 0 : h / group_ * head_width_; }

 private:
  size_t count_ = 0, heads_ = 0, head_width_ = 0, group_ = 1;
  HugeBuffer memory_;
};

}  // namespace msa::cpu
