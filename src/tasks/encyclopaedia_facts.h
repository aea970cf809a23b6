// What articles of the invented encyclopaedia can tell, and the words in which they tell it and in
// which people ask for it.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace msa::encyclopaedia {

enum class Kind : uint8_t {
  person,
  city,
  country,
  work,
  company,
  university,
  river,
  mountain,
  species,
  ship,
  building,
  club,
};
inline constexpr size_t kKinds = 12;

// How the value of a fact is made.
struct Value {
  enum class Is {
    main_year,  // of birth, of foundation, …: one year of every entity
    end_year,   // a person's year of death
    later,      // `low` to `high` years after the main year
    number,     // `low` to `high`, small ones as likely as large ones
    word,       // one of `words`
    root,       // an invented word
    entity,     // the name of another entity
  };
  Is is;
  int64_t low = 0, high = 0;
  std::string_view unit = {};  // behind the number: " metres"
  std::span<const std::string_view> words = {};
  Kind target = Kind::person;
  // For entities that may have an article of their own: the main year of the one that names them is
  // `low` to `high` years after theirs.
  bool linked = false;
  // What the entity named is: one of these types; empty: any.
  std::string_view type = {};
};

// Slots of all texts: {t} is the entity's type ("novel"); {made}, {written} and {maker} go with it
// ("painted", "painted", "painter"). "[a|b]" is one of a and b.
struct Relation {
  std::string_view key;  // unique
  Kind kind;
  Value value;
  // Sentences of articles: {n} is the entity, {n's} its possessive, {v} the value. "^" marks those
  // that can only open an article.
  std::vector<std::string_view> sentences;
  // Questions, as factbook::Wordings takes them: {c} is the entity, "~" marks those held out.
  std::vector<std::string_view> phrases;
  // For linked values: noun phrases for the value ("the painter of {c}"), "~" as above.
  std::vector<std::string_view> descriptions = {};
  std::vector<std::string_view> types = {};  // of entities that have it; empty: all
};

// Two facts in one sentence, {v} the first, {w} the second.
struct PairSentence {
  std::string_view first, second;  // keys
  std::string_view sentence;
};

struct Type {
  std::string_view word;
  std::string_view made = {}, written = {}, maker = {};
  int64_t first_year = 0;  // there were none before
};

struct KindTexts {
  std::vector<Type> types;
  std::vector<std::string_view> openings;  // sentences that tell nothing but the type
  std::vector<std::string_view> fillers;   // sentences that tell nothing that is asked for
  // The range of main years.
  int64_t first_year, last_year;
};

// All relations, those of a kind one after another; in a fixed order. Valid for ever.
const std::vector<Relation>& relations();
const std::vector<PairSentence>& pair_sentences();
const KindTexts& texts_of(Kind kind);

// The parts of these tables.
std::vector<Relation> person_relations();
std::vector<Relation> place_relations();
std::vector<Relation> nature_relations();
std::vector<Relation> work_relations();
std::vector<Relation> institution_relations();
std::vector<Relation> craft_relations();

// Further phrases and descriptions for the relation of this key: everyday words, as different
// people would put it. They were written without sight of the held-out ones, and none has the same
// words of content as one of those.
struct MorePhrases {
  std::string_view relation;
  std::vector<std::string_view> phrases, descriptions = {};
};
std::vector<MorePhrases> more_person_phrases();
std::vector<MorePhrases> more_place_phrases();
std::vector<MorePhrases> more_nature_phrases();
std::vector<MorePhrases> more_work_phrases();
std::vector<MorePhrases> more_institution_phrases();
std::vector<MorePhrases> more_craft_phrases();

constexpr Value main_year() {
  return {Value::Is::main_year};
}
constexpr Value end_year() {
  return {Value::Is::end_year};
}
constexpr Value years_later(int64_t low, int64_t high) {
  return {Value::Is::later, low, high};
}
constexpr Value number(int64_t low, int64_t high, std::string_view unit = {}) {
  return {Value::Is::number, low, high, unit};
}
constexpr Value one_of(std::span<const std::string_view> words) {
  return {Value::Is::word, 0, 0, {}, words};
}
constexpr Value root_word() {
  return {Value::Is::root};
}
// Another entity without an article of its own.
constexpr Value mere(Kind kind) {
  return {Value::Is::entity, 0, 0, {}, {}, kind};
}
// Any main years go together.
inline constexpr int64_t kAnyGap = 100000;
constexpr Value link(Kind kind, int64_t low = -kAnyGap, int64_t high = kAnyGap,
                     std::string_view type = {}) {
  return {Value::Is::entity, low, high, {}, {}, kind, true, type};
}

}  // namespace msa::encyclopaedia
