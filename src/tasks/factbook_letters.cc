#include "tasks/factbook_letters.h"

#include <algorithm>
#include <array>

namespace msa::factbook {

size_t letter_at(std::string_view text, size_t i) {
  const auto c = static_cast<unsigned char>(text[i]);
  if (is_lower(text[i]) || is_ascii_upper(text[i])) return 1;
  if (c < 0xc3 || c == 0xe2) return 0;
  const size_t size = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
  return i + size > text.size() ? 0 : size;
}

size_t word_end(std::string_view text, size_t i) {
  while (i < text.size()) {
    if (const size_t size = letter_at(text, i)) {
      i += size;
    } else if (text[i] == '\'' && i + 1 < text.size() && letter_at(text, i + 1) > 0 &&
               !(text[i + 1] == 's' && (i + 2 == text.size() || letter_at(text, i + 2) == 0))) {
      ++i;
    } else {
      break;
    }
  }
  return i;
}

size_t number_end(std::string_view text, size_t i) {
  while (i < text.size() && (is_digit(text[i]) || ((text[i] == ',' || text[i] == '.') &&
                                                   i + 1 < text.size() && is_digit(text[i + 1]))))
    ++i;
  return i;
}

bool is_capitalized(std::string_view word) {
  return !word.empty() && !is_lower(word.front()) && letter_at(word, 0) > 0;
}

std::string lower(std::string_view word) {
  std::string result(word);
  for (char& c : result)
    if (is_ascii_upper(c)) c = static_cast<char>(c - 'A' + 'a');
  return result;
}

bool is_month(std::string_view word) {
  constexpr std::array<std::string_view, 12> kMonths = {
      "January", "February", "March",     "April",   "May",      "June",
      "July",    "August",   "September", "October", "November", "December"};
  return std::ranges::find(kMonths, word) != kMonths.end();
}

}  // namespace msa::factbook
