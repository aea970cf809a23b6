// Routing queries as they are compared with keys.
#pragma once

#include <cstddef>

#include "base/mat_view.h"
#include "kernels/route.h"

namespace msa::cpu {

// Heads reduced by mean: out [M, G*D], for each key/value head the sum over its H/G query heads of
// the normalised (cosine) or scaled (dot) query, divided by H. The dot product of such a row with a
// key is the mean over heads of their scores (docs/architecture.md).
void fold_heads(const RouteRule& rule, MatView<const float> router_q, MatView<float> out);

// Heads reduced by max: out [M, H*D], each head normalised or scaled.
void scale_heads(const RouteRule& rule, MatView<const float> router_q, MatView<float> out);

}  // namespace msa::cpu
