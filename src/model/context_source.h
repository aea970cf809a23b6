// What a router layer asks of a memory. The model declares it, the memory implements it.
#pragma once

#include <cstddef>
#include <vector>

#include "base/mat_view.h"
#include "msa/result.h"

namespace msa {

// Pooled keys and values that the decoder copies between prefix and question.
struct ContextBlock {
  ConstAnyMat keys;    // [rows, G*D] f32 or bf16
  ConstAnyMat values;  // [rows, G*D]
};

class ContextSource {
 public:
  virtual ~ContextSource() = default;
  // The chunks of the k best documents for this layer, in document order. router_q f32 [M, H*D],
  // one row per routing token, in order. The views live until the next call.
  virtual Result<std::vector<ContextBlock>> select(int layer, MatView<const float> router_q) = 0;
};

}  // namespace msa
