// What can be asked about encyclopaedia passages, read out of their sentences by pattern.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

namespace msa::prose {

enum class Relation {
  born,  // date
  died,  // date
  birthplace,
  deathplace,
  description,  // what the passage says that its subject is
  nationality,
  profession,
  year,     // a work's
  release,  // date
  director,
  writer,
  producer,
  cast,
  composer,
  performer,
  parent,
  spouse,
  sibling,
  location,
  population,
  founded,
  school,
  team,
  known_for,
  member,
  publisher,
  grew_up,
  capital_of,
};

struct PassageFact {
  Relation relation;
  std::string_view value;  // a part of the text
};

// All facts about the passage's subject that a pattern finds; at most one of each relation. Only
// sentences that are about the subject count: the first one, and such as begin with "He", "The
// film", ….
std::vector<PassageFact> find_facts(std::string_view text);

// What kind of thing the text describes: "film", "politician", "village"; empty if unknown.
std::string_view subject_kind(std::string_view text);

// The words of the questions: phrases as in factbook_wording.h, the subject at {c}; and noun
// phrases for the value, to ask on about it: "the director of {c}" (few relations have them).
struct RelationPhrases {
  Relation relation;
  std::vector<std::string_view> phrases, descriptions;
};
const std::vector<RelationPhrases>& relation_phrases();
const RelationPhrases& phrases_of(Relation relation);

// The sentences of a text, spaces between them left out. Initials and titles ("Dr.") end none.
std::vector<std::string_view> sentences(std::string_view text);

}  // namespace msa::prose
