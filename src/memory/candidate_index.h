// What the router asks of an index for approximate routing: which chunks are near to a question.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/mat_view.h"
#include "kernels/route.h"
#include "memory/snapshot.h"
#include "msa/result.h"

namespace msa {

// Whether a document's score under this rule is the largest inner product of a folded query (one
// per routing token, in which the query heads of a key/value head are summed) with a chunk's key.
// Only then an index of keys can find the best documents.
constexpr bool is_inner_product(const RouteRule& rule) {
  return rule.heads == RouteRule::Heads::mean && rule.tokens == RouteRule::Tokens::max &&
         rule.chunks == RouteRule::Chunks::max;
}

// A chunk that an index holds for near.
struct NearChunk {
  uint32_t segment = 0;  // the index's number of it
  uint32_t row = 0;      // in the segment
  float score = 0;       // approximately the inner product times a factor, one for all chunks
};

// One caller at a time.
class CandidateIndex {
 public:
  virtual ~CandidateIndex() = default;
  // The index's number of this segment; nothing if it is not in the index or not as it was then.
  // Documents of such segments are scanned.
  virtual std::optional<uint32_t> number_of(const SegmentView& segment) const = 0;
  virtual size_t segments() const = 0;
  // The chunks of router layer `layer` (0 is the first) that are nearest to folded queries [M,
  // G*D], which are finite: as a rule so many that `k` documents can be chosen. A chunk may be
  // there once for each query. Chunks of documents that have been removed since may be among them,
  // or be all there is.
  virtual Result<std::vector<NearChunk>> search(size_t layer, MatView<const float> folded,
                                                size_t k) = 0;
  // How many documents of those chunks are to be scored with the keys in full, at most, for `k`.
  virtual size_t candidates(size_t layer, size_t k) const = 0;
};

}  // namespace msa
