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
// that keep the digits a prefix of an allowed number, or close it; elsewhere every token is. One
// per round.
class NumberConstraint {
 public:
  NumberConstraint(const Tokenizer& tokenizer, std::span<const uint32_t> numbers);

  void push(std::string_view text);  // what was just generated
  // One entry per vocabulary id, 0: not allowed now. Empty: everything is. Valid until push().
  std::span<const uint8_t> allowed();

 private:
  const Tokenizer& tokenizer_;
  std::vector<std::string> numbers_;  // as text, sorted
  bool open_ = false;                 // inside "[…"
  std::string digits_;
  std::vector<uint8_t> mask_;
};

}  // namespace msa
