#include "tasks/encyclopaedia_words.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "base/hash.h"

namespace msa::encyclopaedia {
namespace {

// Vowels are single ones and consonants never hold any, so a word has one reading only: the number
// it was made of.
constexpr std::array<std::string_view, 36> kOnsets = {
    "b",  "br", "bl", "d",  "dr", "f",  "fr", "g", "gr", "h",  "j",  "k",
    "kr", "l",  "m",  "n",  "p",  "pr", "r",  "s", "st", "sk", "t",  "tr",
    "v",  "w",  "z",  "sh", "th", "ch", "",   "c", "cl", "sl", "gl", "fl"};
constexpr std::array<std::string_view, 5> kVowels = {"a", "e", "i", "o", "u"};
// Behind the first vowel …
constexpr std::array<std::string_view, 60> kInner = {
    "b",  "d",  "f",  "g",  "k",  "l",  "m",  "n",  "p",  "r",  "s",   "t",   "v",  "z",  "th",
    "ll", "nn", "rr", "ss", "tt", "ld", "lm", "lt", "lv", "lk", "nd",  "ng",  "nt", "ns", "nv",
    "rd", "rk", "rl", "rm", "rn", "rs", "rt", "rv", "rg", "rb", "st",  "sk",  "sp", "sl", "br",
    "dr", "gr", "kr", "tr", "bl", "gl", "mb", "mp", "sh", "ch", "ndr", "str", "dl", "sm", "mm"};
// … and behind those that follow.
constexpr std::array<std::string_view, 20> kLater = {"b",  "d",  "f",  "g",  "k",  "l", "m",
                                                     "n",  "p",  "r",  "s",  "t",  "v", "z",
                                                     "th", "nd", "rd", "ll", "rr", "st"};
constexpr std::array<std::string_view, 24> kEndings = {
    "",  "n",  "r",  "l",  "s",  "m",  "k",  "t",  "d",  "v",  "x",  "z",
    "g", "th", "nd", "rn", "ld", "st", "rk", "ng", "lt", "sk", "nt", "sh"};

// Words with so many vowels.
constexpr uint64_t words_of(int vowels) {
  uint64_t count = kOnsets.size() * kVowels.size() * kEndings.size();
  if (vowels > 1) count *= kInner.size() * kVowels.size();
  for (int i = 2; i < vowels; ++i) count *= kLater.size() * kVowels.size();
  return count;
}

// The parts into which the words of each length are divided: two splits with two uses each. Short
// roots have two vowels; long ones have three, and from some number on four, then six. The first
// words of six vowels stand in for shorter ones that are not fit to be printed.
constexpr uint64_t kParts = 4;
constexpr uint64_t kShorts = words_of(2) / kParts, kLongs = words_of(3) / kParts,
                   kLonger = words_of(4) / kParts;
constexpr uint64_t kReplacements = words_of(2) + words_of(3) + words_of(4);
constexpr uint64_t kLongest = (words_of(6) - kReplacements) / kParts;
// Decides which words belong to which split and use: never change it, models are trained by it.
constexpr uint64_t kSpreadSeed = 0x656e6379636c6f;

// What no name should have in it, or begin with.
constexpr std::array<std::string_view, 8> kUnfit = {"fuck", "cunt", "nigg",  "nazi",
                                                    "fagg", "kike", "negro", "porn"};
constexpr std::array<std::string_view, 16> kUnfitStarts = {
    "shit", "rape", "slut",  "whor", "piss", "tit",  "anus",  "dick",
    "cock", "puss", "penis", "dild", "twat", "wank", "vagin", "turd"};

bool is_fit(std::string_view word) {
  return std::ranges::none_of(
             kUnfit,
             [&](std::string_view part) { return word.find(part) != std::string_view::npos; }) &&
         std::ranges::none_of(kUnfitStarts,
                              [&](std::string_view start) { return word.starts_with(start); });
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

// Word `index` of those with so many vowels, in the order that decides whose it is.
std::string spread_word(uint64_t index, int vowels) {
  std::string text = word(needle::Permutation(words_of(vowels), kSpreadSeed)(index), vowels);
  if (!is_fit(text) && vowels < 6) {
    const uint64_t shorter = vowels == 2   ? 0
                             : vowels == 3 ? words_of(2)
                                           : words_of(2) + words_of(3);
    return spread_word(shorter + index, 6);
  }
  capitalize(text);
  return text;
}

}  // namespace

Roots::Roots(Split split, Use use, uint64_t seed)
    : part_((split == Split::test ? 2 : 0) + (use == Use::distractors ? 1 : 0)),
      short_order_(kShorts, seed),
      long_order_(kLongs, seed + 1) {}

uint64_t Roots::shorts() const {
  return kShorts;
}

std::string Roots::short_root(uint64_t number) const {
  return spread_word(part_ * kShorts + short_order_(number), 2);
}

std::string Roots::long_root(uint64_t number) const {
  if (number < kLongs) return spread_word(part_ * kLongs + long_order_(number), 3);
  number -= kLongs;
  if (number < kLonger) return spread_word(part_ * kLonger + number, 4);
  return spread_word(kReplacements + part_ * kLongest + (number - kLonger) % kLongest, 6);
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
