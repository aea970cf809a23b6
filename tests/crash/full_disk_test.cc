// The disk becomes full, or fails, at every call by which a bank's files change: the bank is as it
// was, the error says where and what, and with room again the same step works.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "crash/bank_life.h"
#include "crash/file_faults.h"
#include "memory/test_bank.h"

namespace msa::crash {
namespace {

namespace fs = std::filesystem;

// How a story went whose `at`-th change met a fault. False: it has fewer changes.
struct Attempt {
  bool reached = false;
  uint64_t failures = 0;  // steps that gave up
  std::string problem;
};

class FullDisk : public testing::TestWithParam<Story> {};

Attempt live_with_full_disk(const Story& story, uint64_t at) {
  const TestFolder folder;
  const fs::path bank = bank_of(folder.path());
  story.prepare(folder.path());
  Attempt run;
  Counters counters;
  BankLife life(bank);
  const auto complain = [&](std::string what) {
    if (run.problem.empty()) run.problem = std::move(what);
    return false;
  };
  life.on_failure = [&](const Error& error) {
    if (++run.failures > 1) return complain("failed with room: " + error.message);
    lift_fault();
    if (error.code != Code::no_space)
      return complain(
          fmt::format("{} instead of no_space: {}", code_name(error.code), error.message));
    if (error.message.find(folder.path().string()) == std::string::npos)
      return complain("the error does not name the place: " + error.message);
    // A damaged bank cannot be read before its repair is done.
    if (story.recover) return true;
    const Result<BankState> found = read_state(bank);
    if (!found) return complain("reading: " + found.error().message);
    // The making of a bank may have come to its end, or the first look at one that was there.
    BankState fresh;
    fresh.exists = true;
    const bool before = life.states().size() == 1;
    if (*found != life.states().back() && !(before && (*found == fresh || found->next_number > 0)))
      return complain(
          fmt::format("found {}; expected {}", describe(*found), describe(life.states().back())));
    if (found->exists)
      for (const std::string& problem : verify_problems(bank))
        return complain("verify: " + problem);
    return true;
  };
  watch(folder.path(), {Fault::Kind::disk_full, at}, counters, nullptr);
  const Result<void> lived = story.live(life);
  stop_watching();
  run.reached = counters.changes >= at;
  if (!lived && run.problem.empty()) run.problem = "gave up: " + lived.error().message;
  if (run.problem.empty()) run.problem = check_bank(bank, life.states(), life.states().size() - 1);
  return run;
}

TEST_P(FullDisk, AtEveryCallLeavesTheBankAsItWas) {
  uint64_t points = 0, failures = 0;
  for (;; ++points) {
    const Attempt run = live_with_full_disk(GetParam(), points + 1);
    ASSERT_EQ(run.problem, "") << "full at call " << points + 1;
    failures += run.failures;
    if (!run.reached) break;
  }
  std::printf("%s: disk full at %ju points, %ju steps failed and were done again\n",
              GetParam().name, static_cast<uintmax_t>(points), static_cast<uintmax_t>(failures));
  EXPECT_GT(points, 20u);
  EXPECT_GT(failures, points / 4);
}

// One call fails with an input/output error. What that leaves on the disk nobody knows for sure, so
// a step may be undone or done; nothing between.
TEST_P(FullDisk, AnErrorOfTheDiskAtEveryCallLosesNothing) {
  const Story& story = GetParam();
  std::vector<BankState> states;
  {
    const TestFolder folder;
    story.prepare(folder.path());
    BankLife life(bank_of(folder.path()));
    ASSERT_TRUE(story.live(life).ok());
    states = life.states();
  }
  uint64_t points = 0;
  for (;; ++points) {
    const TestFolder folder;
    const fs::path bank = bank_of(folder.path());
    story.prepare(folder.path());
    Counters counters;
    {
      BankLife life(bank);
      watch(folder.path(), {Fault::Kind::error, points + 1}, counters, nullptr);
      const Result<void> lived = story.live(life);
      if (!lived) {
        EXPECT_EQ(lived.error().code, Code::io) << lived.error().message;
      }
      lift_fault();
    }
    stop_watching();
    if (story.recover) {
      ASSERT_TRUE(story.recover(bank).ok());
    }
    const std::string problem = check_bank(bank, states, counters.acknowledged);
    ASSERT_EQ(problem, "") << "error at call " << points + 1;
    if (counters.changes < points + 1) break;
  }
  std::printf("%s: disk failed at %ju points\n", GetParam().name, static_cast<uintmax_t>(points));
  EXPECT_GT(points, 20u);
}

INSTANTIATE_TEST_SUITE_P(Stories, FullDisk, testing::ValuesIn(stories()),
                         [](const auto& story) { return fmt::format("{}", story.index); });

}  // namespace
}  // namespace msa::crash
