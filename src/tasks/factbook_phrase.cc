#include "tasks/factbook_phrase.h"

#include "tasks/factbook_names.h"

namespace msa::factbook {

Phrasebook::Phrasebook(Split split) : country_frames_(of_split(country_frames(), split)) {
  for (const Fact& fact : facts()) wordings_.emplace_back(fact.phrases, split);
  for (const Bridge& bridge : bridges()) clauses_.push_back(of_split(bridge.clauses, split));
}

std::string Phrasebook::ask(size_t fact, const Slots& slots, uint64_t choice) const {
  std::string text = wordings_[fact].pick(slots.described, choice);
  put(text, "{c}", slots.country);
  put(text, "{i}", slots.item);
  put(text, "{y}", slots.year);
  capitalize(text);
  return text;
}

std::string Phrasebook::describe(size_t bridge, std::string_view value, uint64_t choice) const {
  const std::vector<std::string_view>& clauses = clauses_[bridge];
  std::string text = "the country " + std::string(clauses[choice % clauses.size()]);
  put(text, "{v}", value);
  return text;
}

std::string Phrasebook::ask_country(size_t bridge, std::string_view value, uint64_t choice) const {
  const std::vector<std::string_view>& clauses = clauses_[bridge];
  std::string text(country_frames_[mix(choice, 1) % country_frames_.size()]);
  put(text, "{b}", clauses[mix(choice, 2) % clauses.size()]);
  put(text, "{v}", value);
  return text;
}

}  // namespace msa::factbook
