#include "tasks/factbook_phrase.h"

#include <span>

#include "tasks/factbook_names.h"

namespace msa::factbook {
namespace {

// The phrases of one split, without the mark of held-out ones.
std::vector<std::string_view> of_split(std::span<const std::string_view> phrases, Split split) {
  std::vector<std::string_view> kept;
  for (std::string_view phrase : phrases) {
    const bool held_out = phrase.starts_with('~');
    if (held_out == (split == Split::test)) kept.push_back(phrase.substr(held_out ? 1 : 0));
  }
  return kept;
}

// Puts `value` in the place of every `slot`. "{c}'s" after a plural with an article is "the
// Netherlands'".
void put(std::string& text, std::string_view slot, std::string_view value) {
  for (size_t at = text.find(slot); at != std::string::npos;
       at = text.find(slot, at + value.size())) {
    text.replace(at, slot.size(), value);
    const size_t end = at + value.size();
    if (value.starts_with("the ") && value.ends_with('s') && text.compare(end, 2, "'s") == 0)
      text.erase(end + 1, 1);
  }
}

// Whether a long clause can stand at {c}: "the country whose capital is Ndola" must not be followed
// by much more of the sentence.
bool takes_clause(std::string_view phrase) {
  constexpr size_t kMaxBytesAfter = 9;  // " produce?"
  const size_t at = phrase.find("{c}");
  if (at == std::string_view::npos) return false;
  std::string_view after = phrase.substr(at + 3);
  if (after.starts_with(" in {y}")) after.remove_prefix(7);
  return after.size() <= kMaxBytesAfter && !after.starts_with("'s") &&
         after.find('{') == std::string_view::npos;
}

// The same for noun phrases that end in a clause, at {n}.
bool frames_clause(std::string_view frame) {
  const std::string_view after = frame.substr(frame.find("{n}") + 3);
  return after.size() <= 1 || after.front() == ',' || after == " {is}?";
}

void capitalize(std::string& text) {
  if (!text.empty() && text[0] >= 'a' && text[0] <= 'z')
    text[0] = static_cast<char>(text[0] - 'a' + 'A');
}

}  // namespace

Phrasebook::Phrasebook(Split split)
    : noun_frames_(of_split(noun_frames(), split)),
      country_frames_(of_split(country_frames(), split)) {
  wordings_.resize(2 * facts().size());
  for (size_t f = 0; f < facts().size(); ++f)
    for (const std::string_view phrase : of_split(facts()[f].phrases, split)) {
      const bool whole = phrase.ends_with('?') || phrase.ends_with('.');
      for (const bool described : {false, true}) {
        if (described && !takes_clause(phrase)) continue;
        Wordings& wordings = of(f, described);
        (whole ? wordings.questions : wordings.nouns).push_back(phrase);
      }
    }
  for (const std::string_view frame : noun_frames_)
    if (frames_clause(frame)) ending_frames_.push_back(frame);
  for (const Bridge& bridge : bridges()) clauses_.push_back(of_split(bridge.clauses, split));
}

size_t Phrasebook::phrasings(size_t fact, bool described) const {
  const Wordings& wordings = of(fact, described);
  return wordings.questions.size() + wordings.nouns.size() * frames(described).size();
}

std::string Phrasebook::ask(size_t fact, const Slots& slots, uint64_t choice) const {
  const Wordings& wordings = of(fact, slots.described);
  // Questions made for the fact are used rather more often than frames around a noun phrase.
  const bool framed =
      wordings.questions.empty() || (!wordings.nouns.empty() && mix(choice, 0) % 5 < 2);
  std::string text;
  if (framed) {
    std::string_view noun = wordings.nouns[mix(choice, 1) % wordings.nouns.size()];
    const bool plural = noun.starts_with('+');
    if (plural) noun.remove_prefix(1);
    const std::vector<std::string_view>& usable = frames(slots.described);
    text = usable[mix(choice, 2) % usable.size()];
    put(text, "{is}", plural ? "are" : "is");
    put(text, "{n}", noun);
  } else {
    text = wordings.questions[mix(choice, 1) % wordings.questions.size()];
  }
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
