#include "memory/given_numbers.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <iterator>
#include <nlohmann/json.hpp>
#include <span>
#include <tuple>
#include <utility>

#include "memory/catalogue_digest.h"
#include "memory/catalogue_schema.h"

namespace msa {
namespace {

using nlohmann::json;
using sqlite::Database;
using sqlite::Row;
using sqlite::Statement;

constexpr uint64_t kMostRuns = 1u << 20;
// Runs of at most so many numbers are short. They come about where numbers are passed over, so that
// their steps may be many; those of long runs are how many parts a corpus was encoded in.
constexpr uint64_t kShortRun = 8;
constexpr size_t kMostSteps = 256;  // of long runs

// The text of the row, if there is one.
Result<std::optional<std::string>> stored_row(const Database& database) {
  MSA_ASSIGN(Statement statement, database.prepare("SELECT rowid, value FROM meta WHERE key = ?1"));
  statement.bind(1, kGivenNumbersKey);
  MSA_ASSIGN(const bool found, statement.step());
  if (!found) return std::optional<std::string>();
  Row row(statement, "meta");
  std::string text = row.text(1, kGivenNumbersKey);
  if (!row.ok()) return row.problem();
  return std::optional(std::move(text));
}

}  // namespace

GivenNumbers::GivenNumbers(uint32_t next) : next_(next) {
  if (next > 0) runs_.push_back({0, 1, next});
  index();
}

bool GivenNumbers::contains(uint32_t number) const {
  if (std::binary_search(few_.begin(), few_.end(), number)) return true;
  const auto later = std::upper_bound(added_.begin(), added_.end(), uint64_t{number},
                                      [](uint64_t n, const Run& run) { return n < run.first; });
  if (later != added_.begin() && std::prev(later)->contains(number)) return true;
  return std::any_of(steps_.begin(), steps_.end(), [&](const SameStep& same) {
    const std::span<const Run> runs = std::span(runs_).subspan(same.begin, same.count);
    const uint64_t step = runs.front().step;
    // Those with the number's remainder are apart: only the last that begins up to it can have it.
    const auto after =
        std::upper_bound(runs.begin(), runs.end(), std::pair(number % step, uint64_t{number}),
                         [&](const auto& key, const Run& run) {
                           return key < std::pair(run.first % step, run.first);
                         });
    return after != runs.begin() && std::prev(after)->contains(number);
  });
}

bool GivenNumbers::complete() const {
  // Runs may overlap, so that it is the reach of those without gaps that counts.
  uint64_t reached = 0;
  for (const Run& run : runs_)
    if (run.step == 1 && run.first <= reached) reached = std::max(reached, run.end());
  return reached >= next_;
}

void GivenNumbers::add(uint32_t number) {
  assert(number >= next_);
  next_ = uint64_t{number} + 1;
  append(runs_, number);
  append(added_, number);
}

// Of a number above all that the last run has.
void GivenNumbers::append(std::vector<Run>& runs, uint32_t number) {
  if (!runs.empty()) {
    Run& last = runs.back();
    if (last.count == 1) last.step = number - last.first;
    if (last.end() == number) {
      ++last.count;
      return;
    }
  }
  runs.push_back({number, 1, 1});
}

void GivenNumbers::extend_to(uint32_t next) {
  if (next <= next_) return;
  runs_.push_back({next_, 1, next - next_});
  next_ = next;
  unite();
}

void GivenNumbers::merge(const GivenNumbers& other) {
  runs_.insert(runs_.end(), other.runs_.begin(), other.runs_.end());
  next_ = std::max(next_, other.next_);
  unite();
}

// Runs of the same step that overlap or follow each other become one.
void GivenNumbers::unite() {
  for (Run& run : runs_)
    if (run.count == 1) run.step = 1;
  const auto lane = [](const Run& run) {
    return std::tuple(run.step, run.first % run.step, run.first);
  };
  std::sort(runs_.begin(), runs_.end(),
            [&](const Run& a, const Run& b) { return lane(a) < lane(b); });
  std::vector<Run> united;
  for (const Run& run : runs_) {
    if (!united.empty()) {
      Run& last = united.back();
      if (last.step == run.step && last.first % last.step == run.first % run.step &&
          run.first <= last.end()) {
        last.count = (std::max(last.end(), run.end()) - last.first) / last.step;
        continue;
      }
    }
    united.push_back(run);
  }
  runs_ = std::move(united);
  index();
}

// Prepares contains(), after unite().
void GivenNumbers::index() {
  few_.clear();
  steps_.clear();
  added_.clear();
  for (size_t begin = 0, end = 0; begin < runs_.size(); begin = end) {
    bool any_long = false;
    for (end = begin; end < runs_.size() && runs_[end].step == runs_[begin].step; ++end) {
      const Run& run = runs_[end];
      if (run.count > kShortRun)
        any_long = true;
      else
        for (uint64_t i = 0; i < run.count; ++i)
          few_.push_back(static_cast<uint32_t>(run.first + i * run.step));
    }
    if (any_long) steps_.push_back({begin, end - begin});
  }
  std::sort(few_.begin(), few_.end());
}

std::string GivenNumbers::to_json() const {
  GivenNumbers tidy = *this;
  tidy.unite();
  json runs = json::array();
  for (const Run& run : tidy.runs_) runs.push_back({run.first, run.step, run.count});
  return json{{"next", next_}, {"runs", std::move(runs)}}.dump();
}

std::optional<GivenNumbers> GivenNumbers::parse(std::string_view text) {
  const json object = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object() || !object.contains("next") || !object.contains("runs"))
    return std::nullopt;
  const json &next = object["next"], &runs = object["runs"];
  if (!next.is_number_unsigned() || next.get<uint64_t>() > UINT32_MAX || !runs.is_array() ||
      runs.size() > kMostRuns)
    return std::nullopt;
  GivenNumbers given;
  given.next_ = next.get<uint64_t>();
  for (const json& entry : runs) {
    if (!entry.is_array() || entry.size() != 3) return std::nullopt;
    for (const json& value : entry)
      if (!value.is_number_unsigned() || value.get<uint64_t>() > UINT32_MAX) return std::nullopt;
    const Run run{entry[0].get<uint64_t>(), entry[1].get<uint64_t>(), entry[2].get<uint64_t>()};
    // All three are below 2^32: neither product nor sum can wrap.
    if (run.step == 0 || run.count == 0 || run.first + run.step * (run.count - 1) >= given.next_)
      return std::nullopt;
    given.runs_.push_back(run);
  }
  given.unite();
  if (given.steps_.size() > kMostSteps) return std::nullopt;
  return given;
}

Result<GivenNumbers> read_given_numbers(const Database& database) {
  MSA_ASSIGN(const int64_t next, database.integer(fmt::format(
                                     "SELECT value FROM meta WHERE key = '{}'", kNextNumberKey)));
  const auto corrupt = [&](std::string_view why) {
    return Error{Code::corrupt, fmt::format("{}: table meta: {}; restore the bank from a copy",
                                            database.file().string(), why)};
  };
  if (next < 0 || next > int64_t{UINT32_MAX})
    return corrupt(fmt::format("{} is {}", kNextNumberKey, next));
  MSA_ASSIGN(const std::optional<std::string> text, stored_row(database));
  if (!text) return GivenNumbers(static_cast<uint32_t>(next));
  std::optional<GivenNumbers> given = GivenNumbers::parse(*text);
  if (!given || given->next() > next)
    return corrupt(fmt::format("{} is not a list of numbers below {}", kGivenNumbersKey, next));
  given->extend_to(static_cast<uint32_t>(next));
  return std::move(*given);
}

Result<GivenNumbers> read_given_numbers(const std::filesystem::path& catalogue) {
  MSA_ASSIGN(const CatalogueDatabase opened,
             open_catalogue_database(catalogue, Catalogue::Access::read));
  MSA_ASSIGN([[maybe_unused]] const auto moment,
             sqlite::Transaction::begin(opened.database, sqlite::Transaction::Kind::read));
  return read_given_numbers(opened.database);
}

Result<uint64_t> write_given_numbers(const Database& database, const GivenNumbers& given) {
  MSA_ASSIGN(const std::optional<std::string> before, stored_row(database));
  if (!before && given.complete()) return uint64_t{0};
  const std::string text = given.to_json();
  if (!GivenNumbers::parse(text))
    return Error{
        Code::unsupported,
        fmt::format("{}: the numbers that were given out are too scattered to be recorded; "
                    "number documents one after the other, in a new bank",
                    database.file().string())};
  MSA_ASSIGN(Statement set, database.prepare("INSERT INTO meta(key, value) VALUES(?1, ?2) "
                                             "ON CONFLICT(key) DO UPDATE SET value = ?2"));
  set.bind(1, kGivenNumbersKey);
  set.bind(2, text);
  MSA_TRY(set.run());
  return digest_of(kGivenNumbersKey, text) -
         (before ? digest_of(kGivenNumbersKey, *before) : uint64_t{0});
}

Result<void> mend_given_numbers(const Database& database) {
  const auto right = [&]() -> Result<bool> {
    const Result<std::optional<std::string>> text = stored_row(database);
    if (!text) return false;
    if (!*text) return true;
    const std::optional<GivenNumbers> stored = GivenNumbers::parse(**text);
    if (!stored) return false;
    MSA_TRY(database.execute(fmt::format("UPDATE meta SET value = max(value, {}) WHERE key = '{}'",
                                         stored->next(), kNextNumberKey)
                                 .c_str()));
    MSA_ASSIGN(const GivenNumbers given, read_given_numbers(database));
    MSA_ASSIGN(Statement every, database.prepare("SELECT number FROM documents"));
    for (;;) {
      MSA_ASSIGN(const bool more, every.step());
      if (!more) return true;
      Row row(every, "documents");
      const uint64_t number = row.number(0, "number", 0, UINT32_MAX);
      if (!row.ok() || !given.contains(static_cast<uint32_t>(number))) return false;
    }
  };
  MSA_ASSIGN(const bool stays, right());
  if (stays) return {};
  return database.execute(
      fmt::format("DELETE FROM meta WHERE key = '{}'", kGivenNumbersKey).c_str());
}

}  // namespace msa
