#include "train/loop/adamw.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <vector>

namespace msa::train {
namespace {

// Elements that one thread takes at a time: small enough to share evenly, large enough to pay.
constexpr size_t kBlock = 16384;

struct Factors {
  float beta1, beta2, rest1, rest2, epsilon, keep, scale, rate, inverse_root_correction2;
};

void update_block(float* values, const float* gradient, float* mean, float* square, size_t count,
                  const Factors& f) {
#pragma omp simd
  for (size_t i = 0; i < count; ++i) {
    const float g = gradient[i] * f.scale;
    const float m = f.beta1 * mean[i] + f.rest1 * g;
    const float v = f.beta2 * square[i] + f.rest2 * g * g;
    mean[i] = m;
    square[i] = v;
    const float denominator = std::sqrt(v) * f.inverse_root_correction2 + f.epsilon;
    values[i] = values[i] * f.keep - f.rate * m / denominator;
  }
}

}  // namespace

void adamw_update(std::span<float> values, std::span<const float> gradient, std::span<float> mean,
                  std::span<float> square, const AdamWStep& step) {
  assert(gradient.size() == values.size() && mean.size() == values.size() &&
         square.size() == values.size());
  const auto count = static_cast<double>(step.update);
  const double correction1 = 1 - std::pow(step.beta1, count);
  const double correction2 = 1 - std::pow(step.beta2, count);
  Factors f;
  f.beta1 = static_cast<float>(step.beta1);
  f.beta2 = static_cast<float>(step.beta2);
  f.rest1 = static_cast<float>(1 - step.beta1);
  f.rest2 = static_cast<float>(1 - step.beta2);
  f.epsilon = static_cast<float>(step.epsilon);
  f.keep = static_cast<float>(1 - step.learning_rate * step.weight_decay);
  f.scale = static_cast<float>(step.gradient_scale);
  f.rate = static_cast<float>(step.learning_rate / correction1);
  f.inverse_root_correction2 = static_cast<float>(1 / std::sqrt(correction2));
  const auto blocks = static_cast<ptrdiff_t>((values.size() + kBlock - 1) / kBlock);
#pragma omp parallel for schedule(static) if (blocks > 4)
  for (ptrdiff_t b = 0; b < blocks; ++b) {
    const size_t first = static_cast<size_t>(b) * kBlock;
    update_block(values.data() + first, gradient.data() + first, mean.data() + first,
                 square.data() + first, std::min(kBlock, values.size() - first), f);
  }
}

double sum_of_squares(std::span<const float> values) {
  const auto blocks = static_cast<ptrdiff_t>((values.size() + kBlock - 1) / kBlock);
  std::vector<double> sums(static_cast<size_t>(blocks));
#pragma omp parallel for schedule(static) if (blocks > 4)
  for (ptrdiff_t b = 0; b < blocks; ++b) {
    const size_t first = static_cast<size_t>(b) * kBlock;
    const float* const from = values.data() + first;
    const size_t count = std::min(kBlock, values.size() - first);
    // Several running sums: additions of one have to wait for each other.
    double lanes[8] = {};
    size_t i = 0;
    for (; i + 8 <= count; i += 8)
      for (size_t lane = 0; lane < 8; ++lane) {
        const double x = from[i + lane];
        lanes[lane] += x * x;
      }
    double sum = 0;
    for (; i < count; ++i) sum += static_cast<double>(from[i]) * static_cast<double>(from[i]);
    for (const double lane : lanes) sum += lane;
    sums[static_cast<size_t>(b)] = sum;
  }
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

}  // namespace msa::train
