// Ends the process, and cuts the power, at every call by which a bank's files change: whatever was
// committed is there, and nothing half.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <new>
#include <string_view>

#include "crash/bank_life.h"
#include "crash/disk_image.h"
#include "crash/file_faults.h"
#include "memory/test_bank.h"

namespace msa::crash {
namespace {

namespace fs = std::filesystem;

// Counters that survive a child.
class SharedCounters {
 public:
  SharedCounters() {
    void* const memory = ::mmap(nullptr, sizeof(Counters), PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    counters_ = new (memory) Counters;
  }
  SharedCounters(const SharedCounters&) = delete;
  SharedCounters& operator=(const SharedCounters&) = delete;
  ~SharedCounters() { ::munmap(counters_, sizeof(Counters)); }
  Counters* operator->() { return counters_; }
  Counters& operator*() { return *counters_; }

 private:
  Counters* counters_;
};

// A story told once, without a fault.
struct Telling {
  std::vector<BankState> states;
  std::vector<Change> journal;
  DiskImage before, after;
};
Telling tell(const Story& story) {
  const TestFolder folder;
  story.prepare(folder.path());
  Telling telling{{}, {}, DiskImage::read(folder.path()), {}};
  Counters counters;
  BankLife life(bank_of(folder.path()));
  watch(folder.path(), {}, counters, &telling.journal);
  const Result<void> lived = story.live(life);
  stop_watching();
  EXPECT_TRUE(lived.ok()) << lived.error().message;
  telling.states = life.states();
  telling.after = DiskImage::read(folder.path());
  EXPECT_EQ(counters.acknowledged + 1, telling.states.size());
  return telling;
}

// Runs `body` in a child; whether it was killed. Anything but that and success is a failure.
bool killed(const std::function<bool()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body() ? 0 : 1);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0) << "the child gave up";
  return WIFSIGNALED(status);
}

// check_bank(), after what the story does first.
std::string check(const Story& story, const fs::path& bank, const std::vector<BankState>& states,
                  uint64_t acknowledged) {
  if (story.recover)
    if (const Result<void> recovered = story.recover(bank); !recovered)
      return "recovering: " + recovered.error().message;
  return check_bank(bank, states, acknowledged);
}

class Crash : public testing::TestWithParam<Story> {};

// The journal has to explain every byte of every file, or the power cuts below prove little.
TEST_P(Crash, TheJournalIsComplete) {
  Telling telling = tell(GetParam());
  for (const Change& change : telling.journal) telling.before.apply(change);
  auto expected = telling.after.files(), found = telling.before.files();
  ASSERT_EQ(found.size(), expected.size());
  for (const auto& [name, bytes] : expected)
    // The index of the log changes through mapped memory, and is not trusted after a crash.
    if (!name.ends_with("-shm")) {
      EXPECT_TRUE(found[name] == bytes) << name;
    }
}

TEST_P(Crash, KilledAtEveryCall) {
  const Telling telling = tell(GetParam());
  SharedCounters counters;
  uint64_t kills = 0, within = 0;
  for (uint64_t call = 0, i = 0; i < telling.journal.size(); ++i) {
    const Change& change = telling.journal[i];
    if (change.kind == Change::Kind::acknowledge) continue;
    ++call;
    for (const Fault::Kind kind : {Fault::Kind::kill_before, Fault::Kind::kill_within}) {
      if (kind == Fault::Kind::kill_within &&
          (change.kind != Change::Kind::write || change.bytes.size() < 2))
        continue;
      const TestFolder folder;
      const fs::path bank = bank_of(folder.path());
      GetParam().prepare(folder.path());
      counters->acknowledged = counters->changes = 0;
      ASSERT_TRUE(killed([&] {
        BankLife life(bank);
        watch(folder.path(), {kind, call}, *counters, nullptr);
        return GetParam().live(life).ok();
      }));
      ++kills;
      within += kind == Fault::Kind::kill_within;
      const uint64_t acknowledged = counters->acknowledged;
      // Every third time the writer that cleans up is killed as well, somewhere else each time.
      if (kills % 3 == 0)
        killed([&] {
          watch(folder.path(), {Fault::Kind::kill_before, 1 + kills / 3 % 25}, *counters, nullptr);
          return BankWriter::open_or_create(bank, small_manifest()).ok();
        });
      // That one may have made the bank.
      const std::string problem = check(GetParam(), bank, telling.states, acknowledged);
      ASSERT_EQ(problem, "") << "killed " << (kind == Fault::Kind::kill_within ? "in" : "before")
                             << " call " << call << ": " << describe(change);
    }
  }
  RecordProperty("kills", static_cast<int>(kills));
  std::printf("%s: killed at %ju points, %ju of them within a write\n", GetParam().name,
              static_cast<uintmax_t>(kills), static_cast<uintmax_t>(within));
  EXPECT_GT(kills, 20u);
}

// Cuts the power after every call. What had been synced is there; of the rest any part may be.
// Returns the first problem; `skipped` says which syncs the disk only pretends to do.
using SkippedSync = std::function<bool(const Change&)>;
std::string cut_power(const Story& story, uint64_t& cuts, const SkippedSync& skipped = {}) {
  Telling telling = tell(story);
  DiskImage& disk = telling.before;
  std::mt19937 random(7);
  const TestFolder folder;
  uint64_t acknowledged = 0;
  for (size_t i = 0; i <= telling.journal.size(); ++i) {
    for (const Unsynced unsynced : kEveryUnsynced) {
      // Many outcomes are possible where some changes are lost: some of them are tried.
      const int outcomes = unsynced == Unsynced::any ? 2 : 1;
      for (int outcome = 0; outcome < outcomes; ++outcome) {
        const fs::path found = folder / "found";
        disk.write_to(found, unsynced, random);
        ++cuts;
        const std::string problem = check(story, bank_of(found), telling.states, acknowledged);
        fs::remove_all(found);
        if (!problem.empty())
          return fmt::format(
              "power cut {} with {}: {}",
              i == 0 ? "at once"
                     : fmt::format("after call {} ({})", i, describe(telling.journal[i - 1])),
              name_of(unsynced), problem);
      }
    }
    if (i == telling.journal.size()) break;
    const Change& change = telling.journal[i];
    acknowledged += change.kind == Change::Kind::acknowledge;
    if (change.kind == Change::Kind::sync && skipped && skipped(change)) continue;
    disk.apply(change);
  }
  return "";
}

TEST_P(Crash, PowerCutAfterEveryCall) {
  uint64_t cuts = 0;
  EXPECT_EQ(cut_power(GetParam(), cuts), "");
  RecordProperty("cuts", static_cast<int>(cuts));
  std::printf("%s: power cut %ju times\n", GetParam().name, static_cast<uintmax_t>(cuts));
  EXPECT_GT(cuts, 100u);
}

INSTANTIATE_TEST_SUITE_P(Stories, Crash, testing::ValuesIn(stories()),
                         [](const auto& story) { return fmt::format("{}", story.index); });

// The harness has to see what it is there for: a disk that only pretends to do one of the syncs
// loses something.
TEST(PowerCut, NoSyncIsSuperfluous) {
  struct Lie {
    const char* what;
    SkippedSync skipped;
  };
  const std::vector<Lie> lies = {
      {"a segment's bytes",
       [](const Change& c) { return c.path.find(".seg.tmp") != std::string::npos; }},
      {"a segment's name", [](const Change& c) { return c.path == "bank/segments"; }},
      {"the catalogue's log", [](const Change& c) { return c.path.ends_with("-wal"); }},
      {"a new catalogue's bytes", [](const Change& c) { return c.path.ends_with(".new"); }},
      {"the names in the bank's folder", [](const Change& c) { return c.path == "bank"; }},
      {"the bank's name", [](const Change& c) { return c.path.empty(); }},
  };
  for (const Lie& lie : lies) {
    uint64_t cuts = 0;
    EXPECT_NE(cut_power(stories().front(), cuts, lie.skipped), "") << lie.what;
  }
}

}  // namespace
}  // namespace msa::crash
