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

  // Root `number` of the short ones and of the others: any two calls of this class with different
  // arguments give different words, for numbers below 2^46. Short ones have two vowels while they
  // last (1.5 million), long ones three (178 million); numbers beyond get longer words.
  std::string short_root(uint64_t number) const { return root(number, true); }
  std::string long_root(uint64_t number) const { return root(number, false); }

 private:
  std::string root(uint64_t number, bool is_short) const;

  Split split_;
  Use use_;
  needle::Permutation short_order_, long_order_;
};

// A first name; women's and men's names end differently. Many people share one, but never people of
// different splits.
std::string first_name(Random& draw, bool female, Split split);

}  // namespace msa::encyclopaedia
