// The invented people, places and things of one sample, and what is true of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "tasks/encyclopaedia_facts.h"
#include "tasks/encyclopaedia_words.h"

namespace msa::encyclopaedia {

inline constexpr size_t kNoEntity = ~size_t{0};

struct Fact {
  size_t relation = 0;        // of relations()
  std::string value;          // as the article says it
  size_t entity = kNoEntity;  // that the value names, if that one has an article
};

struct Entity {
  Kind kind = Kind::person;
  Type type;
  std::string name;      // without article: "Dorvik Bridge"
  bool article = false;  // "the Dorvik Bridge"
  std::string root;      // the part of the name that no other sample has
  // A person's first and last name, and sex.
  std::string first, last;
  bool female = false;
  int64_t year = 0, end_year = 0;  // main year; a person's year of death
  std::vector<Fact> facts;         // without those that stand in no article

  std::string name_in_text() const { return article ? "the " + name : name; }
};

// Gives out names that no other sample, and no distractor, has.
class Namer {
 public:
  // `sample` counts samples or distractors, `most` is the number of names one of them may need.
  Namer(const Roots& roots, uint64_t sample, uint64_t most)
      : roots_(roots), next_short_(sample * kShorts), next_long_(sample * most), most_(most) {}

  std::string root(Random& draw);

 private:
  static constexpr uint64_t kShorts = 8;

  const Roots& roots_;
  uint64_t next_short_, next_long_, shorts_ = 0, longs_ = 0;
  [[maybe_unused]] uint64_t most_;  // checked by an assert
};

class World {
 public:
  struct Plan {
    size_t articles = 1;  // entities with articles
    size_t depth = 0;     // links that can be followed from one to the next
    size_t fewest_facts = 2, most_facts = 9;
    double lookalikes = 0;  // share of articles on entities that share part of another's name
  };

  World(Namer& namer, Split split, Random& draw, const Plan& plan);

  // Those with articles; all of their facts.
  std::vector<Entity>& entities() { return entities_; }
  const std::vector<Entity>& entities() const { return entities_; }

 private:
  struct Wish;  // what an entity must be like

  Entity make(const Wish& wish);
  size_t add(const Wish& wish, size_t depth);
  void give_facts(size_t entity, size_t depth, const Wish& wish);
  bool give_fact(size_t entity, size_t relation, size_t depth, bool must_lead_on);
  std::string entity_value(size_t entity, const Relation& relation, size_t depth, bool must_lead_on,
                           size_t& target);

  bool tells(size_t entity, std::string_view key) const;
  bool is_named(const Relation& relation, size_t entity) const;

  Namer& namer_;
  Split split_;
  Random& draw_;
  Plan plan_;
  std::vector<Entity> entities_;
  std::vector<bool> complete_;  // whether an entity has all its facts
  std::set<std::string> names_;
};

}  // namespace msa::encyclopaedia
