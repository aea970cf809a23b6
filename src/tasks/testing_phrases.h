// For tests only: what a phrase says.
#pragma once

#include <algorithm>
#include <cctype>
#include <set>
#include <string>
#include <string_view>

namespace msa::factbook {

// Its words, without those that every question has.
inline std::set<std::string> content_of(std::string_view phrase) {
  static const std::set<std::string_view> kPlain = {
      "about",  "an",   "and",  "are",   "at",   "be",  "by",   "can",  "could", "did", "do",
      "does",   "find", "for",  "from",  "give", "has", "have", "how",  "in",    "is",  "it",
      "its",    "know", "like", "look",  "many", "me",  "much", "need", "of",    "on",  "out",
      "please", "tell", "the",  "there", "to",   "up",  "what", "with", "would", "you"};
  std::set<std::string> content;
  std::string word;
  const auto end_word = [&] {
    if (word.size() > 1 && !kPlain.contains(word)) content.insert(word);
    word.clear();
  };
  for (const char c : phrase) {
    if (std::isalpha(static_cast<unsigned char>(c)) != 0)
      word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    else
      end_word();
  }
  end_word();
  return content;
}

}  // namespace msa::factbook
