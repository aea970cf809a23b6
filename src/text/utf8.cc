#include "text/utf8.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace msa {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD

// What a lead byte announces (Unicode 15, table 3-7). Length 0: no character begins so.
struct Lead {
  uint8_t length, second_least, second_most;
};

constexpr Lead lead_of(uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xc2) return {0, 0, 0};
  if (byte < 0xe0) return {2, 0x80, 0xbf};
  if (byte == 0xe0) return {3, 0xa0, 0xbf};  // less would be an overlong form
  if (byte == 0xed) return {3, 0x80, 0x9f};  // more would be a surrogate
  if (byte < 0xf0) return {3, 0x80, 0xbf};
  if (byte == 0xf0) return {4, 0x90, 0xbf};
  if (byte < 0xf4) return {4, 0x80, 0xbf};
  if (byte == 0xf4) return {4, 0x80, 0x8f};  // more would be above U+10FFFF
  return {0, 0, 0};
}

enum class Form {
  valid,    // a whole character
  invalid,  // can never become one
  cut,      // the text ends before the character does
};

struct Sequence {
  size_t length;  // bytes, at least 1; for an invalid one its maximal subpart
  Form form;
};

// The character, or the maximal part of one, at the beginning of `bytes`, which is not empty.
Sequence first_sequence(std::string_view bytes) {
  const Lead lead = lead_of(static_cast<uint8_t>(bytes[0]));
  if (lead.length == 0) return {1, Form::invalid};
  for (size_t i = 1; i < lead.length; ++i) {
    if (i == bytes.size()) return {i, Form::cut};
    const auto byte = static_cast<uint8_t>(bytes[i]);
    const uint8_t least = i == 1 ? lead.second_least : 0x80;
    const uint8_t most = i == 1 ? lead.second_most : 0xbf;
    if (byte < least || byte > most) return {i, Form::invalid};
  }
  return {lead.length, Form::valid};
}

// The length of the longest valid beginning of `bytes`.
size_t valid_prefix(std::string_view bytes) {
  size_t at = 0;
  while (at < bytes.size()) {
    for (; bytes.size() - at >= sizeof(uint64_t); at += sizeof(uint64_t)) {
      uint64_t eight;
      std::memcpy(&eight, bytes.data() + at, sizeof(eight));
      if ((eight & 0x8080808080808080u) != 0) break;
    }
    if (at == bytes.size()) break;
    const Sequence next = first_sequence(bytes.substr(at));
    if (next.form != Form::valid) break;
    at += next.length;
  }
  return at;
}

}  // namespace

bool is_valid_utf8(std::string_view bytes) {
  return valid_prefix(bytes) == bytes.size();
}

CleanText clean_utf8(std::string_view bytes) {
  CleanText clean;
  clean.text.reserve(bytes.size());
  while (!bytes.empty()) {
    const size_t valid = valid_prefix(bytes);
    clean.text.append(bytes.substr(0, valid));
    bytes.remove_prefix(valid);
    if (bytes.empty()) break;
    clean.text.append(kReplacement);
    ++clean.replaced;
    bytes.remove_prefix(first_sequence(bytes).length);
  }
  return clean;
}

size_t complete_utf8_prefix(std::string_view bytes) {
  // A character that is cut off has at most three bytes, and its first is a lead byte.
  const size_t longest = std::min<size_t>(bytes.size(), 3);
  for (size_t back = 1; back <= longest; ++back) {
    const size_t at = bytes.size() - back;
    if ((static_cast<uint8_t>(bytes[at]) & 0xc0) == 0x80) continue;
    const Sequence last = first_sequence(bytes.substr(at));
    return last.form == Form::cut ? at : bytes.size();
  }
  return bytes.size();
}

size_t count_characters(std::string_view text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<uint8_t>(c) & 0xc0) != 0x80; }));
}

}  // namespace msa
