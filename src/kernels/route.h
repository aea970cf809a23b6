// Routing: which documents a question's tokens are closest to (paper section 3.2, equations 2 and
// 3).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/mat_view.h"

namespace msa {

// How per-head, per-token, per-chunk scores become one score per document. Reductions happen in
// this order: heads, tokens, chunks.
struct RouteRule {
  enum class Heads { mean, max };
  enum class Tokens { max, mean, last };
  enum class Chunks { max, mean };
  size_t query_heads = 0, kv_heads = 0, head_dim = 0;  // H, G, D
  Heads heads = Heads::mean;
  Tokens tokens = Tokens::max;
  Chunks chunks = Chunks::max;
  bool cosine =
      true;  // L2-normalise each query head (keys are stored normalised); else dot/sqrt(D)
};

// A document's rows in a block of keys.
struct DocumentSpan {
  uint32_t number = 0;       // the document's number in the bank
  uint32_t first_chunk = 0;  // row in the block
  uint32_t chunks = 0;       // at least 1
};

// Routing keys of one layer that lie together, with the documents to be scored. Spans are ascending
// and do not overlap; rows that no span covers belong to removed documents and are not candidates.
struct KeyBlock {
  ConstAnyMat keys;  // [C, G*D] f32 or bf16, 64-byte aligned rows, owned by the bank
  std::span<const DocumentSpan> documents;
};

// A document that was chosen.
struct RouteHit {
  uint32_t number = 0;  // document
  float score = 0;
  uint32_t block = 0;  // index into the blocks
  uint32_t span = 0;   // index into that block's documents
};

// One of several requests that share a pass over the keys.
struct RouteQuery {
  MatView<const float> router_q;  // [M, H*D], M >= 1, as the projection gave it
  size_t k = 0;                   // documents wanted
};

// Whether `a` ranks before `b`: higher score first, equal scores by lower number. NaN ranks last.
bool ranks_before(const RouteHit& a, const RouteHit& b);

}  // namespace msa
