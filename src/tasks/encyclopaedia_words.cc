#include "tasks/encyclopaedia_words.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "base/hash.h"

namespace msa::encyclopaedia {
namespace {

// Vowels are single ones and consonants never hold any, so a word has one reading only: the number
// it was made of.
constexpr std::array<std::string_view, 60> kOnsets = {
    "b",  "br", "bl", "d",  "dr", "f",  "fr", "fl", "g",  "gr", "gl",  "h",   "j",   "k",  "kr",
    "kl", "l",  "m",  "n",  "p",  "pr", "pl", "r",  "s",  "sk", "sl",  "sm",  "sn",  "sp", "st",
    "t",  "tr", "v",  "w",  "z",  "sh", "th", "ch", "",   "sc", "str", "spr", "dw",  "tw", "vr",
    "zl", "kn", "c",  "cr", "cl", "y",  "sv", "sw", "kv", "tv", "gn",  "scr", "skr", "gw", "wh"};
constexpr std::array<std::string_view, 5> kVowels = {"a", "e", "i", "o", "u"};
// Behind the first vowel …
constexpr std::array<std::string_view, 110> kInner = {
    "b",  "d",  "f",  "g",  "k",   "l",   "m",   "n",   "p",   "r",   "s",   "t",  "v",  "z",
    "th", "sh", "ch", "ll", "nn",  "rr",  "ss",  "tt",  "mm",  "ld",  "lm",  "ln", "lr", "lt",
    "lv", "lk", "lg", "lb", "lf",  "lp",  "ls",  "nd",  "ng",  "nk",  "nt",  "ns", "nz", "nv",
    "nl", "nr", "nw", "nf", "rd",  "rk",  "rl",  "rm",  "rn",  "rs",  "rt",  "rv", "rg", "rb",
    "rz", "rw", "rp", "rf", "st",  "sk",  "sp",  "sl",  "sm",  "sn",  "sv",  "sw", "br", "dr",
    "gr", "kr", "pr", "tr", "vr",  "bl",  "gl",  "kl",  "pl",  "fl",  "mb",  "mp", "ml", "mr",
    "ms", "mn", "dl", "dm", "dn",  "dv",  "gn",  "gv",  "kt",  "ks",  "kv",  "pt", "tl", "tv",
    "zd", "zl", "zm", "zn", "ndr", "ntr", "str", "mbr", "rst", "lst", "rth", "nth"};
// … and behind those that follow.
constexpr std::array<std::string_view, 24> kLater = {
    "b", "d", "f",  "g",  "k",  "l",  "m",  "n",  "p",  "r",  "s",  "t",
    "v", "z", "th", "sh", "ll", "nd", "rd", "st", "rr", "lm", "nt", "ss"};
constexpr std::array<std::string_view, 36> kEndings = {
    "",  "n",  "r",  "l",  "s",  "m",  "k",  "t",  "d",  "v",  "x",  "z",
    "g", "p",  "b",  "th", "sk", "nd", "rn", "ld", "st", "rk", "ng", "lt",
    "f", "ck", "ft", "nk", "lm", "rt", "rd", "ll", "ss", "nt", "sh", "rs"};

// Words with so many vowels.
constexpr uint64_t words_of(int vowels) {
  uint64_t count = kOnsets.size() * kVowels.size() * kEndings.size();
  if (vowels > 1) count *= kInner.size() * kVowels.size();
  for (int i = 2; i < vowels; ++i) count *= kLater.size() * kVowels.size();
  return count;
}

// The parts into which the words of each length are divided: two splits with two uses each. Short
// roots have two vowels, long ones three.
constexpr uint64_t kParts = 4;
constexpr uint64_t kShorts = words_of(2) / kParts, kLongs = words_of(3) / kParts;
// Then come words of four vowels, then of six. The first of six stand in for shorter ones that are
// not fit to be printed.
constexpr uint64_t kMiddles = words_of(4) / kParts;
constexpr uint64_t kReplaced = words_of(2) + words_of(3) + words_of(4);
constexpr uint64_t kLast = (words_of(6) - kReplaced) / kParts;
// Decides which words belong to which split and use: never change it, models are trained by it.
constexpr uint64_t kSpreadSeed = 0x656e6379636c6f;

constexpr std::array<std::string_view, 26> kUnfit = {
    "fuck", "shit", "cunt", "nigg", "nazi",  "rape", "slut",  "whor", "porn",
    "piss", "tits", "anus", "dick", "cock",  "puss", "fagg",  "kike", "penis",
    "titt", "dild", "twat", "wank", "vagin", "turd", "negro", "bitch"};

bool is_fit(std::string_view word) {
  return std::ranges::none_of(
      kUnfit, [&](std::string_view part) { return word.find(part) != std::string_view::npos; });
}

std::string word(uint64_t number, int vowels) {
  std::string text;
  const auto add = [&](const auto& parts) {
    text += parts[number % parts.size()];
    number /= parts.size();
  };
  add(kOnsets);
  for (int i = 0; i < vowels; ++i) {
    add(kVowels);
    if (i + 1 == vowels) break;
    if (i == 0) {
      add(kInner);
    } else {
      add(kLater);
    }
  }
  add(kEndings);
  return text;
}

void capitalize(std::string& text) {
  text[0] = static_cast<char>(text[0] - 'a' + 'A');
}

uint64_t part_of(Split split, Use use) {
  return (split == Split::test ? 2 : 0) + (use == Use::distractors ? 1 : 0);
}

}  // namespace

Roots::Roots(Split split, Use use, uint64_t seed)
    : split_(split), use_(use), short_order_(kShorts, seed), long_order_(kLongs, seed + 1) {}

std::string Roots::root(uint64_t number, bool is_short) const {
  const auto text_of = [](uint64_t index, int vowels) {
    return word(needle::Permutation(words_of(vowels), kSpreadSeed)(index), vowels);
  };
  const needle::Permutation& order = is_short ? short_order_ : long_order_;
  const uint64_t part = part_of(split_, use_);
  int vowels = is_short ? 2 : 3;
  uint64_t index = 0, replacement = 0;
  if (number < order.size()) {
    index = part * order.size() + order(number);
    replacement = index + (is_short ? 0 : words_of(2));
  } else {
    // Short and long ones in turn.
    const uint64_t beyond = 2 * (number - order.size()) + (is_short ? 1 : 0);
    if (beyond >= kMiddles)
      return text_of(kReplaced + part * kLast + (beyond - kMiddles) % kLast, 6);
    vowels = 4;
    index = part * kMiddles + beyond;
    replacement = index + words_of(2) + words_of(3);
  }
  std::string text = text_of(index, vowels);
  return is_fit(text) ? text : text_of(replacement, 6);
}

std::string first_name(Random& draw, bool female, Split split) {
  constexpr std::array<std::string_view, 40> kStarts = {
      "b", "br", "d", "dr", "f", "fr", "g", "gr", "h",  "j",  "k",  "kr", "l", "m",
      "n", "p",  "r", "s",  "t", "tr", "v", "w",  "z",  "sh", "th", "st", "",  "c",
      "y", "pr", "l", "m",  "n", "s",  "t", "k",  "cl", "bl", "d",  "v"};
  constexpr std::array<std::string_view, 40> kMiddle = {
      "l",  "m",  "n",  "r",  "s",  "t",  "v",  "d",  "b",  "k",  "nd", "rn", "ll", "nn",
      "rl", "lm", "rt", "st", "th", "z",  "g",  "p",  "rm", "lv", "ss", "rr", "ld", "nt",
      "rv", "sk", "sh", "f",  "mm", "tt", "rd", "ln", "dr", "br", "tr", "lb"};
  constexpr std::array<std::string_view, 16> kMen = {"an", "en", "on", "ar",  "or", "el",
                                                     "il", "us", "ik", "as",  "o",  "in",
                                                     "im", "er", "ek", "aldo"};
  constexpr std::array<std::string_view, 16> kWomen = {"a",   "ia",  "ena",  "ina", "ela", "ine",
                                                       "is",  "eth", "ora",  "ana", "ey",  "ielle",
                                                       "ida", "ela", "isse", "y"};
  for (;;) {
    std::string stem(draw.pick(kStarts));
    stem += draw.pick(kVowels);
    stem += draw.pick(kMiddle);
    std::string text = stem;
    text += female ? draw.pick(kWomen) : draw.pick(kMen);
    if ((hash64(stem) % 4 == 0) != (split == Split::test) || !is_fit(text)) continue;
    capitalize(text);
    return text;
  }
}

}  // namespace msa::encyclopaedia
