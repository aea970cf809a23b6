#include "eval/score.h"

#include <algorithm>
#include <cassert>
#include <unordered_map>
#include <vector>

namespace msa::eval {
namespace {

// The C library's functions ask the locale, and bytes of UTF-8 beyond ASCII are none of theirs.
char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
bool is_punctuation(char c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
         (c >= '{' && c <= '~');
}
bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}
bool is_article(std::string_view word) {
  return word == "a" || word == "an" || word == "the";
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = lower(c);
  return out;
}

std::vector<std::string_view> words_of(std::string_view normalised) {
  std::vector<std::string_view> words;
  for (size_t begin = 0; begin < normalised.size();) {
    const size_t end = std::min(normalised.find(' ', begin), normalised.size());
    words.push_back(normalised.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

double f1_of(std::string_view answer, std::string_view expected) {
  const auto given = words_of(answer), wanted = words_of(expected);
  if (given.empty() || wanted.empty()) return given.empty() && wanted.empty() ? 1 : 0;
  std::unordered_map<std::string_view, size_t> left;
  for (const std::string_view word : wanted) ++left[word];
  size_t common = 0;
  for (const std::string_view word : given)
    if (const auto at = left.find(word); at != left.end() && at->second > 0) --at->second, ++common;
  return 2.0 * static_cast<double>(common) / static_cast<double>(given.size() + wanted.size());
}

bool contains_words(std::string_view answer, std::string_view expected) {
  const auto given = words_of(answer), wanted = words_of(expected);
  return !wanted.empty() &&
         std::search(given.begin(), given.end(), wanted.begin(), wanted.end()) != given.end();
}

}  // namespace

std::string normalise(std::string_view text) {
  std::string out, word;
  const auto finish_word = [&] {
    if (!word.empty() && !is_article(word)) out += (out.empty() ? "" : " ") + word;
    word.clear();
  };
  for (const char c : text) {
    if (is_space(c))
      finish_word();
    else if (!is_punctuation(c))
      word += lower(c);
  }
  finish_word();
  return out;
}

Score score_answer(std::string_view answer, std::span<const std::string> expected,
                   std::span<const std::string> values) {
  assert(!expected.empty());
  Score score;
  const std::string given = normalise(answer);
  for (const std::string& text : expected) {
    const std::string wanted = normalise(text);
    // Nothing is left of "%" or "the": then the texts themselves are compared.
    if (wanted.empty()) {
      score.exact = std::max(score.exact, answer == text ? 1.0 : 0.0);
      score.f1 = std::max(score.f1, answer == text ? 1.0 : 0.0);
      score.contains = std::max(score.contains, answer.find(text) != answer.npos ? 1.0 : 0.0);
      continue;
    }
    score.exact = std::max(score.exact, given == wanted ? 1.0 : 0.0);
    score.f1 = std::max(score.f1, f1_of(given, wanted));
    score.contains = std::max(score.contains, contains_words(given, wanted) ? 1.0 : 0.0);
  }
  if (values.empty()) {
    score.values = score.contains;
    score.accuracy = score.exact;
    return score;
  }
  const std::string plain = lower(answer);
  size_t found = 0;
  for (const std::string& value : values)
    found += plain.find(lower(value)) != std::string::npos ? 1 : 0;
  score.values = static_cast<double>(found) / static_cast<double>(values.size());
  // Nobody said in which order: the same words make the same answer.
  if (values.size() > 1 && score.f1 == 1) score.exact = 1;
  score.accuracy = score.values;
  return score;
}

}  // namespace msa::eval
