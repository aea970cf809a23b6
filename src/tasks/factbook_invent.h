// Countries that do not exist, described by records in the style of real ones.
//
// A record of a real country is taken apart once: words that only few profiles have (proper names),
// numbers, the country's own name and others' names. For an invented country these are replaced,
// the same word by the same word wherever it stands, and everything else is kept.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "samples/sample.h"
#include "tasks/factbook_records.h"
#include "tasks/task.h"

namespace msa::factbook {

struct InventedCountry {
  uint32_t base = 0;  // the real country whose records it is made of
  uint64_t seed = 0;  // of everything in its records
  std::string name, asked, adjective;
};

// Immutable.
class Inventor {
 public:
  // Only records of countries that are not held out are taken apart. Names are those of `split`.
  Inventor(std::shared_ptr<const Records> records, Split split);

  // `sibling`: the name of a country to be confused with: the new name shares a word with it.
  // `start`: letters that the new name begins with, where it is not a sibling's.
  InventedCountry country(uint32_t base, uint64_t seed, std::string_view sibling = {},
                          std::string_view start = {}) const;
  // Record `record` of country.base as one of `country`.
  SampleDocument document(uint32_t record, const InventedCountry& country) const;
  // A real record's text with names of held-out countries replaced by others.
  const std::string& training_text(uint32_t record) const { return training_text_[record]; }

 private:
  enum class Kind : uint8_t { own_name, other_name, adjective, word, number, year, day, code };
  struct Piece {
    uint32_t begin, end;  // in the record's text
    uint32_t id;          // of a word or country
    Kind kind;
  };
  class Splitter;

  std::string replacement(const Piece& piece, std::string_view old, std::string_view after,
                          const InventedCountry& country) const;
  std::string number(std::string_view old, std::string_view after, uint64_t seed) const;
  bool is_known(std::string_view word) const;
  // An invented word that does not stand in the Factbook.
  std::string new_word(uint64_t seed, size_t length, std::string_view start = {}) const;

  std::shared_ptr<const Records> records_;
  Split split_;
  std::vector<uint32_t> simple_names_;           // countries of one word that are not held out
  std::unordered_set<std::string> known_words_;  // all that stand in the Factbook, in lower case
  std::vector<std::string> training_text_;       // per record; empty for held-out ones
  std::vector<std::vector<Piece>> pieces_;       // per record, in the order of training_text_
};

}  // namespace msa::factbook
