#include "tasks/factbook_invent.h"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <utility>

#include "base/hash.h"
#include "tasks/factbook_letters.h"
#include "tasks/factbook_names.h"

namespace msa::factbook {
namespace {

// A capitalized word in fewer profiles than this is a proper name.
constexpr uint32_t kCommonWord = 8;
// A number that stands between the same letters in so many profiles belongs to the form: "0-14
// years".
constexpr uint32_t kCommonNumber = 30;
constexpr size_t kBytesBefore = 3, kBytesAfter = 8;  // that are looked at around a number

// Names that are words of every day as well, or seas that everyone borders.
bool is_place_of_all(std::string_view name) {
  return name == "World" || name.ends_with(" Ocean");
}

std::string_view own_part(std::string_view name) {
  return name.starts_with("The ") ? name.substr(4) : name;
}

}  // namespace

// Takes records apart; counts words and numbers over all of them first.
class Inventor::Splitter {
 public:
  explicit Splitter(const Records& records) : records_(records) {
    for (uint32_t i = 0; i < records.countries().size(); ++i) {
      const std::string_view name = own_part(records.countries()[i].name);
      if (is_place_of_all(name)) continue;
      names_[std::string(name.substr(0, word_end(name, 0)))].push_back({std::string(name), i});
    }
    for (auto& [first, names] : names_)
      std::ranges::sort(
          names, [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
  }

  // The country whose name begins at `i` and the name's length.
  std::pair<std::string_view, uint32_t> name_at(std::string_view text, size_t i, size_t end) const {
    const auto found = names_.find(std::string(text.substr(i, end - i)));
    if (found == names_.end()) return {};
    for (const auto& [name, country] : found->second)
      if (text.substr(i).starts_with(name) &&
          (i + name.size() == text.size() || letter_at(text, i + name.size()) == 0))
        return {name, country};
    return {};
  }

  void count(std::string_view text, uint32_t country, uint32_t field) {
    for (size_t i = 0; i < text.size();) {
      if (is_digit(text[i])) {
        const size_t end = number_end(text, i);
        tick(numbers_[context(text, i, end, field)], country);
        i = end;
      } else if (letter_at(text, i) > 0) {
        const size_t end = word_end(text, i);
        Count& word = words_[std::string(text.substr(i, end - i))];
        tick(word, country);
        i = end;
      } else {
        ++i;
      }
    }
  }

  std::vector<Piece> split(std::string_view text, uint32_t country, uint32_t field,
                           std::string_view adjective) const {
    std::vector<Piece> pieces;
    const bool codes = records_.fields()[field] == "Internet country code";
    const bool letters =
        records_.fields()[field] == "Civil aircraft registration country code prefix";
    for (size_t i = 0; i < text.size();) {
      if (is_digit(text[i])) {
        const size_t end = number_end(text, i);
        add_number(pieces, text, i, end, field);
        i = end;
      } else if (letter_at(text, i) > 0) {
        size_t end = word_end(text, i);
        const std::string_view word = text.substr(i, end - i);
        const auto begin = static_cast<uint32_t>(i);
        const auto push = [&](Kind kind, uint32_t id) {
          pieces.push_back({begin, static_cast<uint32_t>(end), id, kind});
        };
        const auto [name, other] = name_at(text, i, end);
        if (!name.empty()) {
          end = i + name.size();
          push(other == country ? Kind::own_name : Kind::other_name, other);
        } else if (!adjective.empty() && text.substr(i).starts_with(adjective) &&
                   (i + adjective.size() == text.size() || !is_lower(text[i + adjective.size()]) ||
                    text.substr(i + adjective.size()).starts_with("s"))) {
          end = i + adjective.size();
          push(Kind::adjective, 0);
        } else if (codes && word.size() == 2 && i > 0 && text[i - 1] == '.') {
          push(Kind::code, 0);
        } else if (is_name(word) || (letters && is_ascii_upper(word.front()))) {
          push(Kind::word, words_.at(std::string(word)).id);
        }
        i = end;
      } else {
        ++i;
      }
    }
    return pieces;
  }

  std::unordered_set<std::string> known_words() const {
    std::unordered_set<std::string> known;
    for (const auto& [word, count] : words_) known.insert(lower(word));
    return known;
  }
  // So many profiles have the word.
  uint32_t profiles(const std::string& word) const {
    const auto found = words_.find(word);
    return found == words_.end() ? 0 : found->second.profiles;
  }

 private:
  struct Count {
    uint32_t profiles = 0, last = ~0u, id = 0;
  };

  void tick(Count& count, uint32_t country) {
    if (count.last == ~0u) count.id = next_id_++;
    if (count.last == country) return;
    count.last = country;
    ++count.profiles;
  }

  static uint64_t context(std::string_view text, size_t begin, size_t end, uint32_t field) {
    const size_t from = begin - std::min(begin, kBytesBefore);
    return mix(hash64(text.substr(from, end + kBytesAfter - from)), field);
  }

  bool is_name(std::string_view word) const {
    if (word.size() < 2 || is_lower(word.front())) return false;
    const std::string key(word);
    if (profiles(key) >= kCommonWord || is_month(word)) return false;
    return profiles(lower(key)) < 2;  // else only the beginning of a sentence
  }

  void add_number(std::vector<Piece>& pieces, std::string_view text, size_t begin, size_t end,
                  uint32_t field) const {
    const auto found = numbers_.find(context(text, begin, end, field));
    if (found != numbers_.end() && found->second.profiles >= kCommonNumber) return;
    const std::string_view number = text.substr(begin, end - begin), after = text.substr(end);
    Kind kind = Kind::number;
    if (number.size() == 4 && std::ranges::all_of(number, is_digit) && number[0] <= '2' &&
        number[0] != '0') {
      // The year of an estimate, or that a value is of, is no value itself.
      const bool of_value = after.starts_with(':') || after.starts_with(')') ||
                            after.starts_with(" est.") || after.starts_with("/") ||
                            after.starts_with("-");
      if (of_value && begin > 0 &&
          (text[begin - 1] == '(' || after.starts_with(':') || after.starts_with(" est.")))
        return;
      kind = Kind::year;
    } else if (number.size() <= 2 && after.starts_with(' ') && after.size() > 1 &&
               is_month(after.substr(1, word_end(after, 1) - 1))) {
      kind = Kind::day;
    }
    pieces.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(end), 0, kind});
  }

  const Records& records_;
  std::unordered_map<std::string, std::vector<std::pair<std::string, uint32_t>>>
      names_;  // by first word
  std::unordered_map<std::string, Count> words_;
  std::unordered_map<uint64_t, Count> numbers_;
  uint32_t next_id_ = 0;
};

Inventor::Inventor(std::shared_ptr<const Records> records, Split split)
    : records_(std::move(records)), split_(split) {
  const std::vector<SampleDocument>& documents = records_->documents();
  const std::vector<Country>& countries = records_->countries();
  Splitter splitter(*records_);
  for (uint32_t i = 0; i < documents.size(); ++i)
    splitter.count(documents[i].text, records_->country_of(i), records_->field_of(i));
  known_words_ = splitter.known_words();
  if (const std::optional<uint32_t> code = records_->field("Internet country code"))
    for (uint32_t i = 0; i < countries.size(); ++i)
      if (const std::optional<uint32_t> record = records_->record(i, *code))
        known_words_.insert(documents[*record].text.substr(0, 3));
  for (uint32_t i = 0; i < countries.size(); ++i)
    if (!countries[i].test && own_part(countries[i].name).find(' ') == std::string_view::npos)
      simple_names_.push_back(i);

  training_text_.resize(documents.size());
  pieces_.resize(documents.size());
  const std::optional<uint32_t> nationality = records_->field("Nationality");
  for (uint32_t c = 0; c < countries.size(); ++c) {
    if (countries[c].test) continue;
    std::string adjective;
    if (nationality)
      if (const std::optional<uint32_t> record = records_->record(c, *nationality)) {
        const std::string& text = documents[*record].text;
        if (const size_t at = text.find("adjective: "); at != std::string::npos) {
          adjective = text.substr(at + 11, word_end(text, at + 11) - at - 11);
          if (adjective.size() < 4 || splitter.profiles(adjective) >= 40) adjective.clear();
        }
      }
    for (const uint32_t record : countries[c].records) {
      std::string text = documents[record].text;
      // Held-out names first, so that the positions of the pieces are those of the final text.
      for (size_t i = 0; i < text.size();) {
        if (letter_at(text, i) == 0) {
          ++i;
          continue;
        }
        const size_t end = word_end(text, i);
        const auto [name, other] = splitter.name_at(text, i, end);
        if (!name.empty() && countries[other].test) {
          const uint32_t instead = simple_names_[mix(record, other) % simple_names_.size()];
          const std::string_view replacing = own_part(countries[instead].name);
          text.replace(i, name.size(), replacing);
          i += replacing.size();
        } else {
          i = name.empty() ? end : i + name.size();
        }
      }
      pieces_[record] = splitter.split(text, c, records_->field_of(record), adjective);
      training_text_[record] = std::move(text);
    }
  }
}

bool Inventor::is_known(std::string_view word) const {
  return known_words_.contains(lower(word));
}

std::string Inventor::new_word(uint64_t seed, size_t length, std::string_view start) const {
  for (uint64_t attempt = 0;; ++attempt) {
    std::string word = invented_word(mix(seed, attempt), length, split_, start);
    if (!is_known(word)) return word;
  }
}

InventedCountry Inventor::country(uint32_t base, uint64_t seed, std::string_view sibling,
                                  std::string_view start) const {
  InventedCountry country;
  country.base = base;
  country.seed = seed;
  const uint64_t salt = mix(seed, 1);
  const std::string word = new_word(salt, 4 + salt % 6, start);
  country.adjective = adjective_of(word, salt);
  if (!sibling.empty()) {
    const size_t space = sibling.rfind(' ');
    const std::string_view last =
        space == std::string_view::npos ? sibling : sibling.substr(space + 1);
    if (last.size() < sibling.size() && is_known(last)) {
      // "Dorvan Islands": a sibling has the same kind of name.
      country.name = word + " " + std::string(last);
    } else {
      constexpr std::array<std::string_view, 8> kFirst = {"North ", "South ", "East ",  "West ",
                                                          "New ",   "Upper ", "Lower ", "Greater "};
      country.name = std::string(kFirst[(salt >> 8) % kFirst.size()]) + std::string(last);
    }
  } else if (!start.empty()) {
    country.name = word;
  } else {
    switch ((salt >> 20) % 12) {
      case 0: country.name = word + " Islands"; break;
      case 1: country.name = "Saint " + word; break;
      case 2: country.name = (salt >> 30) % 2 ? "New " + word : "North " + word; break;
      case 3: country.name = word + " and " + new_word(mix(salt, 3), 5); break;
      case 4: country.name = (salt >> 30) % 2 ? "Republic of " + word : word + " Island"; break;
      default: country.name = word; break;
    }
  }
  country.asked = name_in_question(country.name);
  return country;
}

std::string Inventor::number(std::string_view old, std::string_view after, uint64_t seed) const {
  std::string result(old);
  uint64_t bits = mix(hash64(old), seed);
  const auto digits = [&](uint64_t value, size_t width) {
    std::string text = std::to_string(value);
    return std::string(width - std::min(width, text.size()), '0') + text;
  };
  const bool plain = std::ranges::all_of(old, is_digit);
  // "13 27 N, 16 34 W": degrees and minutes.
  const auto direction = [](std::string_view text) {
    return text.size() > 1 && text[0] == ' ' &&
           std::string_view("NSEW").find(text[1]) != std::string_view::npos &&
           (text.size() == 2 || letter_at(text, 2) == 0);
  };
  if (plain && direction(after)) return digits(bits % 60, 2);
  if (plain && after.size() > 4 && after[0] == ' ' && is_digit(after[1]) && is_digit(after[2]) &&
      direction(after.substr(3)))
    return old.size() == 3 ? digits(100 + bits % 80, 3) : digits(bits % 90, 2);
  if (old == "0") return "0";
  if (plain && after.starts_with('%')) return std::to_string(1 + bits % 98);
  for (size_t i = 0; i < result.size(); ++i) {
    if (!is_digit(result[i])) continue;
    if (i == 0 && result[i] == '0') continue;               // "0.35"
    const bool leading = i == 0 || i + 1 == result.size();  // no zero in front, none at the end
    result[i] = static_cast<char>(leading ? '1' + bits % 9 : '0' + bits % 10);
    bits = mix(bits, i);
  }
  return result;
}

std::string Inventor::replacement(const Piece& piece, std::string_view old, std::string_view after,
                                  const InventedCountry& country) const {
  const uint64_t bits = mix(country.seed, piece.id);
  switch (piece.kind) {
    case Kind::own_name: return std::string(own_part(country.name));
    case Kind::adjective: return country.adjective;
    case Kind::other_name: {
      if (bits % 10 < 6) return new_word(bits, 4 + (bits >> 8) % 5);
      const uint32_t instead = simple_names_[(bits >> 8) % simple_names_.size()];
      return std::string(own_part(records_->countries()[instead].name));
    }
    case Kind::word: {
      const bool code = old.size() <= 4 && std::ranges::all_of(old, is_ascii_upper);
      if (!code) return in_case_of(old, new_word(bits, old.size()));
      std::string letters(old);
      for (size_t i = 0; i < letters.size(); ++i)
        letters[i] = static_cast<char>('A' + mix(bits, i) % 26);
      return letters;
    }
    case Kind::code: {
      // Two-letter codes are few: one that a real country has would be confused with it.
      for (uint64_t i = 0;; ++i) {
        const uint64_t code = mix(bits, i);
        std::string letters = {static_cast<char>('a' + code % 26),
                               static_cast<char>('a' + (code >> 8) % 26)};
        if (!known_words_.contains("." + letters) || i > 1000) return letters;
      }
    }
    case Kind::number: return number(old, after, country.seed);
    case Kind::year: {
      const uint64_t year = std::stoul(std::string(old));
      return std::to_string(year - mix(hash64(old), country.seed) % 40);
    }
    case Kind::day: return std::to_string(1 + mix(hash64(old), country.seed) % 28);
  }
  return std::string(old);
}

SampleDocument Inventor::document(uint32_t record, const InventedCountry& country) const {
  const std::string_view text = training_text_[record];
  SampleDocument document;
  document.title = country.name + ": " + records_->fields()[records_->field_of(record)];
  document.text.reserve(text.size() + 16);
  size_t from = 0;
  for (const Piece& piece : pieces_[record]) {
    document.text += text.substr(from, piece.begin - from);
    const std::string_view old = text.substr(piece.begin, piece.end - piece.begin);
    document.text += replacement(piece, old, text.substr(piece.end), country);
    from = piece.end;
  }
  document.text += text.substr(from);
  return document;
}

}  // namespace msa::factbook
