// Tokens that are recognised in a text before anything else is done to it, such as <|im_start|>.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace msa {

struct AddedToken {
  TokenId id = 0;
  std::string content;       // not empty, at most kLongestAddedToken bytes
  bool single_word = false;  // only where no word character stands beside it
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // takes the white space behind it along
  bool normalized = false;   // looked for after normalization, else before
  bool special = false;
};

inline constexpr size_t kLongestAddedToken = 4096;  // bytes

// Finds any of some added tokens. Immutable.
class AddedTokenFinder {
 public:
  AddedTokenFinder() = default;
  explicit AddedTokenFinder(std::vector<AddedToken> tokens);

  struct Match {
    size_t begin, end;  // bytes, with the white space that the token takes along
    TokenId id;
  };
  // The first token in `text` at or behind `from`, the longest where several begin; nothing if
  // there is none. Matches are found one after the other: `taken` is the end of the one before,
  // whose white space is not taken twice.
  std::optional<Match> next(std::string_view text, size_t from, size_t taken) const;

  std::optional<TokenId> find(std::string_view content) const;
  bool empty() const { return tokens_.empty(); }

 private:
  const AddedToken* longest_at(std::string_view text) const;

  std::vector<AddedToken> tokens_;  // by content
  std::array<bool, 256> begins_{};  // some token begins with this byte
};

}  // namespace msa
