// What can be asked of Factbook records: the facts, how each is read out of a record's text, and
// the words in which people ask for it.
#pragma once

#include <span>
#include <string_view>
#include <vector>

namespace msa::factbook {

// Where in a record's text the answer stands. `mark` is text that stands before the value.
enum class Rule {
  after,         // right after `mark` (empty: at the beginning)
  latest,        // after the first "… 2024: ": the latest of several years
  in_year,       // the same for one of the years, named in the question as {y}
  first_item,    // the first name of a list with shares: "Muslim 98%, Christian 2%"
  item_share,    // the share in such a list of an item that the question names as {i}
  first_listed,  // the first of a plain list
  official,      // the one item that has "(official)" behind it
  border,       // the kilometres of "Sudan 1,403 km" for a neighbour that the question names as {i}
  city,         // the inhabitants of a city, named as {i}, in "1.788 million Hamburg, …"
  bracketed,    // what stands in the first round brackets after `mark`
  quoted,       // what stands in the first quotation marks after `mark`
  peak_name,    // "Emi Koussi" of "Emi Koussi 3,445 m"
  peak_height,  // "3,445 m" of it
  second_part,  // what follows the first ", " after `mark`
};

// What an answer must look like; a record whose text gives something else is not asked about.
enum class Shape {
  number,    // begins with a digit, "$" or "-"; ends before a bracket or comma
  name,      // begins with a capital letter or a digit; ends before a bracket, comma or semicolon
  text,      // up to a bracket or semicolon, commas included; up to 8 words
  quantity,  // text with a digit in it
  list,      // to the end of the value, without its year; up to 12 words
};

// Phrases are whole questions (they end in "?" or ".") or noun phrases, "+" before plural ones,
// which go into frames (factbook_wording.h). "~" marks those held out for tests. {c} is the
// country.
struct Fact {
  std::string_view key;    // unique
  std::string_view field;  // of the Factbook
  Rule rule;
  std::string_view mark;
  Shape shape;
  std::vector<std::string_view> phrases;
};

// A fact whose value can stand for its country: "the country whose capital is {v}".
struct Bridge {
  std::string_view fact;                  // its key
  std::vector<std::string_view> clauses;  // what follows "the country"; "~" as above
};

// All facts, in a fixed order. Valid for ever.
const std::vector<Fact>& facts();
const std::vector<Bridge>& bridges();
// Questions for the country itself, around a bridge's clause {b}.
std::span<const std::string_view> country_frames();

// The parts that facts() is put together from.
std::vector<Fact> land_facts();
std::vector<Fact> people_facts();
std::vector<Fact> health_facts();
std::vector<Fact> state_facts();
std::vector<Fact> economy_facts();
std::vector<Fact> energy_facts();

// Further phrases for the fact of this key: everyday words, as different people would put it. They
// were written without sight of the held-out ones, and none has the same words of content as one of
// those.
struct MorePhrases {
  std::string_view fact;
  std::vector<std::string_view> phrases;
};
std::vector<MorePhrases> more_land_phrases();
std::vector<MorePhrases> more_people_phrases();
std::vector<MorePhrases> more_health_phrases();
std::vector<MorePhrases> more_state_phrases();
std::vector<MorePhrases> more_economy_phrases();
std::vector<MorePhrases> more_energy_phrases();

}  // namespace msa::factbook
