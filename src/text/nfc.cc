#include "text/nfc.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace msa {
namespace {

struct Range {
  char32_t first, last;
};

// In ascending order. nfc_test compares every character of these with utf8proc.
constexpr std::array kInert = {
    Range{0x0000, 0x02ff},    // Latin, IPA
    Range{0x0388, 0x0482},    // Greek, Cyrillic
    Range{0x048a, 0x052f},    // Cyrillic
    Range{0x0531, 0x058a},    // Armenian
    Range{0x05d0, 0x05ea},    // Hebrew
    Range{0x0620, 0x064a},    // Arabic
    Range{0x0660, 0x066f},    // Arabic digits
    Range{0x0671, 0x06d5},    // Arabic
    Range{0x0904, 0x093b},    // Devanagari
    Range{0x093d, 0x094c},    // Devanagari
    Range{0x0964, 0x097f},    // Devanagari
    Range{0x0e01, 0x0e37},    // Thai
    Range{0x0e3f, 0x0e47},    // Thai
    Range{0x10a0, 0x10ff},    // Georgian
    Range{0x1e00, 0x1eff},    // Latin, Vietnamese
    Range{0x2002, 0x20cf},    // punctuation, currency
    Range{0x2190, 0x2328},    // arrows, mathematics
    Range{0x232b, 0x2adb},    // technical, boxes, symbols
    Range{0x3001, 0x3029},    // CJK punctuation
    Range{0x3030, 0x3098},    // Hiragana
    Range{0x309b, 0x312f},    // Hiragana, Katakana, Bopomofo
    Range{0x3400, 0x9fff},    // CJK
    Range{0xac00, 0xd7a3},    // Hangul
    Range{0xfe00, 0xfe0f},    // variation selectors
    Range{0xff00, 0xffef},    // full and half width
    Range{0x1f000, 0x1faff},  // emoji
    Range{0x20000, 0x2a6dd},  // CJK
};

int combining_class(utf8proc_int32_t character) {
  return utf8proc_get_property(character)->combining_class;
}

// The canonical decomposition's marks in canonical order. utf8proc_map() would do all of form C in
// one call, but puts marks in order by exchanging neighbours, which is quadratic in a hostile text.
void order_marks(std::vector<utf8proc_int32_t>& characters) {
  const auto is_starter = [](utf8proc_int32_t c) { return combining_class(c) == 0; };
  const auto by_class = [](utf8proc_int32_t a, utf8proc_int32_t b) {
    return combining_class(a) < combining_class(b);
  };
  for (auto begin = characters.begin(); begin != characters.end();) {
    begin = std::find_if_not(begin, characters.end(), is_starter);
    const auto end = std::find_if(begin, characters.end(), is_starter);
    if (!std::is_sorted(begin, end, by_class)) std::stable_sort(begin, end, by_class);
    begin = end;
  }
}

class Normalizer {
 public:
  explicit Normalizer(std::string& out) : out_(out) {}

  // Appends form C of `text`.
  void append(std::string_view text) {
    characters_.clear();
    const auto* at = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
    const auto* end = at + text.size();
    while (at < end) {
      utf8proc_int32_t character;
      at += std::max<utf8proc_ssize_t>(utf8proc_iterate(at, end - at, &character), 1);
      if (character >= 0) decompose(character);
    }
    order_marks(characters_);
    const utf8proc_ssize_t composed = utf8proc_normalize_utf32(
        characters_.data(), static_cast<utf8proc_ssize_t>(characters_.size()), kOptions);
    for (utf8proc_ssize_t i = 0; i < composed; ++i) {
      std::array<utf8proc_uint8_t, 4> bytes;
      const utf8proc_ssize_t length =
          utf8proc_encode_char(characters_[static_cast<size_t>(i)], bytes.data());
      out_.append(reinterpret_cast<const char*>(bytes.data()), static_cast<size_t>(length));
    }
  }

 private:
  static constexpr auto kOptions =
      static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);

  void decompose(utf8proc_int32_t character) {
    std::array<utf8proc_int32_t, 8> parts;  // canonical decompositions have at most four
    int boundary_class = 0;
    const utf8proc_ssize_t count = utf8proc_decompose_char(
        character, parts.data(), static_cast<utf8proc_ssize_t>(parts.size()), kOptions,
        &boundary_class);
    if (count < 0 || static_cast<size_t>(count) > parts.size())
      characters_.push_back(character);
    else
      characters_.insert(characters_.end(), parts.begin(), parts.begin() + count);
  }

  std::string& out_;
  std::vector<utf8proc_int32_t> characters_;
};

// The next character of valid UTF-8 that begins with a byte above 0x7f, and its length.
struct Decoded {
  char32_t character;
  size_t length;
};
Decoded decode_at(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<char32_t>(static_cast<uint8_t>(text[i])); };
  const char32_t lead = byte(at);
  if (lead < 0xe0) return {(lead & 0x1f) << 6 | (byte(at + 1) & 0x3f), 2};
  if (lead < 0xf0)
    return {(lead & 0x0f) << 12 | (byte(at + 1) & 0x3f) << 6 | (byte(at + 2) & 0x3f), 3};
  return {(lead & 0x07) << 18 | (byte(at + 1) & 0x3f) << 12 | (byte(at + 2) & 0x3f) << 6 |
              (byte(at + 3) & 0x3f),
          4};
}

}  // namespace

bool is_nfc_inert(char32_t character) {
  if (character <= kInert[0].last) return true;
  const auto range = std::lower_bound(kInert.begin(), kInert.end(), character,
                                      [](const Range& r, char32_t c) { return r.last < c; });
  return range != kInert.end() && character >= range->first;
}

std::string_view to_nfc(std::string_view text, std::string& storage) {
  storage.clear();
  Normalizer normalizer(storage);
  size_t written = 0;     // text before this is in storage
  size_t last_inert = 0;  // where the last inert character begins
  bool in_run = false;    // whether what follows last_inert has to be normalized
  const auto finish_run = [&](size_t end) {
    storage.append(text.substr(written, last_inert - written));
    normalizer.append(text.substr(last_inert, end - last_inert));
    written = end;
    in_run = false;
  };
  for (size_t at = 0; at < text.size();) {
    Decoded next{U'\0', 1};
    if (static_cast<uint8_t>(text[at]) >= 0x80) next = decode_at(text, at);
    if (is_nfc_inert(next.character)) {
      if (in_run) finish_run(at);
      last_inert = at;
    } else {
      in_run = true;
    }
    at += next.length;
  }
  if (in_run) finish_run(text.size());
  if (written == 0) return text;
  storage.append(text.substr(written));
  return storage;
}

}  // namespace msa
