#include "tasks/prose_facts.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>

#include "tasks/factbook_letters.h"

namespace msa::prose {
namespace {

using factbook::is_capitalized;
using factbook::is_digit;
using factbook::is_lower;
using factbook::is_month;
using factbook::letter_at;
using factbook::number_end;
using factbook::word_end;

constexpr size_t kNone = std::string_view::npos;
constexpr size_t kMaxValueWords = 12;

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == ',')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == ',')) text.remove_suffix(1);
  return text;
}

size_t word_count(std::string_view text) {
  return text.empty() ? 0 : 1 + static_cast<size_t>(std::ranges::count(text, ' '));
}

bool one_of(std::string_view word, std::span<const std::string_view> words) {
  return std::ranges::find(words, word) != words.end();
}

// Words inside names: "Otto von Habsburg", "Duke of Nassau".
constexpr std::array<std::string_view, 27> kParticles = {
    "of", "de", "von", "van", "der", "den", "la",  "le", "al", "bin", "the", "di", "da",  "del",
    "du", "no", "y",   "e",   "zu",  "ibn", "dos", "do", "el", "las", "los", "af", "upon"};

// The end of a run of capitalized words that begins at `i`; `i` if there is none. Commas are passed
// in places ("Rumson, New Jersey"), "and" if another name follows and `lists` is set.
size_t name_end(std::string_view text, size_t i, bool commas, bool lists) {
  const size_t start = i;
  size_t end = i;
  while (i < text.size()) {
    const size_t word = word_end(text, i);
    const std::string_view token = text.substr(i, word - i);
    if (word > i && is_capitalized(token) && !is_month(token)) {
      // "Peshwa I." ends there, "A. V. Bramble" does not.
      const bool numeral =
          i > start + 1 && text[i - 2] != '.' && (token == "I" || token == "V" || token == "X");
      end = i = word;
      // "A. V. Bramble", "St. Petersburg", "Saxe- Meiningen".
      if (i < text.size() && text[i] == '.' &&
          ((token.size() == 1 && !numeral) || token == "St" || token == "Jr" || token == "Dr"))
        end = ++i;
      // "Saxe- Meiningen" and "Kim Ki- young": what follows the hyphen belongs to the name.
      while (i + 1 < text.size() && text[i] == '-') {
        const size_t part = text[i + 1] == ' ' ? i + 2 : i + 1;
        const size_t part_end = word_end(text, part);
        if (part_end == part) break;
        end = i = part_end;
      }
    } else if (word > i && end > start && one_of(token, kParticles)) {
      i = word;
    } else if (word > i && end > start && lists && token == "and") {
      i = word;
    } else {
      break;
    }
    if (i >= text.size()) break;
    if (text[i] == ' ') {
      ++i;
    } else if (text[i] == ',' && (commas || lists) && i + 2 < text.size() && text[i + 1] == ' ') {
      i += 2;
    } else {
      break;
    }
  }
  return end;
}

std::string_view name_at(std::string_view text, size_t i, bool commas = false, bool lists = false) {
  return text.substr(i, name_end(text, i, commas, lists) - i);
}

// "4 May 1950", "May 4, 1950", "May 1950", "1950", "c. 1160": its length, 0 if none begins at `i`.
size_t date_length(std::string_view text, size_t i) {
  const size_t start = i;
  const auto year = [&](size_t at) -> size_t {
    size_t end = at;
    while (end < text.size() && is_digit(text[end])) ++end;
    return end - at == 3 || end - at == 4 ? end : 0;
  };
  const auto month = [&](size_t at) -> size_t {
    const size_t end = word_end(text, at);
    return is_month(text.substr(at, end - at)) ? end : 0;
  };
  if (i >= text.size()) return 0;
  if (text.substr(i).starts_with("c. ")) i += 3;
  if (const size_t end = year(i); end > 0) return end - start;
  if (is_digit(text[i])) {
    size_t at = i;
    while (at < text.size() && is_digit(text[at])) ++at;
    if (at - i > 2 || at >= text.size() || text[at] != ' ') return 0;
    const size_t after = month(at + 1);
    if (after == 0 || after >= text.size() || text[after] != ' ') return 0;
    const size_t end = year(after + 1);
    return end > 0 ? end - start : 0;
  }
  size_t at = month(i);
  if (at == 0 || at >= text.size() || text[at] != ' ') return 0;
  ++at;
  if (const size_t end = year(at); end > 0) return end - start;
  while (at < text.size() && is_digit(text[at])) ++at;
  if (!text.substr(at).starts_with(", ")) return 0;
  const size_t end = year(at + 2);
  return end > 0 ? end - start : 0;
}

class Finder {
 public:
  explicit Finder(std::string_view text) : text_(text) {}

  std::vector<PassageFact> find() {
    const std::vector<std::string_view> all = sentences(text_);
    if (all.empty() || text_.find("may refer to") != kNone ||
        text_.find("may also refer to") != kNone)
      return {};
    first_sentence(all.front());
    for (size_t i = 1; i < all.size(); ++i)
      if (is_about_subject(all[i])) markers(all[i]);
    return std::move(facts_);
  }

 private:
  static bool is_about_subject(std::string_view sentence) {
    for (const std::string_view start :
         {"He was ",      "She was ",     "He is ",          "She is ",         "It was ",
          "It is ",       "He married ",  "She married ",    "He grew up ",     "She grew up ",
          "The film ",    "The song ",    "The album ",      "The series ",     "The book ",
          "The novel ",   "The village ", "The population ", "Its population ", "He plays ",
          "She plays ",   "He studied ",  "She studied ",    "He graduated ",   "She graduated ",
          "He died ",     "She died ",    "It stars ",       "He attended ",    "She attended ",
          "He currently "})
      if (sentence.starts_with(start)) return true;
    return false;
  }

  void add(Relation relation, std::string_view value) {
    value = trimmed(value);
    if (value.empty() || word_count(value) > kMaxValueWords || value.ends_with('-') ||
        value.find_first_of("()[]\"\n") != kNone)
      return;
    for (const PassageFact& fact : facts_)
      if (fact.relation == relation) return;
    facts_.push_back({relation, value});
  }

  void first_sentence(std::string_view sentence) {
    // Dates stand in one of the first brackets.
    size_t open = sentence.find('(');
    for (int i = 0; i < 3 && open != kNone && open < 160;
         ++i, open = sentence.find('(', open + 1)) {
      const size_t close = sentence.find(')', open);
      if (close == kNone) break;
      if (life_dates(trimmed(sentence.substr(open + 1, close - open - 1)))) break;
    }
    predicate(sentence);
    markers(sentence);
  }

  // "born 4 June 1973 in Mirfield, West Yorkshire", "18 July 1893, Cahir – 28 December 1968".
  bool life_dates(std::string_view inside) {
    size_t at = 0;
    bool born_only = false;
    if (const size_t born = inside.find("born "); born != kNone && born < 60) {
      at = born + 5;
      born_only = true;
      if (inside.substr(at).starts_with("on ")) at += 3;
    }
    const size_t length = date_length(inside, at);
    if (length == 0) return false;
    const std::string_view date = inside.substr(at, length);
    at += length;
    const size_t dash = std::min(inside.find("–", at), inside.find('-', at));
    if (born_only || dash != kNone) {
      add(Relation::born, date);
      place_after(inside.substr(0, dash == kNone ? inside.size() : dash), at, Relation::birthplace);
    }
    if (dash == kNone) return born_only;
    for (size_t i = dash; i < inside.size(); ++i)
      if (const size_t second = date_length(inside, i);
          second > 0 && letter_at(inside, i - 1) == 0 && !is_digit(inside[i - 1])) {
        add(Relation::died, inside.substr(i, second));
        place_after(inside, i + second, Relation::deathplace);
        break;
      }
    return true;
  }

  void place_after(std::string_view text, size_t at, Relation relation) {
    for (const std::string_view link : {", ", " in ", " at "})
      if (text.substr(at).starts_with(link)) {
        add(relation, name_at(text, at + link.size(), /*commas=*/true));
        return;
      }
  }

  // "… is an American film producer and director." and "… is a village in Chishminsky District".
  void predicate(std::string_view sentence) {
    constexpr std::array<std::string_view, 8> kCopulas = {
        " is a ", " is an ", " was a ", " was an ", " is the ", " was the ", " are a ", " are an "};
    size_t at = kNone, size = 0;
    for (const std::string_view copula : kCopulas)
      if (const size_t found = sentence.find(copula); found < at) {
        at = found;
        size = copula.size();
      }
    if (at == kNone) return;
    const bool definite = sentence.substr(at, size).ends_with("the ");
    const std::string_view rest = sentence.substr(at + size);
    constexpr std::array<std::string_view, 25> kStops = {
        ",",        ".",      " who ",        " which ",    " that ",     " from ",    " in ",
        " for ",    " best ", " noted ",      " by ",       " directed ", " written ", "(",
        " and is ", " with ", " located",     " published", " founded",   " released", " based",
        " set ",    " built", " established", " made "};
    size_t end = rest.size();
    for (const std::string_view stop : kStops) end = std::min(end, rest.find(stop));
    const std::string_view what = trimmed(rest.substr(0, end));
    if (!definite && word_count(what) <= 9 && what.size() > 3) {
      add(Relation::description, what);
      what_it_is(what);
    }
    if (rest.substr(end).starts_with(" in ") && is_place(what)) {
      const size_t place = end + 4 + (rest.substr(end + 4).starts_with("the ") ? 4 : 0);
      add(Relation::location, name_at(rest, place, /*commas=*/true));
    }
  }

  static bool is_place(std::string_view what) {
    for (const std::string_view kind :
         {"village",    "town",     "city",    "commune",    "municipality", "locality",
          "river",      "mountain", "school",  "university", "hamlet",       "community",
          "lake",       "island",   "station", "district",   "township",     "college",
          "church",     "castle",   "suburb",  "parish",     "peak",         "stream",
          "settlement", "hospital", "museum",  "park",       "stadium",      "building"})
      if (what.find(kind) != kNone) return true;
    return false;
  }

  static bool is_work(std::string_view what) {
    for (const std::string_view kind :
         {"film", "movie", "album", "song", "single", "series", "novel", "book", "play", "opera",
          "comedy", "drama", "musical", "documentary", "thriller", "western"})
      if (what.ends_with(kind) || what.find(std::string(kind) + " ") != kNone) return true;
    return false;
  }

  // Takes "1981 Filipino fantasy film" and "American film producer" apart.
  void what_it_is(std::string_view what) {
    if (what.size() > 5 && is_digit(what[0]) && number_end(what, 0) == 4) {
      add(Relation::year, what.substr(0, 4));
      return;
    }
    if (is_place(what)) return;
    constexpr std::array<std::string_view, 9> kOdd = {
        "French", "Dutch", "Greek", "Swiss", "Czech", "Thai", "Welsh", "Filipino", "Scots"};
    const size_t end = word_end(what, 0);
    const std::string_view word = what.substr(0, end);
    if (!is_capitalized(word) || word.size() < 4 || word == "Roman") return;
    const bool demonym = one_of(word, kOdd) || word.ends_with("an") || word.ends_with("ish") ||
                         word.ends_with("ese") || (word.ends_with("i") && word.size() > 4);
    if (!demonym || end >= what.size() || what[end] != ' ') return;
    if (is_work(what) && what.find("direct") == kNone && what.find("act") == kNone &&
        what.find("produc") == kNone && what.find("writ") == kNone)
      return;
    add(Relation::nationality, word);
    std::string_view profession = trimmed(what.substr(end));
    profession = profession.substr(0, profession.find(" of "));
    if (!profession.starts_with("rules ") && is_lower(profession.front()) &&
        word_count(profession) <= 7)
      add(Relation::profession, profession);
  }

  enum class Value { name, names, date, place, number, performer, clause };
  struct Marker {
    std::string_view text;
    Relation relation;
    Value value;
  };

  void markers(std::string_view sentence) {
    using enum Relation;
    static constexpr std::array<Marker, 46> kMarkers = {{
        {" directed by ", director, Value::names},
        {" written by ", writer, Value::names},
        {" novel by ", writer, Value::names},
        {" produced by ", producer, Value::names},
        {" starring ", cast, Value::names},
        {" stars ", cast, Value::names},
        {" composed by ", composer, Value::names},
        {" music by ", composer, Value::names},
        {" album by ", performer, Value::performer},
        {" song by ", performer, Value::performer},
        {" single by ", performer, Value::performer},
        {" recorded by ", performer, Value::performer},
        {" son of ", parent, Value::names},
        {" daughter of ", parent, Value::names},
        {" child of ", parent, Value::names},
        {" married to ", spouse, Value::name},
        {" wife of ", spouse, Value::name},
        {" husband of ", spouse, Value::name},
        {"He married ", spouse, Value::name},
        {"She married ", spouse, Value::name},
        {" brother of ", sibling, Value::name},
        {" sister of ", sibling, Value::name},
        {" was born in ", birthplace, Value::place},
        {" was born on ", born, Value::date},
        {" was born ", born, Value::date},
        {" died in ", deathplace, Value::place},
        {" died on ", died, Value::date},
        {" grew up in ", grew_up, Value::place},
        {" educated at ", school, Value::names},
        {" studied at ", school, Value::name},
        {" graduated from ", school, Value::name},
        {" attended ", school, Value::name},
        {" plays for ", team, Value::name},
        {" known for ", known_for, Value::clause},
        {" released in ", release, Value::date},
        {" released on ", release, Value::date},
        {" premiered on ", release, Value::date},
        {" founded in ", founded, Value::date},
        {" established in ", founded, Value::date},
        {" built in ", founded, Value::date},
        {" located in ", location, Value::place},
        {" population of ", population, Value::number},
        {" population was ", population, Value::number},
        {" published by ", publisher, Value::name},
        {" capital of ", capital_of, Value::name},
        {" member of ", member, Value::name},
    }};
    for (const Marker& marker : kMarkers) {
      const size_t at = sentence.find(marker.text);
      if (at == kNone || is_of_another(marker.relation, sentence.substr(0, at))) continue;
      add_value(marker, sentence, at + marker.text.size());
    }
  }

  // "the husband of Patricia, daughter of Prince Arthur": not the subject's father.
  static bool is_of_another(Relation relation, std::string_view before) {
    if (relation != Relation::parent && relation != Relation::sibling) return false;
    for (const std::string_view word :
         {"husband of", "wife of", "married", "widow", "father of", "mother of"})
      if (before.find(word) != kNone) return true;
    return false;
  }

  void add_value(const Marker& marker, std::string_view sentence, size_t at) {
    std::string_view rest = sentence.substr(at);
    switch (marker.value) {
      case Value::name:
      case Value::names:
      case Value::place: {
        for (const std::string_view article : {"the ", "an ", "a "})
          if (rest.starts_with(article)) {
            rest.remove_prefix(article.size());
            break;
          }
        const std::string_view name =
            name_at(rest, 0, marker.value == Value::place, marker.value == Value::names);
        // "the novel of Emma" would be cut short; a single initial is no name.
        const bool several = name.find(' ') != kNone;
        if (!several && (marker.relation == Relation::cast || marker.relation == Relation::member))
          return;
        if (marker.value == Value::place && name.starts_with("House of")) return;
        if (!stands_alone(name, rest.substr(name.size()))) return;
        if (name.size() > 2) add(marker.relation, name);
        return;
      }
      case Value::date: add(marker.relation, rest.substr(0, date_length(rest, 0))); return;
      case Value::number: {
        const size_t end = number_end(rest, 0);
        if (end > 0) add(marker.relation, rest.substr(0, end));
        return;
      }
      case Value::performer: performer(rest); return;
      case Value::clause: {
        const std::string_view clause = rest.substr(0, rest.find_first_of(",.;"));
        if (word_count(clause) >= 2 && word_count(clause) <= 9) add(marker.relation, clause);
        return;
      }
    }
  }

  // "wife of the German chancellor" names nobody.
  static bool stands_alone(std::string_view name, std::string_view after) {
    if (name.find(' ') == kNone && (name.ends_with("ish") || name.ends_with("ese"))) return false;
    if (after.size() < 2 || after[0] != ' ' || !is_lower(after[1])) return true;
    constexpr std::array<std::string_view, 28> kLinks = {
        "and",   "who",   "in",       "from", "at",    "by",    "the",   "a",     "as", "on",
        "was",   "which", "with",     "for",  "until", "is",    "but",   "to",    "he", "she",
        "based", "upon",  "starring", "or",   "when",  "where", "since", "during"};
    return one_of(after.substr(1, word_end(after, 1) - 1), kLinks);
  }

  // "the British glam rock band Sweet, released …": the last name before the phrase ends.
  void performer(std::string_view rest) {
    constexpr std::array<std::string_view, 12> kEnds = {"released", "from",  "for",  "in",
                                                        "on",       "which", "that", "who",
                                                        "with",     "and",   "as",   "featuring"};
    size_t begin = 0, end = 0;
    for (size_t i = 0; i < rest.size();) {
      const size_t word = word_end(rest, i);
      if (word == i) break;
      const std::string_view token = rest.substr(i, word - i);
      if (is_capitalized(token)) {
        begin = i;
        end = name_end(rest, i, false, false);
        i = end;
      } else {
        if (one_of(token, kEnds)) break;
        i = word;
        end = 0;
      }
      if (i >= rest.size() || rest[i] != ' ') break;
      ++i;
    }
    if (end > begin) add(Relation::performer, without_nation(rest.substr(begin, end - begin)));
  }

  // "American Britney Spears" does not occur, "English Heart" does; a lone adjective is no
  // performer.
  static std::string_view without_nation(std::string_view name) {
    const bool lone = name.find(' ') == kNone &&
                      (name.ends_with("an") || name.ends_with("ish") || name.ends_with("ese"));
    return lone ? std::string_view() : name;
  }

  std::string_view text_;
  std::vector<PassageFact> facts_;
};

}  // namespace

std::vector<PassageFact> find_facts(std::string_view text) {
  return Finder(text).find();
}

std::string_view subject_kind(std::string_view text) {
  for (const PassageFact& fact : find_facts(text))
    if (fact.relation == Relation::description) {
      const size_t space = fact.value.rfind(' ');
      return space == kNone ? fact.value : fact.value.substr(space + 1);
    }
  return {};
}

std::vector<std::string_view> sentences(std::string_view text) {
  constexpr std::array<std::string_view, 23> kShort = {
      "St", "Dr", "Mr", "Mrs",  "Ms",  "Jr",  "Sr",   "Lt",  "Col",    "Gen", "Sgt", "No",
      "vs", "Mt", "ca", "Capt", "Rev", "Hon", "Prof", "Inc", "approx", "Fr",  "fl"};
  std::vector<std::string_view> found;
  size_t begin = 0;
  const auto add = [&](size_t end) {
    const std::string_view sentence = trimmed(text.substr(begin, end - begin));
    if (!sentence.empty()) found.push_back(sentence);
    begin = end;
  };
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\n') {
      add(i);
      ++begin;
      continue;
    }
    if (text[i] != '.' || i + 2 >= text.size() || text[i + 1] != ' ' || is_lower(text[i + 2]))
      continue;
    size_t word = i;
    while (word > 0 && text[word - 1] != ' ' && text[word - 1] != '.' && text[word - 1] != '(')
      --word;
    const std::string_view before = text.substr(word, i - word);
    if (one_of(before, kShort) || (before.size() == 1 && !is_digit(before[0]))) continue;
    add(i + 1);
  }
  add(text.size());
  return found;
}

}  // namespace msa::prose
