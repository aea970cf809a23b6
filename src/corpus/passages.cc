#include "corpus/passages.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <string>

#include "corpus/white_space.h"
#include "text/utf8.h"

namespace msa {
namespace {

// Where a passage may end, best last.
enum class Border { none, word, sentence, line, paragraph };

bool is_continuation(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0) == 0x80;
}

size_t next_character(std::string_view text, size_t at) {
  do ++at;
  while (at < text.size() && is_continuation(text[at]));
  return at;
}

size_t previous_character(std::string_view text, size_t at) {
  do --at;
  while (at > 0 && is_continuation(text[at]));
  return at;
}

// The start of the character that byte `at` belongs to.
size_t character_start(std::string_view text, size_t at) {
  while (at > 0 && at < text.size() && is_continuation(text[at])) --at;
  return at;
}

std::string_view character_before(std::string_view text, size_t at) {
  const size_t start = previous_character(text, at);
  return text.substr(start, at - start);
}

template <size_t N>
bool is_one_of(std::string_view word, const std::array<std::string_view, N>& words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// Quotation marks and brackets that may stand between a sentence's end mark and its end.
bool is_closer(std::string_view character) {
  static constexpr std::array<std::string_view, 14> kClosers = {
      "\"",     "'",      ")",      "]",      "}",      "*",      "_",
      "\u00BB", "\u2019", "\u201D", "\u300D", "\u300F", "\uFF09", "\u300B"};
  return is_one_of(character, kClosers);
}

bool is_wide_end_mark(std::string_view character) {
  static constexpr std::array<std::string_view, 4> kMarks = {"\u3002", "\uFF01", "\uFF1F",
                                                             "\uFF0E"};
  return is_one_of(character, kMarks);
}

// Whether the full stop at `stop` belongs to an abbreviation or an initial: "Mr.", "e.g.", "J.".
bool is_abbreviation(std::string_view text, size_t stop) {
  static constexpr std::array<std::string_view, 34> kAbbreviations = {
      "mr",  "mrs",  "ms",  "dr",  "prof", "st",   "sr",  "jr",  "vs",  "cf",     "eg",  "ie",
      "e.g", "i.e",  "al",  "vol", "fig",  "figs", "eq",  "ch",  "pp",  "approx", "inc", "ltd",
      "co",  "corp", "gen", "col", "capt", "lt",   "sgt", "rev", "hon", "gov"};
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  size_t begin = stop;
  std::string word;
  while (begin > 0 && (is_letter(text[begin - 1]) || text[begin - 1] == '.') && word.size() < 8)
    word.insert(word.begin(), static_cast<char>(text[--begin] | 0x20));  // to lower case; '.' stays
  // One letter, alone or after another and a stop: an initial, or the end of "U.S.".
  const bool initial = !word.empty() && (word.size() == 1 || word[word.size() - 2] == '.') &&
                       is_letter(word.back()) &&
                       (begin == 0 || static_cast<unsigned char>(text[begin - 1]) < 0x80);
  return initial || is_one_of(word, kAbbreviations);
}

// Whether a sentence ends just before `at`; `wide`: with a mark that needs no space after it.
bool sentence_ends(std::string_view text, size_t begin, size_t at, bool wide) {
  for (int closers = 0; at > begin && closers < 4; ++closers) {
    const std::string_view last = character_before(text, at);
    if (is_wide_end_mark(last)) return true;
    if (!wide && (last == "!" || last == "?" || last == "\u2026")) return true;
    if (!wide && last == ".") return !is_abbreviation(text, at - 1);
    if (!is_closer(last)) return false;
    at -= last.size();
  }
  return false;
}

// Where the white space begins that `text` ends in.
size_t end_of_text(std::string_view text) {
  size_t end = text.size();
  while (end > 0 && space_length(character_before(text, end), 0) > 0)
    end = previous_character(text, end);
  return end;
}

class Splitter {
 public:
  Splitter(std::string_view text, size_t limit,
           const std::function<size_t(std::string_view)>& count_units)
      : text_(text.substr(0, end_of_text(text))), limit_(limit), count_units_(count_units) {}

  std::vector<Passage> run() {
    std::vector<Passage> passages;
    size_t counted_to = 0;
    uint64_t characters = 0;
    const auto characters_to = [&](size_t at) {
      characters += count_characters(text_.substr(counted_to, at - counted_to));
      counted_to = at;
      return characters;
    };
    for (size_t begin = skip_space(text_, 0); begin < text_.size();) {
      const size_t end = passage_end(begin);
      Passage passage{begin, end, characters_to(begin), 0};
      passage.char_end = characters_to(end);
      passages.push_back(passage);
      begin = skip_space(text_, end);
    }
    return passages;
  }

 private:
  size_t count(size_t begin, size_t end) const {
    return count_units_(text_.substr(begin, end - begin));
  }

  size_t passage_end(size_t begin) {
    const size_t fits = longest_fit(begin);
    for (size_t most = fits; most > begin;) {
      const size_t end = last_border(begin, most);
      // Only the longest fit itself was counted, and a shorter text can count for more.
      if (end == fits || count(begin, end) <= limit_) return end;
      most = previous_character(text_, end);
    }
    return next_character(text_, begin);
  }

  // The end of the longest text from `begin` that fits, exact to the border, or to the character
  // where there are no borders; `begin` if not even one character fits. Assumes that longer texts
  // count for more.
  size_t longest_fit(size_t begin) {
    size_t fits = begin, units_fit = 0;    // [begin, fits) is known to fit
    size_t exceeds = 0, units_exceed = 0;  // [begin, exceeds) is known not to; 0: unknown
    // A first guess from what a unit of the last passage was long, but no large leap.
    double length = std::min(bytes_per_unit_, 8.0) * static_cast<double>(limit_);
    while (true) {
      const double most = static_cast<double>(text_.size() - begin);
      size_t end = begin + static_cast<size_t>(std::clamp(length, 1.0, most));
      end = character_start(text_, end);
      if (end <= fits) end = next_character(text_, fits);
      const size_t units = count(begin, end);
      if (units <= limit_) {
        fits = end;
        units_fit = units;
        if (fits == text_.size()) break;
      } else {
        exceeds = end;
        units_exceed = units;
      }
      if (exceeds == 0) {
        length = 2.0 * static_cast<double>(fits - begin);
        continue;
      }
      if (is_settled(begin, fits, exceeds)) break;
      // Units grow about linearly with bytes. Keep off the ends so that the range always shrinks.
      const double range = static_cast<double>(exceeds - fits);
      const double share = units_exceed > units_fit
                               ? (static_cast<double>(limit_ - units_fit) + 0.5) /
                                     static_cast<double>(units_exceed - units_fit)
                               : 0.5;
      length = static_cast<double>(fits - begin) + range * std::clamp(share, 0.125, 0.875);
    }
    if (units_fit > 0)
      bytes_per_unit_ = static_cast<double>(fits - begin) / static_cast<double>(units_fit);
    return fits;
  }

  // Whether no better end than up to `fits` is to be found before `exceeds`.
  bool is_settled(size_t begin, size_t fits, size_t exceeds) const {
    const size_t after = next_character(text_, fits);
    if (after >= exceeds) return true;
    if (fits == begin) return false;
    const Border best = border_at(begin, last_border(begin, fits));
    if (best == Border::none) return false;
    for (size_t at = after; at < exceeds; at = next_character(text_, at))
      if (border_at(begin, at) >= best) return false;
    return true;
  }

  // The best place in (begin, end] to end a passage that may go to `end`.
  size_t last_border(size_t begin, size_t end) const {
    Border best = Border::none;
    size_t best_at = end;
    const size_t quarter = begin + (end - begin) / 4;
    for (size_t at = end; at > begin; at = previous_character(text_, at)) {
      const Border border = border_at(begin, at);
      if (border > best) {
        best = border;
        best_at = at;
      }
      if (best == Border::paragraph || (best != Border::none && at <= quarter)) break;
    }
    return best_at;
  }

  // What a passage from `begin` that ends at `at` ends with.
  Border border_at(size_t begin, size_t at) const {
    if (at == text_.size()) return Border::paragraph;
    const std::string_view before = character_before(text_, at);
    if (space_length(before, 0) > 0) return Border::none;
    if (space_length(text_, at) == 0) {
      const bool ends = sentence_ends(text_, begin, at, /*wide=*/true) &&
                        !is_closer(text_.substr(at, next_character(text_, at) - at));
      return ends ? Border::sentence : Border::none;
    }
    int lines = 0;
    for (size_t i = at; lines < 2; i += space_length(text_, i)) {
      if (space_length(text_, i) == 0) break;
      const bool line_feed = text_[i] == '\n';
      const bool lone_return = text_[i] == '\r' && (i + 1 == text_.size() || text_[i + 1] != '\n');
      lines += line_feed || lone_return;
    }
    if (lines > 0) return lines > 1 ? Border::paragraph : Border::line;
    return sentence_ends(text_, begin, at, /*wide=*/false) ? Border::sentence : Border::word;
  }

  std::string_view text_;
  size_t limit_;
  const std::function<size_t(std::string_view)>& count_units_;
  double bytes_per_unit_ = 4;
};

}  // namespace

std::vector<Passage> split_passages(std::string_view text, size_t limit,
                                    const std::function<size_t(std::string_view)>& count_units) {
  assert(limit > 0);
  return Splitter(text, limit, count_units).run();
}

}  // namespace msa
