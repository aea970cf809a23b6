// One AdamW update of one tensor, in a single pass over its memory.
#pragma once

#include <cstdint>
#include <span>

namespace msa::train {

struct AdamWStep {
  double learning_rate = 0;
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8;
  double weight_decay = 0;    // decoupled: values shrink by learning_rate * weight_decay
  double gradient_scale = 1;  // of the gradient, before anything else (clipping)
  uint64_t update = 1;        // from 1: how many updates this makes, for the bias correction
};

// All spans have the same size. values, mean and square are updated; what one element becomes does
// not depend on the number of threads.
void adamw_update(std::span<float> values, std::span<const float> gradient, std::span<float> mean,
                  std::span<float> square, const AdamWStep& step);

// Sum of squares, in double; independent of the number of threads. Not finite if one value is not.
double sum_of_squares(std::span<const float> values);

}  // namespace msa::train
