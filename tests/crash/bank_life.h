// What happens to a bank in the crash tests, what it has to hold after each commit, and the check
// that a bank found after a crash holds exactly that.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "memory/bank.h"

namespace msa::crash {

// What a bank holds. Title, text, place and vectors of a document follow from its seed.
struct BankState {
  struct Document {
    uint32_t seed = 0;
    std::vector<std::string> ids;  // its own, then aliases from the oldest on
    bool operator==(const Document&) const = default;
  };
  bool exists = false;
  std::map<uint32_t, Document> documents;  // by number
  uint32_t next_number = 0;
  bool operator==(const BankState&) const = default;
};
std::string describe(const BankState& state);

// Changes the bank in a folder step by step and keeps account of what has to be there. After each
// commit that returned, acknowledge() is called and the new state is noted.
class BankLife {
 public:
  explicit BankLife(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // Called when a step fails; true: it is tried again.
  std::function<bool(const Error&)> on_failure;

  Result<void> open();   // makes the bank if there is none
  Result<void> close();  // the writer lets go of the bank
  // These wait for commit().
  Result<void> add(std::string id, uint32_t seed);
  Result<void> alias(std::string id, uint32_t seed);
  Result<void> remove(const std::string& id);
  Result<void> commit();
  Result<void> compact();
  // For a damaged bank, while no writer is open.
  Result<void> repair();
  // Takes over what other banks hold, while no writer is open: `documents`, the next number after
  // which is `next_number`.
  Result<void> attach(const std::vector<std::filesystem::path>& others, bool move,
                      const std::map<uint32_t, BankState::Document>& documents,
                      uint32_t next_number);

  const std::filesystem::path& folder() const { return folder_; }
  // The first is that before any step; then one for each commit.
  const std::vector<BankState>& states() const { return states_; }

 private:
  Result<void> attempt(const std::function<Result<void>()>& step);
  void committed();

  std::filesystem::path folder_;
  std::unique_ptr<BankWriter> writer_;
  BankState now_;  // with what waits
  std::vector<BankState> states_{BankState{}};
};

// A story of a bank. `prepare` makes what is there before, and is not watched.
struct Story {
  const char* name;
  std::function<void(const std::filesystem::path& folder)> prepare;
  std::function<Result<void>(BankLife&)> live;
  // What is done to a bank after a crash before it is looked at, where it may not be whole.
  std::function<Result<void>(const std::filesystem::path& bank)> recover = {};
};
void PrintTo(const Story& story, std::ostream* out);
// Every kind of change there is.
const std::vector<Story>& stories();

// The bank that a story changes, within its folder.
std::filesystem::path bank_of(const std::filesystem::path& folder);

// What the bank holds, everything compared with what was given: numbers, ids, titles, texts, places
// and each value of each vector. A bank that is not there does not exist; anything else that is
// wrong is an error.
Result<BankState> read_state(const std::filesystem::path& bank);

// Checks a bank after a crash: `acknowledged` commits had returned, of those that `states` lists.
// The bank opens, verifies, holds exactly what it held after the last commit that returned or after
// the one under way, and the next writer goes on from there with new numbers and leaves no other
// files. Says what is wrong, or nothing.
std::string check_bank(const std::filesystem::path& bank, const std::vector<BankState>& states,
                       uint64_t acknowledged);

}  // namespace msa::crash
