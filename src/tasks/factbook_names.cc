#include "tasks/factbook_names.h"

#include <algorithm>
#include <array>

#include "base/hash.h"

namespace msa::factbook {
namespace {

constexpr std::array<std::string_view, 44> kOnsets = {
    "b",  "c",  "d",  "f",  "g",  "h",  "j",  "k",  "l",  "m",  "n",  "p", "r",  "s",  "t",
    "v",  "w",  "y",  "z",  "b",  "d",  "k",  "l",  "m",  "n",  "r",  "s", "t",  "br", "ch",
    "dr", "gr", "kh", "kr", "pl", "qu", "sh", "st", "th", "tr", "ts", "v", "zh", ""};
constexpr std::array<std::string_view, 16> kVowels = {"a", "e", "i",  "o",  "u",  "a",  "e",  "i",
                                                      "o", "a", "ai", "au", "ea", "ia", "ou", "oo"};
constexpr std::array<std::string_view, 20> kCodas = {"",  "",   "",   "",   "",   "n", "r",
                                                     "l", "s",  "m",  "k",  "t",  "d", "n",
                                                     "r", "ng", "rn", "ld", "sh", "st"};
constexpr std::array<std::string_view, 5> kEndings = {"ian", "ese", "i", "an", "ish"};

std::string syllables(uint64_t seed, size_t length, std::string word) {
  for (uint64_t i = 0; word.size() < length || word.size() < 3; ++i) {
    const uint64_t bits = mix(seed, i);
    word += kOnsets[bits % kOnsets.size()];
    word += kVowels[(bits >> 16) % kVowels.size()];
    if (word.size() + 1 >= length || (bits >> 60) < 5) word += kCodas[(bits >> 32) % kCodas.size()];
  }
  return word;
}

bool is_vowel(char c) {
  return std::string_view("aeiou").find(c) != std::string_view::npos;
}

}  // namespace

uint64_t mix(uint64_t a, uint64_t b) {
  uint64_t z = a + 0x9e3779b97f4a7c15ull * (b + 1);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

std::string invented_word(uint64_t seed, size_t length, Split split, std::string_view start) {
  length = std::max(std::clamp<size_t>(length, 4, 11), start.size() + 1);
  std::string beginning(start);
  std::ranges::transform(beginning, beginning.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  // A quarter of all words belongs to the test split, by their hash.
  for (uint64_t attempt = 0;; ++attempt) {
    std::string word = syllables(mix(seed, attempt), length, beginning);
    const bool test = hash64(word) % 4 == 0;
    if (test != (split == Split::test)) continue;
    if (word[0] >= 'a' && word[0] <= 'z') word[0] = static_cast<char>(word[0] - 'a' + 'A');
    return word;
  }
}

std::string in_case_of(std::string_view like, std::string word) {
  const auto lower = [](char c) { return c >= 'a' && c <= 'z'; };
  if (like.size() > 1 && std::ranges::none_of(like, lower))
    std::ranges::transform(word, word.begin(),
                           [&](char c) { return lower(c) ? static_cast<char>(c - 'a' + 'A') : c; });
  return word;
}

std::string adjective_of(std::string_view name, uint64_t seed) {
  std::string stem(name);
  while (stem.size() > 3 && is_vowel(stem.back())) stem.pop_back();
  stem += kEndings[mix(seed, 77) % kEndings.size()];
  return stem;
}

}  // namespace msa::factbook
