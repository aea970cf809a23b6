#include "tasks/factbook_extract.h"

#include <algorithm>
#include <vector>

namespace msa::factbook {
namespace {

constexpr size_t kNone = std::string_view::npos;
constexpr size_t kMaxTextWords = 8, kMaxListWords = 12, kMaxAnswerBytes = 90;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_upper(char c) {
  return (c >= 'A' && c <= 'Z') || static_cast<unsigned char>(c) >= 0x80;
}
bool is_lower(char c) {
  return c >= 'a' && c <= 'z';
}
bool is_letter(char c) {
  return is_upper(c) || is_lower(c);
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\n";
  const size_t begin = text.find_first_not_of(kBlank);
  if (begin == kNone) return {};
  return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

size_t word_count(std::string_view text) {
  return text.empty() ? 0 : 1 + static_cast<size_t>(std::ranges::count(text, ' '));
}

// A record is a row of "label: value." Whether such a label begins here: some words of at most 60
// characters, without sentence marks, and a colon.
bool label_begins(std::string_view text) {
  if (text.empty() || !is_letter(text.front())) return false;
  const size_t end = text.substr(0, 60).find_first_of(":.;");
  return end != kNone && text[end] == ':';
}

// The rest of the record after `mark`, nothing without it. It must begin a word.
std::optional<std::string_view> after_mark(std::string_view text, std::string_view mark) {
  if (mark.empty()) return text;
  for (size_t at = text.find(mark); at != kNone; at = text.find(mark, at + 1))
    if (at == 0 || text[at - 1] == ' ') return text.substr(at + mark.size());
  return std::nullopt;
}

// `rest` up to the end of its value: before the next label or a remark, without the last full stop.
std::string_view one_value(std::string_view rest) {
  rest = rest.substr(0, std::min(rest.find(" note: "), rest.find(" note - ")));
  for (size_t at = rest.find(". "); at != kNone; at = rest.find(". ", at + 1))
    if (label_begins(rest.substr(at + 2))) {
      rest = rest.substr(0, at);
      break;
    }
  rest = trimmed(rest);
  if (rest.ends_with('.') && !rest.ends_with("D.C.")) rest.remove_suffix(1);
  return rest;
}

// A comma that parts items, not one inside a number: "3,445", or inside brackets.
size_t find_separator(std::string_view text, std::string_view separators) {
  int depth = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '(') ++depth;
    if (text[i] == ')') --depth;
    const bool in_number =
        i > 0 && i + 1 < text.size() && is_digit(text[i - 1]) && is_digit(text[i + 1]);
    if (depth == 0 && separators.find(text[i]) != kNone && !in_number) return i;
  }
  return kNone;
}

std::string_view before_bracket(std::string_view text) {
  return text.substr(0, text.find('('));
}

std::string_view shaped(Shape shape, std::string_view value) {
  switch (shape) {
    case Shape::number:
      // A share is asked for as such: "2.1% of GDP" is answered with "2.1%".
      if (const size_t percent = value.find('%'); percent != kNone)
        value = value.substr(0, percent + 1);
      // "3.2 migrant(s)": half a word is no unit.
      if (const size_t bracket = value.find("(s)"); bracket != kNone)
        return without_unit(trimmed(value.substr(0, bracket)));
      value = before_bracket(value);
      return trimmed(value.substr(0, find_separator(value, ",;:")));
    case Shape::name:
      value = before_bracket(value);
      value = value.substr(0, value.find(" - "));
      return trimmed(value.substr(0, find_separator(value, ",;")));
    case Shape::quantity:
    case Shape::text: return trimmed(before_bracket(value.substr(0, find_separator(value, ";"))));
    case Shape::list: {
      // "gold, coffee (2023 est.)": the year is no part of the list.
      if (value.ends_with(')')) {
        const size_t bracket = value.rfind(" (");
        if (bracket != kNone && bracket + 2 < value.size() && is_digit(value[bracket + 2]))
          value = value.substr(0, bracket);
      }
      return trimmed(value);
    }
  }
  return {};
}

bool fits(Shape shape, std::string_view value) {
  if (value.empty() || value.size() > kMaxAnswerBytes || value.find('\n') != kNone) return false;
  const char first = value.front();
  switch (shape) {
    case Shape::number: {
      const bool sign = first == '-' || first == '$' || first == '.';
      if (value.find(" less than") != kNone) return false;
      return is_digit(first) || (sign && value.find_first_of("0123456789") != kNone);
    }
    case Shape::name: {
      if (value.find_first_of("()[]:") != kNone || value.find(" in ") != kNone || value == "NA" ||
          value == "None" || value == "Ambassador")
        return false;
      return (is_upper(first) || is_digit(first)) && word_count(value) <= kMaxTextWords;
    }
    case Shape::quantity:
      if (std::ranges::none_of(value, is_digit)) return false;
      [[fallthrough]];
    case Shape::text:
      return value.find_first_of("()[]:") == kNone && value != "NA" && !value.starts_with("none") &&
             !value.starts_with("see ") && word_count(value) <= kMaxTextWords;
    case Shape::list:
      return value.find_first_of("()[]:;") == kNone && value != "NA" &&
             !value.starts_with("none") && word_count(value) <= kMaxListWords;
  }
  return false;
}

// Items of "Muslim 98% (mostly Sunni), other 2% (2020 est.)" with their shares. Percentages only.
struct Share {
  std::string_view name, share;
};
std::vector<Share> shares(std::string_view value) {
  std::vector<Share> found;
  while (!value.empty()) {
    const size_t end = find_separator(value, ",;");
    const std::string_view item = value.substr(0, end);
    value = end == kNone ? std::string_view() : value.substr(end + 1);
    const size_t percent = item.find('%');
    if (percent == kNone) continue;
    size_t begin = percent;
    while (begin > 0 && (is_digit(item[begin - 1]) || item[begin - 1] == '.')) --begin;
    if (begin == percent || begin == 0 || item[begin - 1] != ' ') continue;
    const std::string_view name = trimmed(before_bracket(item.substr(0, begin)));
    if (name.empty() || name.find_first_of("<:-") != kNone || word_count(name) > 4) continue;
    found.push_back({name, item.substr(begin, percent + 1 - begin)});
  }
  return found;
}

bool is_vague(std::string_view name) {
  for (const std::string_view word : {"other", "unspecified", "none", "unknown", "refused", "no "})
    if (name.starts_with(word)) return true;
  return false;
}

std::optional<Found> share_of(std::string_view value, uint64_t choice, bool first) {
  const std::vector<Share> all = shares(value);
  if (all.size() < 2) return std::nullopt;
  if (first) {
    if (!is_upper(all.front().name.front())) return std::nullopt;
    return Found{all.front().name, {}, {}};
  }
  const Share& chosen = all[choice % all.size()];
  if (is_vague(chosen.name) || !is_upper(chosen.name.front())) return std::nullopt;
  for (const Share& other : all)
    if (&other != &chosen && other.name == chosen.name) return std::nullopt;
  return Found{chosen.share, chosen.name, {}};
}

// "Sudan 1,403 km; Niger 1,196 km".
std::optional<Found> border_of(std::string_view value, uint64_t choice) {
  std::vector<Share> all;
  while (!value.empty()) {
    const size_t end = find_separator(value, ";");
    const std::string_view item = trimmed(before_bracket(value.substr(0, end)));
    value = end == kNone ? std::string_view() : value.substr(end + 1);
    if (!item.ends_with(" km")) continue;
    const size_t number = item.rfind(' ', item.size() - 4);
    if (number == kNone || number == 0 || !is_digit(item[number + 1])) continue;
    all.push_back({trimmed(item.substr(0, number)), item.substr(number + 1)});
  }
  if (all.empty()) return std::nullopt;
  const Share& chosen = all[choice % all.size()];
  return Found{chosen.share, chosen.name, {}};
}

// "3.574 million BERLIN (capital), 1.788 million Hamburg (2023)".
std::optional<Found> city_of(std::string_view value, uint64_t choice) {
  std::vector<Share> all;
  while (!value.empty()) {
    const size_t end = find_separator(value, ",;");
    const std::string_view item = trimmed(before_bracket(value.substr(0, end)));
    value = end == kNone ? std::string_view() : value.substr(end + 1);
    if (item.empty() || !is_digit(item.front())) continue;
    size_t name = item.find(' ');
    if (name == kNone) continue;
    if (item.substr(name + 1).starts_with("million ")) name += 8;
    if (name + 1 >= item.size() || !is_upper(item[name + 1])) continue;
    all.push_back({item.substr(name + 1), item.substr(0, name)});
  }
  if (all.empty()) return std::nullopt;
  const Share& chosen = all[choice % all.size()];
  return Found{chosen.share, chosen.name, {}};
}

// "Field 2024: 1.7% (2024 est.). Field 2023: 0.7% …": the years and where their values begin.
std::optional<Found> yearly(std::string_view text, uint64_t choice, bool latest, Shape shape) {
  std::vector<Found> all;
  for (size_t colon = text.find(": "); colon != kNone; colon = text.find(": ", colon + 1)) {
    if (colon < 5 || text[colon - 5] != ' ') continue;
    const std::string_view year = text.substr(colon - 4, 4);
    if (!std::ranges::all_of(year, is_digit)) continue;
    const std::string_view value = shaped(shape, one_value(text.substr(colon + 2)));
    if (fits(shape, value)) all.push_back({value, {}, year});
    if (latest) break;
  }
  if (all.empty()) return std::nullopt;
  Found found = all[choice % all.size()];
  if (latest) found.year = {};
  return found;
}

std::optional<std::string_view> official_item(std::string_view value) {
  constexpr std::string_view kOfficial = " (official)";
  const size_t at = value.find(kOfficial);
  if (at == kNone || value.find("official", at + kOfficial.size()) != kNone) return std::nullopt;
  const size_t begin = value.substr(0, at).find_last_of(",:;");
  return trimmed(
      value.substr(begin == kNone ? 0 : begin + 1, at - (begin == kNone ? 0 : begin + 1)));
}

// "Emi Koussi 3,445 m": where the number begins that the value ends with.
std::optional<size_t> height_begin(std::string_view value) {
  if (!value.ends_with(" m")) return std::nullopt;
  const size_t space = value.rfind(' ', value.size() - 3);
  if (space == kNone || space == 0) return std::nullopt;
  const std::string_view number = value.substr(space + 1, value.size() - space - 3);
  if (number.find_first_not_of("0123456789,.-") != kNone) return std::nullopt;
  return space + 1;
}

std::optional<std::string_view> between(std::string_view text, char open, char close) {
  const size_t begin = text.find(open);
  if (begin == kNone) return std::nullopt;
  const size_t end = text.find(close, begin + 1);
  if (end == kNone || end == begin + 1) return std::nullopt;
  return text.substr(begin + 1, end - begin - 1);
}

std::optional<Found> checked(Shape shape, std::optional<std::string_view> value) {
  if (!value || !fits(shape, *value)) return std::nullopt;
  return Found{*value, {}, {}};
}

}  // namespace

std::optional<Found> extract(const Fact& fact, std::string_view text, uint64_t choice) {
  if (fact.rule == Rule::latest || fact.rule == Rule::in_year)
    return yearly(text, choice, fact.rule == Rule::latest, fact.shape);
  const std::optional<std::string_view> rest = after_mark(text, fact.mark);
  if (!rest) {
    // Only lists with samples call the list itself "Languages: ".
    if (fact.mark == "Languages: " && text.find("Languages: ") == kNone && !text.empty()) {
      const bool first = fact.rule == Rule::first_item;
      return share_of(one_value(text), choice, first);
    }
    return std::nullopt;
  }
  std::string_view value = one_value(*rest);
  switch (fact.rule) {
    case Rule::after: {
      if (fact.mark.starts_with('('))
        return checked(fact.shape, trimmed(value.substr(0, value.find_first_of(");,"))));
      return checked(fact.shape, shaped(fact.shape, value));
    }
    case Rule::first_item: return share_of(value, 0, true);
    case Rule::item_share: return share_of(value, choice, false);
    case Rule::first_listed: {
      const std::string_view listed = shaped(Shape::list, value);
      const size_t end = find_separator(listed, ",;");
      if (end == kNone) return std::nullopt;
      return checked(fact.shape, trimmed(before_bracket(listed.substr(0, end))));
    }
    case Rule::official: return checked(fact.shape, official_item(value));
    case Rule::border: return border_of(value, choice);
    case Rule::city: return city_of(value, choice);
    case Rule::bracketed: return checked(fact.shape, between(value, '(', ')'));
    case Rule::quoted: return checked(fact.shape, between(value, '"', '"'));
    case Rule::peak_name:
    case Rule::peak_height: {
      const std::optional<size_t> height = height_begin(value);
      if (!height) return std::nullopt;
      if (fact.rule == Rule::peak_height) return checked(fact.shape, value.substr(*height));
      return checked(fact.shape, shaped(fact.shape, value.substr(0, *height)));
    }
    case Rule::second_part: {
      const size_t comma = find_separator(value, ",");
      if (comma == kNone) return std::nullopt;
      return checked(fact.shape, shaped(fact.shape, trimmed(value.substr(comma + 1))));
    }
    case Rule::latest:
    case Rule::in_year: break;  // above
  }
  return std::nullopt;
}

std::string_view first_words(std::string_view text, size_t max_words) {
  size_t words = 0, sentence = 0, i = 0;
  for (; i < text.size(); ++i) {
    if (text[i] != ' ') continue;
    if (i > 0 && text[i - 1] == '.') sentence = i;
    if (++words == max_words) break;
  }
  if (i == text.size()) return text;
  return text.substr(0, sentence > 0 ? sentence : i);
}

std::string_view without_unit(std::string_view value) {
  size_t end = 0;
  while (end < value.size() &&
         (is_digit(value[end]) || std::string_view("$-+.,%").find(value[end]) != kNone))
    ++end;
  if (end == 0 || end == value.size() || value[end] != ' ') return value;
  const std::string_view rest = value.substr(end + 1);
  for (const std::string_view word : {"million", "billion", "trillion"})
    if (rest.starts_with(word)) return value.substr(0, end + 1 + word.size());
  // "3 August 1960" is no number of Augusts.
  return is_lower(rest.front()) ? value.substr(0, end) : value;
}

}  // namespace msa::factbook
