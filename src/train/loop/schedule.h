// The learning rate, and other choices that depend on the step.
#pragma once

#include <cstddef>
#include <cstdint>

#include "train/loop/recipe.h"

namespace msa::train {

// The learning rate of a phase's step `step` (from 0), before which the share `done` of the phase
// was done (steps or tokens, whichever the phase counts).
double learning_rate(const Phase& phase, uint64_t step, double done);

// Share of the phase that is done after `steps` steps and `tokens` tokens of it; at most 1.
double share_done(const Phase& phase, uint64_t steps, uint64_t tokens);

// Which of phase.top_k step `step` of the whole run uses.
size_t drawn_top_k(const Phase& phase, uint64_t seed, uint64_t step);

// Whether step `step` of the whole run includes the positives.
bool drawn_include_positives(const Phase& phase, uint64_t seed, uint64_t step);

}  // namespace msa::train
