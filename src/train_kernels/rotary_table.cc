#include <algorithm>
#include <cassert>
#include <cmath>

#include "train_kernels/rows.h"

namespace msa::train_kernels {

// A position's angles are those of the one before plus one step, a product of complex numbers;
// every so often they are computed anew, so that rounding stays far below float32.
RotaryTable::RotaryTable(std::span<const int32_t> positions, size_t head_dim, double theta)
    : half_(head_dim / 2) {
  assert(head_dim >= 2 && head_dim % 2 == 0);
  constexpr int64_t kAnew = 64;
  if (positions.empty()) return;
  const auto [lowest, highest] = std::minmax_element(positions.begin(), positions.end());
  lowest_ = *lowest;
  const int64_t count = int64_t{*highest} - lowest_ + 1;
  values_ = AlignedBuffer<float>(static_cast<size_t>(count) * 2 * half_);
  for (size_t i = 0; i < half_; ++i) {
    const double step = std::pow(theta, -static_cast<double>(i) / static_cast<double>(half_));
    const double step_cos = std::cos(step), step_sin = std::sin(step);
    double cosine = 0, sine = 0;
    float* to = values_.data() + i;
    for (int64_t p = 0; p < count; ++p, to += 2 * half_) {
      if (p % kAnew == 0) {
        const double angle = static_cast<double>(lowest_ + p) * step;
        cosine = std::cos(angle);
        sine = std::sin(angle);
      }
      to[0] = static_cast<float>(cosine);
      to[half_] = static_cast<float>(sine);
      const double next = cosine * step_cos - sine * step_sin;
      sine = sine * step_cos + cosine * step_sin;
      cosine = next;
    }
  }
}

}  // namespace msa::train_kernels
