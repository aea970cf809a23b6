#include "base/new_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "base/test_folder.h"

namespace msa {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

void put(const fs::path& file, const char* text) {
  std::ofstream(file) << text;
}

TEST(NewFolder, AppearsOnCommit) {
  const TestFolder folder;
  for (const char* name : {"plain", "slash//", "deep/er/still", "./dotted"}) {
    const fs::path path = folder / name;
    {
      NewFolder made = NewFolder::create(path).value();
      put(made.working_path() / "file", "text");
      EXPECT_FALSE(fs::exists(path)) << name;
      const auto committed = made.commit();
      ASSERT_TRUE(committed) << committed.error().message;
    }
    EXPECT_EQ(TestFolder::get(path / "file"), "text") << name;
  }
  EXPECT_EQ(folder.entries(), 4u);
}

TEST(NewFolder, IsRemovedWithoutCommit) {
  const TestFolder folder;
  {
    NewFolder first = NewFolder::create(folder / "new").value();
    fs::create_directories(first.working_path() / "a/b");
    put(first.working_path() / "a/b/file", "text");
    NewFolder second = NewFolder::create(folder / "new").value();
    EXPECT_NE(first.working_path(), second.working_path());
    const fs::path kept = second.working_path();
    first = std::move(second);  // what it held goes
    EXPECT_TRUE(fs::exists(kept));
    EXPECT_EQ(folder.entries(), 1u);
  }
  EXPECT_EQ(folder.entries(), 0u);
}

TEST(NewFolder, ReplacesNothing) {
  const TestFolder folder;
  folder.put("file", "precious");
  fs::create_directory(folder / "empty");
  fs::create_symlink("nowhere", folder / "link");
  for (const fs::path& path : {folder / "file", folder / "empty", folder / "empty/",
                               folder / "link", fs::path("."), fs::path("/"), fs::path()}) {
    const auto made = NewFolder::create(path);
    ASSERT_FALSE(made) << path;
    EXPECT_EQ(made.error().code, Code::invalid_argument);
    EXPECT_THAT(made.error().message, HasSubstr("is there already"));
  }
  EXPECT_FALSE(NewFolder::create(folder / "file/below"));
  // Not even what comes while it is written.
  NewFolder made = NewFolder::create(folder / "late").value();
  fs::create_directory(folder / "late");
  const auto committed = made.commit();
  ASSERT_FALSE(committed);
  EXPECT_THAT(committed.error().message, HasSubstr("late"));
  EXPECT_EQ(TestFolder::get(folder / "file"), "precious");
}

}  // namespace
}  // namespace msa
