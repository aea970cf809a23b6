// Picks the next token from logits.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "text/tokenizer.h"

namespace msa {

// Greedy at temperature 0 (ties: the lower id); else temperature, then top-p. Deterministic for a
// seed.
class Sampler {
 public:
  Sampler(float temperature, float top_p, uint64_t seed);
  // Chooses among the tokens whose `allowed` entry is not 0; empty: all may be chosen, else tokens
  // beyond its end are not. NaN logits are never chosen. -1 if nothing can be. `logits` may be
  // overwritten.
  TokenId sample(std::span<float> logits, std::span<const uint8_t> allowed);

 private:
  struct Candidate {
    double weight;  // not normalised
    TokenId token;
  };
  TokenId greedy(std::span<const float> logits, std::span<const uint8_t> allowed) const;
  TokenId draw(std::span<const Candidate> candidates, double mass);

  float temperature_, top_p_;
  std::mt19937_64 random_;
  std::vector<Candidate> candidates_;
};

}  // namespace msa
