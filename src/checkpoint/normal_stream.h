// Random numbers for weights: blocks that can be made in any order, by any number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace msa {

// Fills `out` with independent numbers from the normal distribution of mean 0 and deviation 1. They
// depend on `seed` and `block` only; any two pairs of those give unrelated numbers, and a shorter
// `out` gives the beginning of a longer one. Thread-safe.
void fill_normal(uint64_t seed, uint64_t block, std::span<float> out);

}  // namespace msa
