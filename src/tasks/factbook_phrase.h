// The wording of questions about countries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tasks/factbook_facts.h"
#include "tasks/factbook_wording.h"
#include "tasks/task.h"

namespace msa::factbook {

struct Slots {
  std::string_view country;     // {c}, as in questions
  std::string_view item, year;  // {i}, {y}
  bool described = false;       // the country is given by a clause, after which no "'s" can stand
};

// Immutable. Train and test phrasings are disjoint.
class Phrasebook {
 public:
  explicit Phrasebook(Split split);

  // A question for fact `fact` (an index into facts()); `choice` decides the wording.
  std::string ask(size_t fact, const Slots& slots, uint64_t choice) const;
  // "the country whose capital is Ndola", for bridge `bridge` with the value.
  std::string describe(size_t bridge, std::string_view value, uint64_t choice) const;
  // "Name the country whose capital is Ndola."
  std::string ask_country(size_t bridge, std::string_view value, uint64_t choice) const;

  // Different wordings of a fact in this split; those that can stand for a described country.
  size_t phrasings(size_t fact, bool described) const { return wordings_[fact].count(described); }
  size_t clauses(size_t bridge) const { return clauses_[bridge].size(); }

 private:
  std::vector<Wordings> wordings_;                      // per fact
  std::vector<std::vector<std::string_view>> clauses_;  // per bridge
  std::vector<std::string_view> country_frames_;
};

}  // namespace msa::factbook
