// Reads answers out of Factbook records, by the rule of each fact.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tasks/factbook_facts.h"

namespace msa::factbook {

struct Found {
  std::string_view value;  // a part of the text it was read from
  std::string_view item;   // what stands for {i}, a part of the text too
  std::string_view year;   // what stands for {y}
};

// The answer to `fact` in a record's text, nothing if the rule does not match or the value has not
// the fact's shape. `choice` picks among several items or years.
std::optional<Found> extract(const Fact& fact, std::string_view text, uint64_t choice);

// The text up to a sentence's end within `max_words` words, to a word's end if there is none.
std::string_view first_words(std::string_view text, size_t max_words);

// A number without its unit: "12 nm" -> "12", "2.1% of GDP" -> "2.1%"; `value` itself if it has
// none.
std::string_view without_unit(std::string_view value);

}  // namespace msa::factbook
