// Words and numbers in UTF-8 text.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace msa::factbook {

inline bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
inline bool is_lower(char c) {
  return c >= 'a' && c <= 'z';
}
inline bool is_ascii_upper(char c) {
  return c >= 'A' && c <= 'Z';
}

// Bytes of the letter that begins at `i` < text.size(), 0 if it is none. Letters are the ASCII ones
// and all of UTF-8's longer sequences but Latin-1's signs and the punctuation of U+2000.
size_t letter_at(std::string_view text, size_t i);
// Where the word that begins at `i` ends, an apostrophe inside included and a final "'s" not.
size_t word_end(std::string_view text, size_t i);
// Where the number that begins at `i` ends, commas and points inside included.
size_t number_end(std::string_view text, size_t i);
// Begins with a capital letter, or one beyond ASCII.
bool is_capitalized(std::string_view word);
// With ASCII's letters lower.
std::string lower(std::string_view word);
bool is_month(std::string_view word);

}  // namespace msa::factbook
