// Which document numbers a bank has given out, where it has not given out all of them in turn.
// Private to memory/.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "memory/sqlite.h"
#include "msa/result.h"

namespace msa {

// A set of numbers below next(). Banks that were encoded as shards have given out every n-th one;
// the others are free, so that the other shards' documents can be attached under theirs.
class GivenNumbers {
 public:
  // All numbers below `next`.
  explicit GivenNumbers(uint32_t next = 0);

  bool contains(uint32_t number) const;
  uint32_t next() const { return static_cast<uint32_t>(next_); }
  // Whether no number below next() is free.
  bool complete() const;

  // Gives out `number`, which is not below next(). Those between stay free.
  void add(uint32_t number);
  // Gives out all numbers from next() on that are below `next`.
  void extend_to(uint32_t next);
  // Gives out what `other` has given out.
  void merge(const GivenNumbers& other);

  // {"next":402,"runs":[[1,4,101]]}: the numbers 1, 5, 9, …, 401.
  std::string to_json() const;
  // Nothing for a text that to_json() would not have made, and for one of so many runs, or long
  // runs of so many steps, as no numbering of documents gives: contains() would be slow.
  static std::optional<GivenNumbers> parse(std::string_view text);

 private:
  // first, first + step, …: `count` numbers. A run of one number has step 1.
  struct Run {
    uint64_t first = 0, step = 1, count = 0;
    uint64_t end() const { return first + step * count; }  // what would come next
    bool contains(uint64_t number) const {
      return number >= first && number < end() && (number - first) % step == 0;
    }
  };
  // Of runs_: those of one step.
  struct SameStep {
    size_t begin = 0, count = 0;
  };
  static void append(std::vector<Run>& runs, uint32_t number);
  void unite();
  void index();

  // As unite() left them: by step, by remainder, by first number. Behind them what add() appended.
  std::vector<Run> runs_;
  uint64_t next_ = 0;

  // What contains() looks at: as of the last unite(), the numbers of short runs, ascending, and
  // where in runs_ long ones are; and the runs of what add() has added since, ascending.
  std::vector<uint32_t> few_;
  std::vector<SameStep> steps_;
  std::vector<Run> added_;
};

// The row of table meta that has them. A bank without one has given out all numbers below
// next_number. A number that is given out in turn, from next() on, needs no change of the row.
inline constexpr std::string_view kGivenNumbersKey = "given_numbers";

// As of the connection's present moment; up to next_number, which counts for what the row does not
// reach.
Result<GivenNumbers> read_given_numbers(const sqlite::Database& database);
// The same through a connection of its own.
Result<GivenNumbers> read_given_numbers(const std::filesystem::path& catalogue);
// Writes the row if numbers are free or there is one, within the caller's transaction. Returns what
// that adds to the digest of all rows.
Result<uint64_t> write_given_numbers(const sqlite::Database& database, const GivenNumbers& given);
// Within the caller's transaction: raises next_number to what the row says, and takes the row away
// if it cannot be right, so that no number below next_number is free. The digest is the caller's.
Result<void> mend_given_numbers(const sqlite::Database& database);

}  // namespace msa
