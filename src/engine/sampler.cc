#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace msa {
namespace {

constexpr TokenId kNone = -1;

bool is_allowed(std::span<const uint8_t> allowed, size_t token) {
  return allowed.empty() || (token < allowed.size() && allowed[token] != 0);
}

}  // namespace

Sampler::Sampler(float temperature, float top_p, uint64_t seed)
    : temperature_(temperature), top_p_(top_p), random_(seed) {}

TokenId Sampler::sample(std::span<float> logits, std::span<const uint8_t> allowed) {
  const TokenId best = greedy(logits, allowed);
  if (best == kNone || !(temperature_ > 0)) return best;
  const double peak = logits[static_cast<size_t>(best)];
  // An infinite peak outweighs everything else, or is all there is.
  if (std::isinf(peak)) return best;

  candidates_.clear();
  double mass = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (!is_allowed(allowed, i) || std::isnan(logits[i])) continue;
    const double weight = std::exp((logits[i] - peak) / temperature_);
    if (!(weight > 0)) continue;
    candidates_.push_back({weight, static_cast<TokenId>(i)});
    mass += weight;
  }
  if (top_p_ >= 1) return draw(candidates_, mass);

  // Tokens lighter than this weigh less than 1 - top_p together, so the nucleus is among the rest.
  const double lightest = (1.0 - top_p_) * mass / static_cast<double>(candidates_.size());
  std::erase_if(candidates_, [&](const Candidate& c) { return c.weight < lightest; });

  // The heaviest tokens, one after another, until they weigh top_p: a heap sorts no more of them
  // than that. They gather at the end of the vector.
  const auto lighter = [](const Candidate& a, const Candidate& b) {
    return a.weight != b.weight ? a.weight < b.weight : a.token > b.token;
  };
  std::make_heap(candidates_.begin(), candidates_.end(), lighter);
  const double wanted = top_p_ * mass;
  double gathered = 0;
  auto nucleus = candidates_.end();
  do {
    std::pop_heap(candidates_.begin(), nucleus, lighter);
    gathered += (--nucleus)->weight;
  } while (gathered < wanted && nucleus != candidates_.begin());
  return draw({nucleus, candidates_.end()}, gathered);
}

TokenId Sampler::greedy(std::span<const float> logits, std::span<const uint8_t> allowed) const {
  TokenId best = kNone;
  float best_logit = -std::numeric_limits<float>::infinity();
  for (size_t i = 0; i < logits.size(); ++i) {
    // The first comparison is false for NaN; the second lets -inf win where there is nothing else.
    const bool better = logits[i] > best_logit || (best == kNone && logits[i] == best_logit);
    if (!better || !is_allowed(allowed, i)) continue;
    best = static_cast<TokenId>(i);
    best_logit = logits[i];
  }
  return best;
}

// One candidate, with a probability in proportion to its weight. The generator's top 53 bits make
// the number in [0, 1): the distributions of <random> differ between standard libraries.
TokenId Sampler::draw(std::span<const Candidate> candidates, double mass) {
  const double target = static_cast<double>(random_() >> 11) * 0x1p-53 * mass;
  double passed = 0;
  for (const Candidate& candidate : candidates) {
    passed += candidate.weight;
    if (passed > target) return candidate.token;
  }
  return candidates.back().token;
}

}  // namespace msa
