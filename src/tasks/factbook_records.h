// The Factbook as it was published: profiles, fields and records.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "msa/result.h"
#include "samples/sample.h"

namespace msa::factbook {

struct Country {
  std::string name;   // as in titles: "Netherlands"
  std::string asked;  // as in questions: "the Netherlands"
  bool test = false;  // held out
  std::vector<uint32_t> records;
};

// "Netherlands" -> "the Netherlands", "The Gambia" -> "the Gambia", "Chad" -> "Chad".
std::string name_in_question(std::string_view name);

// Immutable. Indices into countries(), fields() and documents() are stable.
class Records {
 public:
  // Reads factbook.jsonl.zst and factbook_test_countries.txt in `folder`. A record without a title
  // "Country: Field", a held-out name without records, or no records at all is `corrupt`.
  static Result<std::shared_ptr<const Records>> load(const std::filesystem::path& folder);

  const std::vector<SampleDocument>& documents() const { return documents_; }
  const std::vector<Country>& countries() const { return countries_; }
  const std::vector<std::string>& fields() const { return fields_; }
  uint32_t country_of(uint32_t record) const { return country_of_[record]; }
  uint32_t field_of(uint32_t record) const { return field_of_[record]; }
  // Nothing if there is no such field. Fields that stand twice in a profile are one.
  std::optional<uint32_t> field(std::string_view name) const;
  std::optional<uint32_t> record(uint32_t country, uint32_t field) const;

 private:
  std::vector<SampleDocument> documents_;
  std::vector<Country> countries_;
  std::vector<std::string> fields_;
  std::vector<uint32_t> country_of_, field_of_;  // per document
  std::vector<int32_t> cells_;                   // [countries, fields]: record or -1
};

}  // namespace msa::factbook
