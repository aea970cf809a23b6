// White space in UTF-8 text (Unicode's White_Space property).
#pragma once

#include <cstddef>
#include <string_view>

namespace msa {

// The length in bytes of the white-space character at `at`, 0 if there is none.
inline size_t space_length(std::string_view text, size_t at) {
  if (at >= text.size()) return 0;
  const unsigned char c = static_cast<unsigned char>(text[at]);
  if (c < 0x80) return c == ' ' || (c >= '\t' && c <= '\r') ? 1 : 0;
  const std::string_view rest = text.substr(at, 3);
  if (rest.starts_with("\u0085") || rest.starts_with("\u00A0")) return 2;
  if (rest == "\u1680" || rest == "\u202F" || rest == "\u205F" || rest == "\u3000" ||
      rest == "\u2028" || rest == "\u2029")
    return 3;
  return rest >= "\u2000" && rest <= "\u200A" ? 3 : 0;
}

// The first byte at or after `at` that is not white space, or the text's size.
inline size_t skip_space(std::string_view text, size_t at) {
  while (const size_t length = space_length(text, at)) at += length;
  return at;
}

inline bool is_blank(std::string_view text) {
  return skip_space(text, 0) == text.size();
}

}  // namespace msa
