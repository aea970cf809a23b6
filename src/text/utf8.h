// UTF-8: finding and replacing what is not valid, and cutting without splitting a character.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace msa {

bool is_valid_utf8(std::string_view bytes);

struct CleanText {
  std::string text;     // valid UTF-8
  size_t replaced = 0;  // maximal invalid sequences, each replaced by U+FFFD
};

// Replaces every maximal invalid sequence (Unicode 15, table 3-7) by U+FFFD.
CleanText clean_utf8(std::string_view bytes);

// The length of the longest prefix of `bytes` that does not end inside a character. Bytes that can
// never become valid count as complete.
size_t complete_utf8_prefix(std::string_view bytes);

// The number of characters (code points) of valid UTF-8.
size_t count_characters(std::string_view text);

}  // namespace msa
