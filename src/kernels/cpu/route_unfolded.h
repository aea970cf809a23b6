// Routing in the form in which it is published, for comparison: every head's score with every chunk
// is computed and stored, then reduced in separate passes.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "kernels/route.h"

namespace msa {

// Each step by fast means: oneDNN's batched product of all heads with a tile of keys, reductions
// shared out to the threads. One caller at a time.
class UnfoldedRoute {
 public:
  // scratch_bytes: for scores [H, M, chunks of a tile] f32; the tiles are as long as it allows.
  explicit UnfoldedRoute(int threads, size_t scratch_bytes = size_t{1} << 30);
  ~UnfoldedRoute();

  // As Backend::route. The keys of all blocks are of one dtype, bf16 only where oneDNN multiplies
  // bf16; false where oneDNN has no such product.
  bool run(const RouteRule& rule, MatView<const float> router_q, std::span<const KeyBlock> blocks,
           size_t k, std::vector<RouteHit>& hits);
  // The most scratch used by a call so far, in bytes.
  size_t peak_scratch_bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace msa
