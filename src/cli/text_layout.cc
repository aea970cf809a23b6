#include "cli/text_layout.h"

#include <wchar.h>

#include <algorithm>
#include <cstdint>

namespace msa::cli {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

struct Character {
  char32_t code = 0;
  size_t bytes = 1;
  bool valid = false;
};

// The character at the start of `text`, which is not empty.
Character decode(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return {first, 1, true};
  const size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4) return {};
  char32_t code = first & (0x7F >> length);
  for (size_t i = 1; i < length; ++i) {
    if (i >= text.size() || (byte(i) & 0xC0) != 0x80) return {0, i, false};
    code = (code << 6) | (byte(i) & 0x3F);
  }
  const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
  const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
  return {code, length, !overlong && !surrogate && code <= 0x10FFFF};
}

size_t columns(char32_t code) {
  const int width = ::wcwidth(static_cast<wchar_t>(code));
  return width < 0 ? 1 : static_cast<size_t>(width);  // unknown to this locale: assume one
}

std::string clean(std::string_view text, bool one_line) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Character c = decode(text);
    const bool breaks = c.code == '\n' || c.code == '\t';
    const bool control = c.code < 0x20 || (c.code >= 0x7F && c.code < 0xA0);
    if (!c.valid || (control && !breaks))
      out += kReplacement;
    else if (breaks && one_line)
      out += ' ';
    else
      out += text.substr(0, c.bytes);
    text.remove_prefix(c.bytes);
  }
  return out;
}

}  // namespace

std::string printable(std::string_view text) {
  return clean(text, false);
}
std::string printable_line(std::string_view text) {
  return clean(text, true);
}

size_t display_width(std::string_view text) {
  size_t width = 0;
  while (!text.empty()) {
    const Character c = decode(text);
    width += columns(c.code);
    text.remove_prefix(c.bytes);
  }
  return width;
}

std::string fit(std::string_view text, size_t width) {
  if (display_width(text) <= width) return std::string(text);
  if (width == 0) return {};
  size_t used = 0, bytes = 0;
  while (bytes < text.size()) {
    const Character c = decode(text.substr(bytes));
    if (used + columns(c.code) > width - 1) break;
    used += columns(c.code);
    bytes += c.bytes;
  }
  return std::string(text.substr(0, bytes)) + "…";
}

std::vector<std::string> wrap(std::string_view text, size_t width) {
  std::vector<std::string> lines;
  while (true) {
    const size_t end = text.find('\n');
    std::string_view paragraph = text.substr(0, end);
    if (!paragraph.empty() && paragraph.back() == '\r') paragraph.remove_suffix(1);
    std::string line;
    size_t used = 0;
    while (width > 0 && !paragraph.empty()) {
      const size_t space = paragraph.find(' ');
      const std::string_view word = paragraph.substr(0, space);
      const size_t word_width = display_width(word);
      if (used > 0 && used + 1 + word_width > width) {
        lines.push_back(std::move(line));
        line.clear();
        used = 0;
      }
      if (used > 0) line += ' ', ++used;
      line += word;
      used += word_width;
      if (space == std::string_view::npos) break;
      paragraph.remove_prefix(space + 1);
    }
    lines.push_back(width > 0 ? std::move(line) : std::string(paragraph));
    if (end == std::string_view::npos) return lines;
    text.remove_prefix(end + 1);
  }
}

}  // namespace msa::cli
