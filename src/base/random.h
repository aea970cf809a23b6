// Random numbers that are the same on every machine and with every standard library.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace msa {

// SplitMix64 (Steele, Lea and Flood 2014): a counter that is hashed. `stream` picks one of 2^64
// sequences of a seed, unrelated to each other. A value type: copying it copies its position.
class Random {
 public:
  explicit Random(uint64_t seed, uint64_t stream = 0)
      : state_(hash(hash(seed) + 0x9e3779b97f4a7c15u * (stream + 1))) {}

  uint64_t bits() { return hash(state_ += 0x9e3779b97f4a7c15u); }
  // Uniform in [0, bound), without bias; bound at least 1.
  uint64_t below(uint64_t bound) {
    assert(bound > 0);
    const uint64_t first_fair = (0 - bound) % bound;  // 2^64 mod bound
    for (;;)
      if (const uint64_t drawn = bits(); drawn >= first_fair) return drawn % bound;
  }
  // Uniform in [low, high].
  uint64_t between(uint64_t low, uint64_t high) {
    assert(low <= high);
    return high - low == UINT64_MAX ? bits() : low + below(high - low + 1);
  }
  // Uniform in [0, 1).
  double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }
  bool chance(double probability) { return uniform() < probability; }

  template <class Container>
  auto& pick(Container& from) {
    return from[static_cast<size_t>(below(from.size()))];
  }
  template <class T>
  void shuffle(std::vector<T>& items) {
    for (size_t i = items.size(); i > 1; --i)
      std::swap(items[i - 1], items[static_cast<size_t>(below(i))]);
  }

  uint64_t state() const { return state_; }
  void set_state(uint64_t state) { state_ = state; }

 private:
  static uint64_t hash(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
  }
  uint64_t state_;
};

}  // namespace msa
