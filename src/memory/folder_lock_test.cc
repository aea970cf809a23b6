// The lock of a bank's folder while its file is removed, as whoever removes the bank does.
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <optional>
#include <utility>

#include "base/test_folder.h"
#include "memory/bank_files.h"

namespace {

std::function<void()> before_locking;  // called when a lock's file is open

}  // namespace

// The C library's function. The build hides symbols; other libraries have to see this.
#pragma GCC visibility push(default)
extern "C" int flock(int fd, int operation) noexcept {
  if (before_locking) before_locking();
  return static_cast<int>(::syscall(SYS_flock, fd, operation));
}
#pragma GCC visibility pop

namespace msa {
namespace {

class FolderLocking : public testing::Test {
 protected:
  void TearDown() override { before_locking = nullptr; }

  void remove_file_of_lock() { std::filesystem::remove(folder_ / kLockFile); }

  TestFolder folder_;
  int calls_ = 0;  // of before_locking
};

TEST_F(FolderLocking, KeepsOthersOut) {
  {
    const auto lock = FolderLock::take(folder_.path());
    ASSERT_TRUE(lock.ok()) << lock.error().message;
    const auto other = FolderLock::take(folder_.path());
    ASSERT_FALSE(other.ok());
    EXPECT_EQ(other.error().code, Code::busy);
  }
  EXPECT_TRUE(FolderLock::take(folder_.path()).ok());
}

TEST_F(FolderLocking, AFileThatWasRemovedIsNotTheLock) {
  before_locking = [&] {
    if (++calls_ == 1) remove_file_of_lock();
  };
  const auto lock = FolderLock::take(folder_.path());
  ASSERT_TRUE(lock.ok()) << lock.error().message;
  EXPECT_EQ(calls_, 2);
  const auto other = FolderLock::take(folder_.path());
  ASSERT_FALSE(other.ok());
  EXPECT_EQ(other.error().code, Code::busy);
}

TEST_F(FolderLocking, WhoeverTookTheNewFileHasTheLock) {
  std::optional<FolderLock> first;
  before_locking = [&] {
    if (++calls_ > 1) return;
    remove_file_of_lock();
    auto taken = FolderLock::take(folder_.path());
    ASSERT_TRUE(taken.ok()) << taken.error().message;
    first = std::move(*taken);
  };
  const auto late = FolderLock::take(folder_.path());
  ASSERT_TRUE(first.has_value());
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().code, Code::busy);
}

TEST_F(FolderLocking, AFileThatIsRemovedEachTimeIsBusy) {
  before_locking = [&] { remove_file_of_lock(); };
  const auto lock = FolderLock::take(folder_.path());
  ASSERT_FALSE(lock.ok());
  EXPECT_EQ(lock.error().code, Code::busy);
}

}  // namespace
}  // namespace msa
