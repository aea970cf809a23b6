// The text that needles are hidden in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"

namespace msa::needle {

// Phrases by name: alternatives are separated by '|' and hold other phrases as "{name}".
struct Phrase {
  std::string_view name, alternatives;
};
std::span<const Phrase> essay_phrases();
// Sentences with phrases in them.
std::span<const std::string_view> essay_patterns();
// Short sentences that say nothing, repeated over and over.
std::span<const std::string_view> noise_sentences();

// Sentences of a grammar. Immutable.
class Grammar {
 public:
  // The views must outlive the grammar. A name that is unknown or leads to itself is a bug
  // (assert).
  Grammar(std::span<const Phrase> phrases, std::span<const std::string_view> patterns);

  size_t patterns() const { return patterns_.size(); }
  // A sentence of pattern `pattern`, with a capital letter and a full stop. "a" becomes "an" before
  // a phrase that begins with a vowel. A phrase seldom says what the sentence has said before.
  std::string sentence(size_t pattern, Random& draw) const;
  // How many sentences the pattern has, counting those that meet by chance twice.
  double variants(size_t pattern) const;

 private:
  // Text, or (text empty) a phrase.
  struct Piece {
    std::string_view text;
    size_t phrase = 0;
  };
  using Pieces = std::vector<Piece>;

  void append(const Pieces& pieces, Random& draw, std::string& out) const;
  double variants(const Pieces& pieces, size_t depth) const;

  std::vector<std::vector<Pieces>> phrases_;
  std::vector<Pieces> patterns_;
};

// Consecutive sentences, `words` words or up to one sentence more.
std::vector<std::string> essay(const Grammar& grammar, size_t words, Random& draw);
std::vector<std::string> noise(size_t words, Random& draw);

size_t count_words(std::string_view text);

}  // namespace msa::needle
