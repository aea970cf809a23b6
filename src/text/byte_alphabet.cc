#include "text/byte_alphabet.h"

#include <array>
#include <cstddef>
#include <cstdint>

namespace msa {
namespace {

// Printable characters of Latin-1 stand for themselves; all other bytes, in ascending order, are
// the characters from U+0100 on.
constexpr bool stands_for_itself(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
}

constexpr unsigned kFirstOther = 0x100;
constexpr size_t kOthers = 68;

struct Alphabet {
  std::array<uint16_t, 256> character{};
  std::array<uint8_t, kOthers> other{};  // the bytes of the characters from U+0100 on
};

constexpr Alphabet make_alphabet() {
  Alphabet alphabet;
  unsigned others = 0;
  for (unsigned byte = 0; byte < 256; ++byte) {
    if (stands_for_itself(byte)) {
      alphabet.character[byte] = static_cast<uint16_t>(byte);
    } else {
      alphabet.character[byte] = static_cast<uint16_t>(kFirstOther + others);
      alphabet.other[others++] = static_cast<uint8_t>(byte);
    }
  }
  return alphabet;
}
constexpr Alphabet kAlphabet = make_alphabet();
static_assert(kAlphabet.other[kOthers - 1] == 0xad);
static_assert(kAlphabet.character[0x20] == 0x120);

}  // namespace

std::optional<std::string> bytes_of_alphabet(std::string_view token) {
  std::string bytes;
  bytes.reserve(token.size());
  for (size_t at = 0; at < token.size(); ++at) {
    unsigned character = static_cast<uint8_t>(token[at]);
    if (character >= 0x80) {  // the alphabet ends at U+0143: two bytes
      if ((character & 0xe0) != 0xc0 || at + 1 == token.size()) return std::nullopt;
      character = (character & 0x1f) << 6 | (static_cast<uint8_t>(token[++at]) & 0x3f);
    }
    if (character < kFirstOther && stands_for_itself(character))
      bytes += static_cast<char>(character);
    else if (character >= kFirstOther && character < kFirstOther + kOthers)
      bytes += static_cast<char>(kAlphabet.other[character - kFirstOther]);
    else
      return std::nullopt;
  }
  return bytes;
}

std::string alphabet_of_bytes(std::string_view bytes) {
  std::string token;
  for (const char byte : bytes) {
    const unsigned character = kAlphabet.character[static_cast<uint8_t>(byte)];
    if (character < 0x80) {
      token += static_cast<char>(character);
    } else {
      token += static_cast<char>(0xc0 | character >> 6);
      token += static_cast<char>(0x80 | (character & 0x3f));
    }
  }
  return token;
}

}  // namespace msa
