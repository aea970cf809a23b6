#include "cli/history_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

namespace msa::cli {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class History : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(::testing::TempDir()) / ("msa_history_" + std::to_string(::getpid()));
    fs::remove_all(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path path() const { return folder_ / "state" / "msa" / "history"; }
  fs::path folder_;
};

TEST_F(History, LinesComeBack) {
  HistoryFile first(path()), second(path());
  EXPECT_THAT(first.load(), IsEmpty());
  EXPECT_THAT(second.load(), IsEmpty());
  first.append("who, where?");
  second.append("漢字");
  first.append("two\nlines");  // would come back as two
  first.append("");
  EXPECT_THAT(HistoryFile(path()).load(), ElementsAre("who, where?", "漢字"));
  EXPECT_EQ(first.problem(), "");
}

TEST_F(History, OnlyTheUserMayRead) {
  HistoryFile file(path());
  file.load();
  struct stat status {};
  ASSERT_EQ(::stat(path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  ASSERT_EQ(::stat(path().parent_path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
}

TEST_F(History, IsShortenedWhenItHasGrown) {
  HistoryFile(path()).load();
  {
    std::ofstream out(path());
    for (size_t i = 0; i < 2 * HistoryFile::kLines; ++i) out << "line " << i << "\n";
  }
  const std::vector<std::string> lines = HistoryFile(path()).load();
  ASSERT_EQ(lines.size(), HistoryFile::kLines);
  EXPECT_EQ(lines.back(), "line 1999");
  EXPECT_LT(fs::file_size(path()), 12u * HistoryFile::kLines);
  EXPECT_EQ(HistoryFile(path()).load(), lines);
  EXPECT_EQ(std::distance(fs::directory_iterator(path().parent_path()), {}), 1);
}

TEST_F(History, WhatIsNoTextIsPassedOver) {
  HistoryFile(path()).load();
  std::ofstream(path(), std::ios::binary) << "good\n\x1b[2J\nalso good\r\n\n" << '\0' << "\nend";
  EXPECT_THAT(HistoryFile(path()).load(), ElementsAre("good", "end"));
}

TEST_F(History, ProblemsAreToldAndHarmless) {
  fs::create_directories(folder_);
  std::ofstream(folder_ / "state") << "a file where a folder should be";
  HistoryFile file(path());
  EXPECT_THAT(file.load(), IsEmpty());
  EXPECT_THAT(file.problem(), HasSubstr("cannot be made"));
  file.append("x");
}

TEST_F(History, PathFollowsTheEnvironment) {
  ::setenv("XDG_STATE_HOME", "/state", 1);
  EXPECT_EQ(history_path(), fs::path("/state/msa/history"));
  ::setenv("XDG_STATE_HOME", "relative", 1);
  ::setenv("HOME", "/home/me", 1);
  EXPECT_EQ(history_path(), fs::path("/home/me/.local/state/msa/history"));
  ::unsetenv("HOME");
  EXPECT_EQ(history_path(), std::nullopt);
}

}  // namespace
}  // namespace msa::cli
