// Keeps generated document numbers to those of a given set.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace msa {

// Follows the text a model writes in a retrieval round. Between "[" and "]" only tokens are allowed
// that keep the digits a prefix of an allowed number or close it, and a token that opens a bracket
// must go on in the same way: with 4 and 17 allowed, "[1" and "[4][" are, "[x" and "[40" are not.
// All other tokens are allowed outside brackets. Without numbers no bracket can be opened. One per
// round; the tokenizer must outlive it. Not thread-safe.
class NumberConstraint {
 public:
  // Looks at every token of the vocabulary once.
  NumberConstraint(const Tokenizer& tokenizer, std::span<const uint32_t> numbers);

  void push(std::string_view text);  // what was just generated
  // One entry per id of the tokenizer's vocabulary, 0: not allowed now. Empty: everything is. Valid
  // until push().
  std::span<const uint8_t> allowed();

 private:
  struct State {
    bool open = false;   // inside "[…"
    std::string digits;  // since the "["
  };
  bool step(State& state, char byte) const;
  bool can_follow(const State& state, TokenId token) const;
  bool is_prefix(std::string_view digits) const;

  const Tokenizer& tokenizer_;
  std::vector<std::string> numbers_;    // as text, sorted
  std::vector<TokenId> continuations_;  // tokens that begin with a digit or "]"
  State state_;
  std::vector<uint8_t> outside_mask_;  // empty: everything is allowed outside brackets
  std::vector<uint8_t> inside_mask_;
  std::vector<TokenId> inside_allowed_;  // the entries of inside_mask_ that are 1
};

}  // namespace msa
