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
  // `logits` may be overwritten; tokens whose `allowed` entry is 0 are never chosen (empty: all
  // are). NaN logits are never chosen.
  TokenId sample(std::span<float> logits, std::span<const uint8_t> allowed);

 private:
  float temperature_, top_p_;
  std::mt19937_64 random_;
  std::vector<uint32_t> order_;
};

}  // namespace msa
