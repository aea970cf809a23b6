// Invented words, each given out once.
#pragma once

#include <cstdint>
#include <string>

#include "base/random.h"
#include "tasks/needle_keys.h"
#include "tasks/task.h"

namespace msa::encyclopaedia {

// Who may use a word. No word has two uses, nor is it used in both splits, whatever the seed.
enum class Use { samples, distractors };

// Invented words of one use in one split: "Velmar", "Dorimen". Each has vowels and consonants in
// turn, so that different numbers give different words. Immutable.
class Roots {
 public:
  // The seed orders the words.
  Roots(Split split, Use use, uint64_t seed);

  // Of those with two vowels, number 0 .. shorts()-1 (324,000).
  std::string short_root(uint64_t number) const;
  uint64_t shorts() const;
  // Any other. The first 32 million have three vowels, the next 3 billion four, then six; they come
  // again after more than 10^13.
  std::string long_root(uint64_t number) const;

 private:
  uint64_t part_;
  needle::Permutation short_order_, long_order_;
};

// A first name; women's and men's names end differently. Many people share one, but never people of
// different splits.
std::string first_name(Random& draw, bool female, Split split);

}  // namespace msa::encyclopaedia
