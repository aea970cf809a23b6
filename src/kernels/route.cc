#include "kernels/route.h"

#include <cmath>
#include <utility>

#include "kernels/backend.h"

namespace msa {

bool ranks_before(const RouteHit& a, const RouteHit& b) {
  const bool a_nan = std::isnan(a.score), b_nan = std::isnan(b.score);
  if (a_nan != b_nan) return b_nan;
  if (!a_nan && a.score != b.score) return a.score > b.score;
  return a.number < b.number;
}

void Backend::route(const RouteRule& rule, MatView<const float> router_q,
                    std::span<const KeyBlock> blocks, size_t k, std::vector<RouteHit>& hits) {
  const RouteQuery request[] = {{router_q, k}};
  std::vector<std::vector<RouteHit>> all(1);
  all.front().swap(hits);  // its memory is used again
  route(rule, request, blocks, all);
  hits.swap(all.front());
}

}  // namespace msa
