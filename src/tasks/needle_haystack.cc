#include "tasks/needle_haystack.h"

#include <algorithm>
#include <cassert>
#include <unordered_map>

namespace msa::needle {
namespace {

// Deeper nesting than this is a phrase that leads to itself.
[[maybe_unused]] constexpr size_t kMaxDepth = 16;
constexpr size_t kAttempts = 4;
// A paragraph does not use one of its last patterns again.
constexpr size_t kPatternsRemembered = 12;

bool is_vowel(char c) {
  return std::string_view("aeiou").find(c) != std::string_view::npos;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

}  // namespace

Grammar::Grammar(std::span<const Phrase> phrases, std::span<const std::string_view> patterns) {
  std::unordered_map<std::string_view, size_t> index;
  for (const Phrase& phrase : phrases) {
    [[maybe_unused]] const bool is_new = index.emplace(phrase.name, index.size()).second;
    assert(is_new);
  }
  const auto parse = [&](std::string_view text) {
    Pieces pieces;
    while (!text.empty()) {
      const size_t open = std::min(text.find('{'), text.size());
      if (open > 0) pieces.push_back({text.substr(0, open)});
      text.remove_prefix(open);
      if (text.empty()) break;
      const size_t close = text.find('}');
      const auto found = index.find(text.substr(1, close - 1));
      assert(close != std::string_view::npos && found != index.end());
      pieces.push_back({{}, found->second});
      text.remove_prefix(close + 1);
    }
    return pieces;
  };
  for (const Phrase& phrase : phrases) {
    std::vector<Pieces>& alternatives = phrases_.emplace_back();
    for (const std::string_view text : split(phrase.alternatives, '|'))
      alternatives.push_back(parse(text));
  }
  for (const std::string_view text : patterns) patterns_.push_back(parse(text));
}

void Grammar::append(const Pieces& pieces, Random& draw, std::string& out) const {
  for (const Piece& piece : pieces) {
    if (!piece.text.empty()) {
      out += piece.text;
      continue;
    }
    const size_t begin = out.size();
    // "The difference between X and X" is tried again.
    for (size_t attempt = 0; attempt < kAttempts; ++attempt) {
      out.resize(begin);
      append(draw.pick(phrases_[piece.phrase]), draw, out);
      if (out.find(std::string_view(out).substr(begin)) == begin) break;
    }
    const bool after_a =
        out.compare(0, begin, "a ") == 0 || (begin >= 3 && out.compare(begin - 3, 3, " a ") == 0);
    if (after_a && is_vowel(out[begin])) out.insert(begin - 1, 1, 'n');
  }
}

std::string Grammar::sentence(size_t pattern, Random& draw) const {
  std::string text;
  append(patterns_[pattern], draw, text);
  if (text.front() >= 'a' && text.front() <= 'z') text.front() += 'A' - 'a';
  return text += '.';
}

double Grammar::variants(const Pieces& pieces, size_t depth) const {
  assert(depth < kMaxDepth);
  double product = 1;
  for (const Piece& piece : pieces) {
    if (!piece.text.empty()) continue;
    double sum = 0;
    for (const Pieces& alternative : phrases_[piece.phrase])
      sum += variants(alternative, depth + 1);
    product *= sum;
  }
  return product;
}

double Grammar::variants(size_t pattern) const {
  return variants(patterns_[pattern], 0);
}

size_t count_words(std::string_view text) {
  return text.empty() ? 0 : 1 + static_cast<size_t>(std::ranges::count(text, ' '));
}

std::vector<std::string> essay(const Grammar& grammar, size_t words, Random& draw) {
  std::vector<std::string> sentences;
  std::vector<size_t> used;
  for (size_t so_far = 0; so_far < words;) {
    const size_t pattern = draw.below(grammar.patterns());
    if (std::ranges::find(used, pattern) != used.end()) continue;
    used.push_back(pattern);
    if (used.size() > std::min(kPatternsRemembered, grammar.patterns() - 1))
      used.erase(used.begin());
    sentences.push_back(grammar.sentence(pattern, draw));
    so_far += count_words(sentences.back());
  }
  return sentences;
}

std::vector<std::string> noise(size_t words, Random& draw) {
  const std::span<const std::string_view> all = noise_sentences();
  std::vector<std::string> sentences;
  for (size_t so_far = 0; so_far < words;) {
    const std::string_view sentence = draw.pick(all);
    if (!sentences.empty() && sentences.back() == sentence) continue;
    sentences.emplace_back(sentence);
    so_far += count_words(sentence);
  }
  return sentences;
}

}  // namespace msa::needle
