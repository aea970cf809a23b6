#include "kernels/route.h"

#include <cmath>

namespace msa {

bool ranks_before(const RouteHit& a, const RouteHit& b) {
  const bool a_nan = std::isnan(a.score), b_nan = std::isnan(b.score);
  if (a_nan != b_nan) return b_nan;
  if (!a_nan && a.score != b.score) return a.score > b.score;
  return a.number < b.number;
}

}  // namespace msa
