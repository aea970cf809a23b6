#include "train/loop/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/random.h"

namespace msa::train {
namespace {

uint64_t hash(uint64_t seed, uint64_t step) {
  uint64_t z = seed ^ (step + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

}  // namespace

double share_done(const Phase& phase, uint64_t steps, uint64_t tokens) {
  const double done = phase.steps > 0
                          ? static_cast<double>(steps) / static_cast<double>(phase.steps)
                          : static_cast<double>(tokens) / static_cast<double>(phase.tokens);
  return std::min(done, 1.0);
}

double learning_rate(const Phase& phase, uint64_t step, double done) {
  const Schedule& schedule = phase.schedule;
  double falling = 1;  // from 1 at the start to final_share at the end
  switch (schedule.kind) {
    case ScheduleKind::constant: break;
    case ScheduleKind::linear: falling = 1 - (1 - schedule.final_share) * done; break;
    case ScheduleKind::cosine:
      falling = schedule.final_share +
                (1 - schedule.final_share) * 0.5 * (1 + std::cos(std::numbers::pi * done));
      break;
  }
  double peak = phase.learning_rate;
  if (step < schedule.warmup_steps)
    peak = phase.start_rate + (phase.learning_rate - phase.start_rate) *
                                  static_cast<double>(step + 1) /
                                  static_cast<double>(schedule.warmup_steps);
  return peak * falling;
}

size_t drawn_top_k(const Phase& phase, uint64_t seed, uint64_t step) {
  return phase.top_k[static_cast<size_t>(hash(seed, step) % phase.top_k.size())];
}

bool drawn_include_positives(const Phase& phase, uint64_t seed, uint64_t step) {
  return Random(seed, step).chance(phase.include_positives);
}

}  // namespace msa::train
