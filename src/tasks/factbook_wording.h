// Wordings of one question: phrases with slots, and frames around noun phrases.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tasks/task.h"

namespace msa::factbook {

// Questions around a noun phrase {n}; {is} agrees with it. "~" marks those held out.
std::span<const std::string_view> noun_frames();

// The phrases of one split, without the "~" of held-out ones.
std::vector<std::string_view> of_split(std::span<const std::string_view> phrases, Split split);

// Puts `value` in the place of every `slot`. "{c}'s" after a plural with an article becomes "the
// Netherlands'".
void put(std::string& text, std::string_view slot, std::string_view value);

// Makes the first letter a capital one.
void capitalize(std::string& text);

// All wordings of one question in one split. Immutable; views the phrases it is made of.
class Wordings {
 public:
  // Phrases are whole questions (they end in "?" or ".") or noun phrases, "+" before plural ones,
  // which go into the frames. "~" marks those held out. What is asked about stands at {c}.
  Wordings(std::span<const std::string_view> phrases, Split split);

  // A wording, its other slots still open. `described`: a clause will stand at {c}, after which
  // neither "'s" nor much more of the sentence can follow; needs count(true) > 0.
  std::string pick(bool described, uint64_t choice) const;
  size_t count(bool described) const;

 private:
  struct Phrases {
    std::vector<std::string_view> questions, nouns, frames;
  };
  Phrases named_, described_;
};

}  // namespace msa::factbook
