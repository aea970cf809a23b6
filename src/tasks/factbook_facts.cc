#include "tasks/factbook_facts.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <iterator>

namespace msa::factbook {
namespace {

constexpr std::array<std::string_view, 10> kCountryFrames = {
    "Name the country {b}.",
    "Which is the country {b}?",
    "What is the name of the country {b}?",
    "I am looking for the country {b}.",
    "Tell me which country it is {b}.",
    "Please find the country {b}.",
    "Which country is the one {b}?",
    "~What do they call the country {b}?",
    "~Help me guess the country {b}.",
    "~Could you identify the country {b}?",
};

}  // namespace

std::span<const std::string_view> country_frames() {
  return kCountryFrames;
}

const std::vector<Fact>& facts() {
  static const std::vector<Fact> all = [] {
    std::vector<Fact> joined;
    for (auto& part : {land_facts(), people_facts(), health_facts(), state_facts(), economy_facts(),
                       energy_facts()})
      std::move(part.begin(), part.end(), std::back_inserter(joined));
    for (const auto& part : {more_land_phrases(), more_people_phrases(), more_health_phrases(),
                             more_state_phrases(), more_economy_phrases(), more_energy_phrases()})
      for (const MorePhrases& more : part) {
        const auto fact = std::ranges::find(joined, more.fact, &Fact::key);
        assert(fact != joined.end());
        fact->phrases.insert(fact->phrases.end(), more.phrases.begin(), more.phrases.end());
      }
    return joined;
  }();
  return all;
}

const std::vector<Bridge>& bridges() {
  static const std::vector<Bridge> all = {
      {"capital",
       {"whose capital is {v}", "~that is ruled from {v}", "~that has {v} as its capital",
        "whose government sits in {v}", "with {v} as its capital city",
        "of which {v} is the chief city", "whose ministers meet in {v}"}},
      {"highest",
       {"whose highest point is {v}", "where {v} is the tallest peak",
        "~that has {v} as its highest point", "~in which {v} is the highest spot",
        "with {v} as its highest mountain", "over which {v} towers as the top",
        "whose loftiest place is {v}"}},
      {"anthem",
       {"whose national anthem is \"{v}\"", "~whose anthem is called \"{v}\"",
        "that has \"{v}\" as its national song", "where people sing \"{v}\" as the anthem",
        "~with the national anthem \"{v}\"", "whose athletes hear \"{v}\" when they win",
        "that honours itself with the song \"{v}\""}},
      {"currency/code",
       {"whose currency code is {v}", "~whose money has the code {v}",
        "that uses the currency with the code {v}", "where banks write {v} for the money",
        "~with the currency code {v}", "where prices are quoted in {v}",
        "whose money is traded under the letters {v}"}},
      {"currency",
       {"where people pay with {v}", "~whose currency is called {v}", "that uses {v} as its money",
        "in which one pays in {v}", "~with {v} as its currency", "whose purses hold {v}",
        "where wages are paid out in {v}"}},
      {"internet code",
       {"whose web addresses end in {v}", "~whose internet code is {v}",
        "~that has the internet domain {v}", "with the internet ending {v}",
        "to which the domain {v} belongs", "whose sites carry {v} behind the last dot",
        "that the net knows as {v}"}},
      {"aircraft prefix",
       {"whose aircraft carry the prefix {v}", "whose planes are registered with {v}",
        "~that has {v} as its aircraft prefix", "where planes bear the letters {v}",
        "~with the aircraft prefix {v}", "whose aeroplanes show {v} on the tail",
        "that marks its planes with {v}"}},
      {"long name",
       {"whose full name is {v}", "~that is officially called {v}",
        "that bears the official name {v}", "~with the formal name {v}", "known in full as {v}",
        "that signs treaties as {v}", "whose ceremonious title is {v}"}},
      {"local name",
       {"that its own people call {v}", "~whose local name is {v}", "~that is known at home as {v}",
        "which the locals name {v}", "with the native name {v}",
        "that goes by {v} in its own tongue", "whose home-grown name is {v}"}},
      {"former name",
       {"that used to be called {v}", "~whose former name is {v}", "~formerly known as {v}",
        "that was once named {v}", "with the earlier name {v}", "that older maps show as {v}",
        "which bore the name {v} in days gone by"}},
      {"head of state",
       {"whose head of state is {v}", "over which {v} presides",
        "~that has {v} as its head of state", "~with {v} as chief of state",
        "at whose top stands {v}", "in whose offices the portrait of {v} hangs",
        "whose first person is {v}"}},
      {"head of government",
       {"whose government is led by {v}", "~whose head of government is {v}",
        "that has {v} at the head of its government", "~with {v} as head of government",
        "governed by {v}", "whose ministers are chaired by {v}", "that {v} runs from day to day"}},
      {"legislature",
       {"whose parliament is called {v}", "~whose legislature is the {v}",
        "where the {v} makes the laws", "~that has the {v} as its legislature",
        "with a parliament named {v}", "whose lawmakers meet as the {v}",
        "for which the {v} legislates"}},
      {"demonym",
       {"whose nationals go by the noun {v}", "~where a citizen is called {v}",
        "that calls its citizens by the noun {v}", "whose inhabitants go by the word {v}",
        "~in which a native is a {v}", "whose sons and daughters are known as {v}",
        "that is the home of anyone called {v}"}},
      {"symbol",
       {"whose national symbol is the {v}", "~that has the {v} as its emblem",
        "for which the {v} stands as a symbol", "~with the {v} as its national symbol",
        "symbolized by the {v}", "that puts the {v} on its badges",
        "which presents itself under the sign of the {v}"}},
      {"ambassador to the US",
       {"that sent {v} to Washington", "~whose envoy to America is {v}",
        "~represented in the US by {v}", "whose mission in the US is headed by {v}",
        "for which {v} speaks in Washington", "whose top diplomat in America is {v}",
        "that has {v} as its voice in Washington"}},
      {"ambassador from the US",
       {"to which America sent {v}", "~where {v} represents the US", "whose American envoy is {v}",
        "where {v} heads the US mission", "~in which {v} speaks for Washington",
        "where America's top diplomat is {v}", "to which {v} carries the voice of Washington"}},
      {"anthem/authors",
       {"whose anthem was written by {v}", "~whose national anthem is by {v}",
        "~that owes its anthem to {v}", "with an anthem by {v}",
        "whose hymn has {v} as its authors", "whose hymn came from the pens of {v}",
        "that thanks {v} for its hymn"}},
  };
  return all;
}

}  // namespace msa::factbook
