// Processes killed in the middle, full disks, folders that may not be written: what was committed
// stays, and nothing else is seen.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <random>
#include <set>
#include <thread>

#include "memory/test_bank.h"

namespace msa {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

// Runs `body` in a child process and returns its exit status, or -1 if a signal ended it.
template <class Body>
int in_child(Body body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

uint32_t documents_in(const std::filesystem::path& bank) {
  auto reader = BankReader::open(bank);
  EXPECT_TRUE(reader.ok()) << reader.error().message;
  if (!reader) return 0;
  auto totals = (*reader)->catalogue().totals();
  EXPECT_TRUE(totals.ok()) << totals.error().message;
  return totals.ok() ? static_cast<uint32_t>(totals->documents) : 0;
}

TEST(BankCrash, KilledAtRandomMomentsKeepsEverythingCommitted) {
  const TestFolder folder;
  const auto bank = folder / "bank";
  const BankManifest manifest = small_manifest();
  std::mt19937 random(19);
  fill_bank(bank, manifest, {3});
  uint32_t committed = 3;
  for (int round = 0; round < 60; ++round) {
    int report[2];
    ASSERT_EQ(pipe(report), 0);
    const pid_t child = fork();
    if (child == 0) {
      close(report[0]);
      auto writer = BankWriter::open_or_create(bank, manifest);
      if (!writer) _exit(2);
      for (;;) {
        // Says how many documents are committed for sure, then goes on.
        const uint32_t now = (*writer)->next_number();
        if (write(report[1], &now, sizeof(now)) != sizeof(now)) _exit(5);
        if (!add_documents(**writer, manifest, 1 + now % 4)) _exit(3);
        if (!(*writer)->commit()) _exit(4);
      }
    }
    close(report[1]);
    uint32_t now = 0;
    for (auto reports = random() % 4; reports > 0; --reports)
      ASSERT_EQ(read(report[0], &now, sizeof(now)), static_cast<ssize_t>(sizeof(now)));
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 5000));
    kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child gave up with " << WEXITSTATUS(status);
    while (read(report[0], &now, sizeof(now)) == sizeof(now)) {
    }
    close(report[0]);
    committed = std::max(committed, now);
    // A reader first, so that it is the one that finds the dead writer's log.
    const uint32_t found = documents_in(bank);
    ASSERT_GE(found, committed);
    ASSERT_LE(found, committed + 4);  // the commit that was done and not yet reported
    EXPECT_THAT(verify_problems(bank), IsEmpty());
    committed = found;
  }
  EXPECT_GT(committed, 40u);
  expect_bank(bank, committed);
  fill_bank(bank, manifest, {3});
  expect_bank(bank, committed + 3);
}

// Runs `body` in a child and kills it just before the n-th system call that changes a file or a
// folder. False if it ended before.
enum class Outcome { killed, ended, impossible };
template <class Body>
Outcome kill_before_write(int n, Body body) {
  static const std::set<uint64_t> kWriting = {
      SYS_write,    SYS_pwrite64, SYS_fsync,  SYS_fdatasync, SYS_ftruncate, SYS_fallocate,
      SYS_unlinkat, SYS_mkdirat,  SYS_fchmod, SYS_flock,     SYS_renameat2, SYS_fchown,
#ifdef SYS_rename
      SYS_rename,   SYS_unlink,   SYS_mkdir,
#endif
#ifdef SYS_renameat
      SYS_renameat,
#endif
  };
  const pid_t child = fork();
  if (child == 0) {
    if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(99);
    raise(SIGSTOP);
    _exit(body());
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (!WIFSTOPPED(status)) return Outcome::impossible;
  ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
  for (int signal = 0, count = 0;;) {
    ptrace(PTRACE_SYSCALL, child, nullptr, signal);
    waitpid(child, &status, 0);
    if (WIFEXITED(status)) {
      EXPECT_EQ(WEXITSTATUS(status), 0);
      return WEXITSTATUS(status) == 0 ? Outcome::ended : Outcome::impossible;
    }
    if (!WIFSTOPPED(status)) return Outcome::impossible;
    signal = WSTOPSIG(status);
    if (signal != (SIGTRAP | 0x80)) continue;
    signal = 0;
    __ptrace_syscall_info info{};
    if (ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof(info), &info) <= 0) {
      kill(child, SIGKILL);
      waitpid(child, &status, 0);
      return Outcome::impossible;
    }
    if (info.op == PTRACE_SYSCALL_INFO_ENTRY && kWriting.contains(info.entry.nr) && ++count == n) {
      kill(child, SIGKILL);
      waitpid(child, &status, 0);
      return Outcome::killed;
    }
  }
}

TEST(BankCrash, KilledBeforeAnyWriteOfACommit) {
  const BankManifest manifest = small_manifest();
  int kills = 0;
  std::set<uint32_t> outcomes;
  for (;; ++kills) {
    const TestFolder folder;
    const auto bank = folder / "bank";
    fill_bank(bank, manifest, {3});
    const Outcome outcome = kill_before_write(kills + 1, [&] {
      auto writer = BankWriter::open_or_create(bank, manifest);
      return writer && add_documents(**writer, manifest, 2) && (*writer)->commit() ? 0 : 1;
    });
    if (outcome == Outcome::impossible) GTEST_SKIP() << "no tracing of processes here";
    const uint32_t found = documents_in(bank);
    outcomes.insert(found);
    ASSERT_TRUE(found == 3 || found == 5) << found << " after kill " << kills + 1;
    EXPECT_THAT(verify_problems(bank), IsEmpty());
    expect_bank(bank, found);
    fill_bank(bank, manifest, {1});
    expect_bank(bank, found + 1);
    EXPECT_THAT(verify_problems(bank), IsEmpty());
    // Orphans and unfinished files are gone.
    const size_t files = static_cast<size_t>(
        std::distance(std::filesystem::directory_iterator(bank / "segments"), {}));
    EXPECT_EQ(files, found == 3 ? 2u : 3u);
    if (outcome == Outcome::ended) break;
    if (testing::Test::HasFailure()) break;
  }
  EXPECT_GT(kills, 15);
  EXPECT_EQ(outcomes.size(), 2u);  // some kills came before the moment of commit, some after
}

std::set<uint32_t> numbers_in(const std::filesystem::path& bank) {
  std::set<uint32_t> numbers;
  auto reader = BankReader::open(bank);
  EXPECT_TRUE(reader.ok()) << reader.error().message;
  if (!reader) return numbers;
  auto snapshot = (*reader)->snapshot();
  EXPECT_TRUE(snapshot.ok()) << snapshot.error().message;
  if (!snapshot) return numbers;
  uint64_t wrong = 0;
  for (const SegmentView& segment : (*snapshot)->segments)
    for (const DocumentSpan& span : segment.documents) {
      numbers.insert(span.number);
      for (uint32_t c = 0; c < span.chunks; ++c)
        wrong += get_value(segment.layers[2].content, span.first_chunk + c, 3) !=
                 value_of(span.number, 2, 1, c, 3);
    }
  EXPECT_EQ(wrong, 0u);
  return numbers;
}

TEST(BankCrash, KilledBeforeAnyWriteOfAReplacement) {
  const BankManifest manifest = small_manifest();
  const std::set<uint32_t> before = {0, 1, 2}, after = {0, 2, 3, 4};
  std::set<std::set<uint32_t>> outcomes;
  int kills = 0;
  for (;; ++kills) {
    const TestFolder folder;
    const auto bank = folder / "bank";
    fill_bank(bank, manifest, {3});
    const Outcome outcome = kill_before_write(kills + 1, [&] {
      auto writer = BankWriter::open_or_create(bank, manifest);
      if (!writer || !(*writer)->remove("doc/1")) return 1;
      return add_documents(**writer, manifest, 2) && (*writer)->commit() ? 0 : 2;
    });
    if (outcome == Outcome::impossible) GTEST_SKIP() << "no tracing of processes here";
    const std::set<uint32_t> found = numbers_in(bank);
    outcomes.insert(found);
    ASSERT_TRUE(found == before || found == after) << "after kill " << kills + 1;
    EXPECT_THAT(verify_problems(bank), IsEmpty());
    if (outcome == Outcome::ended || testing::Test::HasFailure()) break;
  }
  EXPECT_GT(kills, 15);
  EXPECT_EQ(outcomes.size(), 2u);
}

TEST(BankCrash, KilledBeforeAnyWriteOfACompaction) {
  const BankManifest manifest = small_manifest();
  const std::set<uint32_t> live = {0, 2, 5, 6};
  int kills = 0;
  for (;; ++kills) {
    const TestFolder folder;
    const auto bank = folder / "bank";
    fill_bank(bank, manifest, {3, 2, 2});
    {
      auto writer = BankWriter::open_or_create(bank, manifest);
      for (const char* id : {"doc/1", "doc/3", "doc/4"}) ASSERT_TRUE((*writer)->remove(id).ok());
      ASSERT_TRUE((*writer)->commit().ok());
    }
    const Outcome outcome = kill_before_write(kills + 1, [&] {
      auto writer = BankWriter::open_or_create(bank, manifest);
      return writer && (*writer)->compact(128u << 20, {}, {}) ? 0 : 1;
    });
    if (outcome == Outcome::impossible) GTEST_SKIP() << "no tracing of processes here";
    EXPECT_EQ(numbers_in(bank), live) << "after kill " << kills + 1;
    EXPECT_THAT(verify_problems(bank), IsEmpty()) << "after kill " << kills + 1;
    // The next one takes away what was left and goes on.
    {
      auto writer = BankWriter::open_or_create(bank, manifest);
      ASSERT_TRUE((*writer)->compact(128u << 20, {}, {}).ok());
      EXPECT_EQ((*writer)->next_number(), 7u);
    }
    EXPECT_EQ(numbers_in(bank), live);
    EXPECT_THAT(verify_problems(bank), IsEmpty());
    const auto files = std::distance(std::filesystem::directory_iterator(bank / "segments"), {});
    EXPECT_EQ(files, 1) << "after kill " << kills + 1;
    if (outcome == Outcome::ended || testing::Test::HasFailure()) break;
  }
  EXPECT_GT(kills, 20);
}

TEST(BankCrash, KilledBeforeAnyWriteOfAMigration) {
  const BankManifest manifest = small_manifest();
  int kills = 0;
  for (;; ++kills) {
    const TestFolder folder;
    const auto bank = folder / "bank";
    fill_bank(bank, manifest, {3});
    tamper(bank / "catalogue.sqlite",
           "DROP TABLE aliases; DROP TABLE retired; DROP INDEX documents_hash;"
           "DELETE FROM meta WHERE key = 'digest'; PRAGMA user_version = 1");
    const Outcome outcome = kill_before_write(
        kills + 1, [&] { return BankWriter::open_or_create(bank, manifest).ok() ? 0 : 1; });
    if (outcome == Outcome::impossible) GTEST_SKIP() << "no tracing of processes here";
    EXPECT_THAT(verify_problems(bank), IsEmpty()) << "after kill " << kills + 1;
    expect_bank(bank, 3);
    fill_bank(bank, manifest, {1});
    expect_bank(bank, 4);
    if (outcome == Outcome::ended || testing::Test::HasFailure()) break;
  }
  EXPECT_GT(kills, 3);
}

TEST(BankCrash, KilledBeforeAnyWriteOfACreation) {
  const BankManifest manifest = small_manifest();
  int kills = 0, no_bank = 0;
  for (;; ++kills) {
    const TestFolder folder;
    const auto bank = folder / "bank";
    const Outcome outcome = kill_before_write(
        kills + 1, [&] { return BankWriter::open_or_create(bank, manifest).ok() ? 0 : 1; });
    if (outcome == Outcome::impossible) GTEST_SKIP() << "no tracing of processes here";
    if (auto reader = BankReader::open(bank)) {
      EXPECT_THAT(verify_problems(bank), IsEmpty());
      expect_bank(**reader, 0);
    } else {
      ++no_bank;
      EXPECT_EQ(reader.error().code, Code::not_found) << reader.error().message;
    }
    fill_bank(bank, manifest, {2});
    expect_bank(bank, 2);
    if (outcome == Outcome::ended || testing::Test::HasFailure()) break;
  }
  EXPECT_GT(kills, 15);
  EXPECT_GT(no_bank, 5);
}

// Fills the disk or limit, expects a clear error, makes room, and commits the same documents.
int commit_without_space(const std::filesystem::path& bank, const std::function<void()>& use_up,
                         const std::function<void()>& make_room) {
  const BankManifest manifest = small_manifest();
  auto writer = BankWriter::open_or_create(bank, manifest);
  if (!writer || !add_documents(**writer, manifest, 40) || !(*writer)->commit()) return 1;
  if (!add_documents(**writer, manifest, 400)) return 2;
  const uint64_t pending = (*writer)->pending_bytes();
  use_up();
  for (int attempt = 0; attempt < 3; ++attempt) {
    const auto failed = (*writer)->commit();
    if (failed.ok()) return 3;
    if (failed.error().code != Code::no_space) return 4;
    if (failed.error().message.find(bank.string()) == std::string::npos) return 5;
    if ((*writer)->pending_bytes() != pending) return 6;
    auto reader = BankReader::open(bank);
    if (!reader || (*reader)->catalogue().totals()->documents != 40) return 7;
    auto report = (*reader)->verify({});
    if (!report || !report->problems.empty()) return 8;
  }
  make_room();
  if (!(*writer)->commit()) return 9;
  writer->reset();
  return documents_in(bank) == 440 && verify_problems(bank).empty() ? 0 : 10;
}

// A child's exit status when the machine does not allow what the test needs.
constexpr int kNotAllowed = 77;

TEST(BankCrash, AFullDiskKeepsBankAndPendingDocuments) {
  // The room left decides whether the segment or the catalogue meets the end of the disk.
  for (const size_t left : {size_t{0}, size_t{40} << 10, size_t{600} << 10}) {
    const TestFolder folder;
    const int status = in_child([&] {
      // A mount of this process only, gone when it ends.
      if (unshare(CLONE_NEWNS) != 0 ||
          mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
          mount("tmpfs", folder.path().c_str(), "tmpfs", 0, "size=4m") != 0)
        return kNotAllowed;
      const auto filler = folder / "filler";
      return commit_without_space(
          folder / "bank",
          [&] {
            const int fd = open(filler.c_str(), O_WRONLY | O_CREAT, 0600);
            const std::string block(4096, 'x');
            size_t size = 0;
            while (write(fd, block.data(), block.size()) > 0) size += block.size();
            (void)!ftruncate(fd, static_cast<off_t>(size - std::min(size, left)));
            close(fd);
          },
          [&] { std::filesystem::remove(filler); });
    });
    if (status == kNotAllowed) GTEST_SKIP() << "no mounting here";
    EXPECT_EQ(status, 0) << left;
  }
}

TEST(BankCrash, AFileSizeLimitKeepsBankAndPendingDocuments) {
  // Below the segment's size, and above it but below what the catalogue's log needs.
  const uint64_t segment = [] {
    const TestFolder folder;
    fill_bank(folder / "bank", small_manifest(), {40, 400});
    return std::filesystem::file_size(folder / "bank/segments/00000002.seg");
  }();
  EXPECT_GT(segment, 300'000u);
  for (const uint64_t limit : {uint64_t{100'000}, segment / 2}) {
    const TestFolder folder;
    const int status = in_child([&] {
      signal(SIGXFSZ, SIG_IGN);
      const rlimit whole{RLIM_INFINITY, RLIM_INFINITY};
      const rlimit small{limit, RLIM_INFINITY};
      return commit_without_space(
          folder / "bank", [&] { setrlimit(RLIMIT_FSIZE, &small); },
          [&] { setrlimit(RLIMIT_FSIZE, &whole); });
    });
    EXPECT_EQ(status, 0) << limit;
  }
}

// The body as an ordinary user: permissions do not bind root.
template <class Body>
int as_ordinary_user(Body body) {
  return in_child([&] {
    constexpr uid_t kNobody = 65534;
    if (geteuid() == 0 && (setgid(kNobody) != 0 || setuid(kNobody) != 0)) return kNotAllowed;
    return body();
  });
}

TEST(BankCrash, WithoutPermissionSaysSo) {
  const TestFolder folder;
  const auto bank = folder / "bank";
  fill_bank(bank, small_manifest(), {2});
  chmod(folder.path().c_str(), 0755);
  chmod(bank.c_str(), 0555);
  chmod((bank / "lock").c_str(), 0444);
  const int status = as_ordinary_user([&] {
    const auto writer = BankWriter::open_or_create(bank, small_manifest());
    if (writer.ok() || writer.error().code != Code::permission) return 1;
    const auto fresh = BankWriter::open_or_create(folder / "bank/inner", small_manifest());
    return fresh.ok() || fresh.error().code != Code::permission ? 2 : 0;
  });
  if (status == kNotAllowed) GTEST_SKIP() << "cannot become another user";
  EXPECT_EQ(status, 0);
  chmod((bank / "catalogue.sqlite").c_str(), 0);
  EXPECT_EQ(as_ordinary_user([&] {
              const auto reader = BankReader::open(bank);
              return !reader.ok() && reader.error().code == Code::permission ? 0 : 1;
            }),
            0);
  chmod(bank.c_str(), 0755);
}

TEST(BankCrash, ABankInAFolderThatCannotBeWrittenCanBeRead) {
  const TestFolder folder;
  const auto bank = folder / "read only %41?";  // a name that an URI has to spell otherwise
  fill_bank(bank, small_manifest(), {2, 3});
  chmod(folder.path().c_str(), 0755);
  chmod(bank.c_str(), 0555);
  const auto read = [&] {
    auto reader = BankReader::open(bank);
    if (!reader) return 1;
    auto snapshot = (*reader)->snapshot();
    if (!snapshot || (*snapshot)->documents != 5) return 2;
    if (*(*reader)->snapshot() != *snapshot) return 3;
    return verify_problems(bank).empty() ? 0 : 4;
  };
  const int status = as_ordinary_user(read);
  if (status == kNotAllowed) GTEST_SKIP() << "cannot become another user";
  EXPECT_EQ(status, 0);

  // With a dead writer's log beside it, the file alone would be less than was committed.
  chmod(bank.c_str(), 0755);
  EXPECT_EQ(in_child([&] {
              auto writer = BankWriter::open_or_create(bank, small_manifest());
              if (!writer || !add_documents(**writer, small_manifest(), 2)) return 1;
              if (!(*writer)->commit()) return 2;
              kill(getpid(), SIGKILL);
              return 3;
            }),
            -1);
  std::filesystem::remove(bank / "catalogue.sqlite-shm");
  chmod(bank.c_str(), 0555);
  EXPECT_EQ(as_ordinary_user([&] {
              const auto reader = BankReader::open(bank);
              if (reader.ok()) {
                // SQLite may be able to read the log without making its index; all must be there.
                auto snapshot = (*reader)->snapshot();
                return snapshot && (*snapshot)->documents == 7 ? 0 : 1;
              }
              return reader.error().code == Code::permission &&
                             reader.error().message.find("-wal") != std::string::npos
                         ? 0
                         : 2;
            }),
            0);
  chmod(bank.c_str(), 0755);
  expect_bank(bank, 7);
}

TEST(BankCrash, AReadOnlyMountCanBeRead) {
  const TestFolder folder;
  fill_bank(folder / "bank", small_manifest(), {4});
  const int status = in_child([&] {
    const auto bank = folder / "bank";
    if (unshare(CLONE_NEWNS) != 0 ||
        mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount(bank.c_str(), bank.c_str(), nullptr, MS_BIND, nullptr) != 0 ||
        mount(nullptr, bank.c_str(), nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr) != 0)
      return kNotAllowed;
    auto reader = BankReader::open(bank);
    if (!reader) return 1;
    auto snapshot = (*reader)->snapshot();
    if (!snapshot || (*snapshot)->documents != 4) return 2;
    if (!verify_problems(bank).empty()) return 3;
    const auto writer = BankWriter::open_or_create(bank, small_manifest());
    return !writer.ok() && writer.error().code == Code::permission ? 0 : 4;
  });
  if (status == kNotAllowed) GTEST_SKIP() << "no mounting here";
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace msa
