#include "tasks/factbook_records.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <unordered_map>
#include <utility>

#include "msa/document.h"

namespace msa::factbook {
namespace {

Result<std::vector<std::string>> read_lines(const std::filesystem::path& file) {
  std::ifstream stream(file);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);)
    if (!line.empty()) lines.push_back(std::move(line));
  if (lines.empty())
    return Error{Code::not_found,
                 fmt::format("{}: no names of held-out countries could be read; name the folder "
                             "that holds the Factbook",
                             file.string())};
  return lines;
}

}  // namespace

std::string name_in_question(std::string_view name) {
  if (name.starts_with("The ")) return "the " + std::string(name.substr(4));
  if (name == "World") return "the world";
  constexpr std::array<std::string_view, 6> kFirst = {"Republic of ",      "Democratic Republic ",
                                                      "Federated States ", "Isle of ",
                                                      "Federation of ",    "Kingdom of "};
  constexpr std::array<std::string_view, 19> kLast = {
      "Islands",   "Republic", "Ocean",      "States",    "Kingdom", "Emirates",    "Union",
      "Territory", "Lands",    "Strip",      "Bank",      "See",     "Netherlands", "Philippines",
      "Maldives",  "Comoros",  "Seychelles", "Republics", "Isles"};
  const auto begins = [&](std::string_view first) { return name.starts_with(first); };
  const size_t space = name.rfind(' ');
  const std::string_view last = space == std::string_view::npos ? name : name.substr(space + 1);
  // "Heard Island and McDonald Islands" is two names.
  const bool pair =
      name.find(" Island and ") != std::string_view::npos || name.starts_with("South Georgia and");
  const bool the = !pair && (std::ranges::any_of(kFirst, begins) ||
                             std::ranges::find(kLast, last) != kLast.end());
  return the ? "the " + std::string(name) : std::string(name);
}

std::optional<uint32_t> Records::field(std::string_view name) const {
  const auto at = std::ranges::find(fields_, name);
  if (at == fields_.end()) return std::nullopt;
  return static_cast<uint32_t>(at - fields_.begin());
}

std::optional<uint32_t> Records::record(uint32_t country, uint32_t field) const {
  const int32_t cell = cells_[country * fields_.size() + field];
  if (cell < 0) return std::nullopt;
  return static_cast<uint32_t>(cell);
}

Result<std::shared_ptr<const Records>> Records::load(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "factbook.jsonl.zst";
  const std::filesystem::path held_out_file = folder / "factbook_test_countries.txt";
  MSA_ASSIGN(const std::vector<std::string> held_out, read_lines(held_out_file));
  std::string problem;
  ReaderOptions reading;
  reading.on_problem = [&](const DocumentProblem& found) {
    if (problem.empty())
      problem = fmt::format("{}: {}; take the file that is shipped", found.where, found.what);
  };
  MSA_ASSIGN(const std::unique_ptr<DocumentSource> source, open_documents({file}, reading));

  auto records = std::make_shared<Records>();
  std::unordered_map<std::string, uint32_t> countries, fields;
  for (;;) {
    MSA_ASSIGN(std::optional<Document> document, source->next());
    if (!document) break;
    const size_t colon = document->title.find(": ");
    if (colon == std::string::npos || colon == 0)
      return Error{
          Code::corrupt,
          fmt::format("{}: record '{}' has the title '{}', not \"Country: Field\"; take the file "
                      "that is shipped",
                      file.string(), document->id, document->title)};
    const std::string name = document->title.substr(0, colon),
                      field = document->title.substr(colon + 2);
    const auto [country_at, new_country] =
        countries.emplace(name, static_cast<uint32_t>(records->countries_.size()));
    if (new_country) {
      const bool test = std::ranges::find(held_out, name) != held_out.end();
      records->countries_.push_back({name, name_in_question(name), test, {}});
    }
    const auto [field_at, new_field] =
        fields.emplace(field, static_cast<uint32_t>(records->fields_.size()));
    if (new_field) records->fields_.push_back(field);
    records->countries_[country_at->second].records.push_back(
        static_cast<uint32_t>(records->documents_.size()));
    records->country_of_.push_back(country_at->second);
    records->field_of_.push_back(field_at->second);
    records->documents_.push_back(
        {std::move(document->title), std::move(document->text), std::move(document->id)});
  }
  if (!problem.empty()) return Error{Code::corrupt, problem};
  for (const std::string& name : held_out)
    if (!countries.contains(name))
      return Error{Code::corrupt,
                   fmt::format("{}: '{}' has no record in {}; take the files that are shipped",
                               held_out_file.string(), name, file.string())};

  records->cells_.assign(records->countries_.size() * records->fields_.size(), -1);
  for (uint32_t i = 0; i < records->documents_.size(); ++i) {
    int32_t& cell =
        records->cells_[records->country_of_[i] * records->fields_.size() + records->field_of_[i]];
    if (cell < 0) cell = static_cast<int32_t>(i);
  }
  return std::shared_ptr<const Records>(std::move(records));
}

}  // namespace msa::factbook
