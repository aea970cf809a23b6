#include "base/files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <random>
#include <thread>

#include "base/test_folder.h"

namespace msa {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
std::string random_text(size_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

// ---------------------------------------------------------------------------------------------

TEST(SystemError, HasPathCauseAndRemedy) {
  const Error full = system_error("write", "dir/a.bin", ENOSPC);
  EXPECT_EQ(full.code, Code::no_space);
  EXPECT_EQ(full.message,
            "dir/a.bin: cannot write: No space left on device; free some space or choose another "
            "disk");
  EXPECT_EQ(system_error("write", "a", EDQUOT).code, Code::no_space);
  EXPECT_EQ(system_error("open", "a", EACCES).code, Code::permission);
  EXPECT_EQ(system_error("open", "a", EPERM).code, Code::permission);
  EXPECT_EQ(system_error("open", "a", EROFS).code, Code::permission);
  EXPECT_EQ(system_error("open", "a", ENOENT).code, Code::not_found);
  EXPECT_EQ(system_error("open", "a", EBUSY).code, Code::busy);
  EXPECT_EQ(system_error("read", "a", EIO).code, Code::io);
  EXPECT_THAT(system_error("open", "a", EMFILE).message, HasSubstr("ulimit -n"));
}

TEST(SystemError, IsAlwaysOneLineWithARemedy) {
  for (int number = 1; number < 140; ++number)
    EXPECT_THAT(system_error("open", "a", number).message,
                AllOf(StartsWith("a: cannot open: "), HasSubstr("; "),
                      testing::Not(HasSubstr("\n")), testing::Not(EndsWith("."))));
}

// ---------------------------------------------------------------------------------------------

TEST(MappedFile, ShowsTheBytes) {
  const TestFolder folder;
  const std::string text = random_text(10'000, 1);
  const auto file = MappedFile::open(folder.put("a", text));
  ASSERT_TRUE(file);
  EXPECT_EQ(text_of(file->bytes()), text);
  EXPECT_EQ(file->path(), folder / "a");
}

TEST(MappedFile, MayBeEmpty) {
  const TestFolder folder;
  const auto file = MappedFile::open(folder.put("empty", ""));
  ASSERT_TRUE(file);
  EXPECT_TRUE(file->bytes().empty());
  file->drop(0, 0);
  file->drop(0, 100);
}

TEST(MappedFile, MovesItsMapping) {
  const TestFolder folder;
  auto first = MappedFile::open(folder.put("a", "first"));
  auto second = MappedFile::open(folder.put("b", "second"));
  ASSERT_TRUE(first && second);
  MappedFile moved = std::move(*first);
  EXPECT_EQ(text_of(moved.bytes()), "first");
  EXPECT_TRUE(first->bytes().empty());
  moved = std::move(*second);
  EXPECT_EQ(text_of(moved.bytes()), "second");
  EXPECT_EQ(moved.path(), folder / "b");
  MappedFile& self = moved;
  moved = std::move(self);
  EXPECT_EQ(text_of(moved.bytes()), "second");
}

TEST(MappedFile, OutlivesTheName) {
  const TestFolder folder;
  const auto file = MappedFile::open(folder.put("a", "still here"));
  ASSERT_TRUE(file);
  std::filesystem::remove(folder / "a");
  EXPECT_EQ(text_of(file->bytes()), "still here");
}

TEST(MappedFile, DroppedBytesCanBeReadAgain) {
  const TestFolder folder;
  const std::string text = random_text(5 * 4096 + 123, 2);
  const auto file = MappedFile::open(folder.put("a", text));
  ASSERT_TRUE(file);
  for (size_t offset : {0, 1, 4095, 4096, 4097, 20'602, 20'603, 30'000})
    for (size_t length : {size_t{0}, size_t{1}, size_t{4096}, size_t{9000}, SIZE_MAX}) {
      file->drop(offset, length);
      ASSERT_EQ(text_of(file->bytes()), text) << offset << " " << length;
    }
}

TEST(MappedFile, DroppingGivesMemoryBack) {
  const auto resident_pages = [] {
    unsigned long total = 0, resident = 0;
    const std::string text = TestFolder::get("/proc/self/statm");
    EXPECT_EQ(sscanf(text.c_str(), "%lu %lu", &total, &resident), 2);
    return static_cast<long>(resident);
  };
  constexpr long kPages = 4096;  // 16 MiB
  const TestFolder folder;
  const auto file = MappedFile::open(folder.put("a", std::string(kPages * 4096, 'x')));
  ASSERT_TRUE(file);
  size_t sum = 0;
  for (std::byte b : file->bytes()) sum += static_cast<size_t>(b);
  EXPECT_EQ(sum, static_cast<size_t>('x') * kPages * 4096);
  const long before = resident_pages();
  file->drop(0, SIZE_MAX);
  EXPECT_LT(resident_pages(), before - kPages / 2);
}

TEST(MappedFile, SaysWhereNothingCanBeMapped) {
  // sysfs: files like any other, that cannot be mapped.
  const std::filesystem::path file = "/sys/kernel/mm/transparent_hugepage/enabled";
  if (!std::filesystem::exists(file)) GTEST_SKIP() << file << ": not there";
  const auto mapped = MappedFile::open(file);
  ASSERT_FALSE(mapped.ok());
  EXPECT_EQ(mapped.error().code, Code::unsupported);
  EXPECT_THAT(mapped.error().message,
              AllOf(StartsWith(file.string()), HasSubstr("cannot map files into memory")));
}

TEST(MappedFile, LinksAreRefusedWhereAskedFor) {
  const TestFolder folder;
  folder.put("file", "abc");
  std::filesystem::create_symlink("file", folder / "link");
  EXPECT_TRUE(MappedFile::open(folder / "link").ok());
  EXPECT_TRUE(MappedFile::open(folder / "file", MappedFile::Links::refuse).ok());
  const auto refused = MappedFile::open(folder / "link", MappedFile::Links::refuse);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::invalid_argument);
  EXPECT_THAT(refused.error().message, HasSubstr("link: is a symbolic link"));
}

TEST(MappedFile, RefusesWhatIsNoRegularFile) {
  const TestFolder folder;
  const auto missing = MappedFile::open(folder / "missing");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::not_found);
  EXPECT_THAT(missing.error().message, HasSubstr((folder / "missing").string()));

  const auto directory = MappedFile::open(folder.path());
  ASSERT_FALSE(directory);
  EXPECT_THAT(directory.error().message, HasSubstr("is a folder, not a file"));

  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  const auto pipe = MappedFile::open(folder / "pipe");  // must not wait for a writer
  ASSERT_FALSE(pipe);
  EXPECT_THAT(pipe.error().message, HasSubstr("is a pipe"));

  const auto device = MappedFile::open("/dev/null");
  ASSERT_FALSE(device);
  EXPECT_EQ(device.error().code, Code::invalid_argument);
  EXPECT_THAT(device.error().message, HasSubstr("is a device"));

  const auto below = MappedFile::open(folder.put("file", "x") / "below");
  ASSERT_FALSE(below);
  EXPECT_EQ(below.error().code, Code::not_found);
}

// ---------------------------------------------------------------------------------------------

TEST(ReadFile, ReadsAllUpToTheLimit) {
  const TestFolder folder;
  for (size_t size : {0, 1, 1000, 65'535, 65'536, 65'537, 200'000}) {
    const std::string text = random_text(size, 3);
    const auto path = folder.put("a", text);
    const auto exactly = read_file(path, size);
    ASSERT_TRUE(exactly) << size;
    EXPECT_EQ(*exactly, text);
    if (size == 0) continue;
    const auto over = read_file(path, size - 1);
    ASSERT_FALSE(over) << size;
    EXPECT_THAT(over.error().message, AllOf(HasSubstr(std::to_string(size)), HasSubstr("/a: ")));
  }
}

TEST(ReadFile, ReadsFilesThatDoNotTellTheirSize) {
  const auto status = read_file("/proc/self/status", 1 << 20);
  ASSERT_TRUE(status);
  EXPECT_THAT(*status, HasSubstr("Name:"));
  EXPECT_FALSE(read_file("/proc/self/status", 10));
  EXPECT_FALSE(read_file("/dev/zero", 1 << 20));  // endless
}

TEST(ReadFile, PutsTheShortReadsOfAPipeTogether) {
  const TestFolder folder;
  const auto path = folder / "pipe";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  std::thread writer([&] {
    FILE* pipe = std::fopen(path.c_str(), "w");
    for (int i = 0; i < 100; ++i) {
      std::fputs("0123456789", pipe);
      std::fflush(pipe);
    }
    std::fclose(pipe);
  });
  const auto text = read_file(path, 1000);
  writer.join();
  ASSERT_TRUE(text);
  EXPECT_EQ(text->size(), 1000u);
}

TEST(ReadFile, NamesWhatIsWrong) {
  const TestFolder folder;
  const auto missing = read_file(folder / "missing", 10);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::not_found);
  const auto directory = read_file(folder.path(), 10);
  ASSERT_FALSE(directory);
  EXPECT_THAT(directory.error().message, HasSubstr("is a folder"));
}

// ---------------------------------------------------------------------------------------------

TEST(AtomicFileWriter, ShowsNothingBeforeCommit) {
  const TestFolder folder;
  const auto path = folder.put("a", "old");
  auto writer = AtomicFileWriter::create(path);
  ASSERT_TRUE(writer);
  ASSERT_TRUE(writer->write(bytes_of("new ")));
  ASSERT_TRUE(writer->write(bytes_of("text")));
  EXPECT_EQ(writer->size(), 8u);
  EXPECT_EQ(TestFolder::get(path), "old");
  ASSERT_TRUE(writer->commit());
  EXPECT_EQ(TestFolder::get(path), "new text");
  EXPECT_EQ(folder.entries(), 1u);
}

TEST(AtomicFileWriter, LeavesNothingWhenNotCommitted) {
  const TestFolder folder;
  {
    auto writer = AtomicFileWriter::create(folder / "a");
    ASSERT_TRUE(writer);
    ASSERT_TRUE(writer->write(bytes_of(random_text(1 << 20, 4))));
    EXPECT_EQ(folder.entries(), 1u);
  }
  EXPECT_EQ(folder.entries(), 0u);
}

TEST(AtomicFileWriter, WritersOfOneNameDoNotMeet) {
  const TestFolder folder;
  auto first = AtomicFileWriter::create(folder / "a");
  auto second = AtomicFileWriter::create(folder / "a");
  ASSERT_TRUE(first && second);
  ASSERT_TRUE(first->write(bytes_of("first")));
  ASSERT_TRUE(second->write(bytes_of("second")));
  ASSERT_TRUE(second->commit());
  EXPECT_EQ(TestFolder::get(folder / "a"), "second");
  ASSERT_TRUE(first->commit());
  EXPECT_EQ(TestFolder::get(folder / "a"), "first");
  EXPECT_EQ(folder.entries(), 1u);
}

TEST(AtomicFileWriter, WorksInTheCurrentFolder) {
  const TestFolder folder;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  auto writer = AtomicFileWriter::create("bare-name");
  const bool done = writer && writer->write(bytes_of("x")) && writer->commit();
  std::filesystem::current_path(before);
  ASSERT_TRUE(done);
  EXPECT_EQ(TestFolder::get(folder / "bare-name"), "x");
}

TEST(AtomicFileWriter, TakesNamesOfFullLength) {
  const TestFolder folder;
  const auto path = folder / std::string(255, 'n');
  auto writer = AtomicFileWriter::create(path);
  ASSERT_TRUE(writer);
  ASSERT_TRUE(writer->commit());
  EXPECT_TRUE(std::filesystem::exists(path));
}

// Appends, overwrites and pads at random, beside a string that does the same.
TEST(AtomicFileWriter, EqualsAStringUnderRandomWrites) {
  const TestFolder folder;
  std::mt19937 random(5);
  for (int round = 0; round < 20; ++round) {
    const auto path = folder / "a";
    auto writer = AtomicFileWriter::create(path);
    ASSERT_TRUE(writer);
    std::string expected;
    for (int step = 0; step < 30; ++step) {
      const unsigned kind = random() % 4;
      // Around the buffer's 256 KiB now and then.
      const size_t length = random() % 8 == 0 ? 262'100 + random() % 100 : random() % 5000;
      const std::string piece = random_text(length, random());
      if (kind < 2) {
        ASSERT_TRUE(writer->write(bytes_of(piece)));
        expected += piece;
      } else if (kind == 2) {
        const size_t fits = std::min(piece.size(), expected.size());
        const size_t offset = expected.empty() ? 0 : random() % (expected.size() - fits + 1);
        ASSERT_TRUE(writer->write_at(offset, bytes_of(piece).first(fits)));
        expected.replace(offset, fits, piece, 0, fits);
      } else {
        const size_t alignment = size_t{1} << (random() % 14);
        ASSERT_TRUE(writer->pad_to(alignment));
        expected.resize((expected.size() + alignment - 1) / alignment * alignment, '\0');
      }
      ASSERT_EQ(writer->size(), expected.size());
    }
    ASSERT_TRUE(writer->commit());
    ASSERT_TRUE(TestFolder::get(path) == expected) << "round " << round;
  }
}

TEST(AtomicFileWriter, OverwritesOnlyWhatWasAppended) {
  const TestFolder folder;
  for (const auto& [offset, text] : {std::pair<uint64_t, std::string_view>{3, "xx"},
                                     {5, "x"},
                                     {UINT64_MAX, "xx"},
                                     {1ull << 63, "x"}}) {
    auto writer = AtomicFileWriter::create(folder / "a");
    ASSERT_TRUE(writer);
    ASSERT_TRUE(writer->write(bytes_of("1234")));
    ASSERT_TRUE(writer->write_at(4, {}));
    const auto outside = writer->write_at(offset, bytes_of(text));
    ASSERT_FALSE(outside) << offset;
    EXPECT_EQ(outside.error().code, Code::invalid_argument);
    // A writer that has failed once stays failed, and has cleaned up.
    EXPECT_FALSE(writer->write(bytes_of("5")));
    EXPECT_FALSE(writer->commit());
    EXPECT_EQ(folder.entries(), 0u);
  }
}

TEST(AtomicFileWriter, IsUsedOnce) {
  const TestFolder folder;
  auto writer = AtomicFileWriter::create(folder / "a");
  ASSERT_TRUE(writer && writer->commit());
  const auto again = writer->commit();
  ASSERT_FALSE(again);
  EXPECT_THAT(again.error().message, HasSubstr("already finished"));
  EXPECT_FALSE(writer->write(bytes_of("x")));
  EXPECT_EQ(TestFolder::get(folder / "a"), "");
}

TEST(AtomicFileWriter, MovesWithItsFile) {
  const TestFolder folder;
  auto first = AtomicFileWriter::create(folder / "a");
  auto second = AtomicFileWriter::create(folder / "b");
  ASSERT_TRUE(first && second && first->write(bytes_of("1")));
  *second = std::move(*first);  // what "b" had goes
  EXPECT_EQ(folder.entries(), 1u);
  ASSERT_TRUE(second->write(bytes_of("2")) && second->commit());
  EXPECT_EQ(TestFolder::get(folder / "a"), "12");
  EXPECT_FALSE(std::filesystem::exists(folder / "b"));
}

TEST(AtomicFileWriter, RefusesPlacesWhereNoFileCanBe) {
  const TestFolder folder;
  const auto directory = AtomicFileWriter::create(folder.path());
  ASSERT_FALSE(directory);
  EXPECT_THAT(directory.error().message, HasSubstr("is a folder"));
  const auto device = AtomicFileWriter::create("/dev/full");  // a rename would replace it
  ASSERT_FALSE(device);
  EXPECT_THAT(device.error().message, HasSubstr("is a device"));
  const auto missing = AtomicFileWriter::create(folder / "no/such/a");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::not_found);
  const auto below = AtomicFileWriter::create(folder.put("file", "") / "a");
  ASSERT_FALSE(below);
  EXPECT_EQ(below.error().code, Code::not_found);
  EXPECT_FALSE(AtomicFileWriter::create("/proc/self/a"));  // where root cannot write either
}

TEST(AtomicFileWriter, RespectsAReadOnlyFolder) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write anywhere";
  const TestFolder folder;
  ASSERT_EQ(::chmod(folder.path().c_str(), 0500), 0);
  const auto refused = AtomicFileWriter::create(folder / "a");
  ::chmod(folder.path().c_str(), 0700);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::permission);
}

TEST(AtomicFileWriter, FailsToRenameOverAFolderMadeMeanwhile) {
  const TestFolder folder;
  auto writer = AtomicFileWriter::create(folder / "a");
  ASSERT_TRUE(writer);
  std::filesystem::create_directory(folder / "a");
  const auto refused = writer->commit();
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("cannot rename"));
  EXPECT_EQ(folder.entries(), 1u);  // the folder alone
}

// Lets files of this process grow to `bytes` only, while it lives.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, handler_);
  }

 private:
  void (*handler_)(int);
  rlimit before_{};
};

TEST(AtomicFileWriter, CleansUpWhenTheFileCannotGrow) {
  for (const size_t piece : {size_t{1000}, size_t{1} << 20}) {  // through the buffer, and past it
    const TestFolder folder;
    auto writer = AtomicFileWriter::create(folder / "a");
    ASSERT_TRUE(writer);
    const std::string text(piece, 'x');
    Result<void> written;
    {
      const FileSizeLimit limit(100'000);  // the first write beyond is cut short, the next refused
      for (int i = 0; i < 1000 && written; ++i) written = writer->write(bytes_of(text));
    }
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().code, Code::no_space);
    EXPECT_THAT(written.error().message, AllOf(HasSubstr("/a: cannot write"), HasSubstr("; ")));
    EXPECT_EQ(folder.entries(), 0u);
    const auto committed = writer->commit();
    ASSERT_FALSE(committed);
    EXPECT_EQ(committed.error().message, written.error().message);
  }
}

TEST(AtomicFileWriter, SaysThatTheDiskIsFull) {
  enum Outcome { kRight, kCannotMount, kNotFull, kWrongCode, kLeftover };
  const TestFolder folder;
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {  // a mount namespace of its own, with a disk of 64 KiB
    if (::unshare(CLONE_NEWNS) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
      ::_exit(kCannotMount);
    ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
    if (::mount("none", folder.path().c_str(), "tmpfs", 0, "size=64k") != 0) ::_exit(kCannotMount);
    Result<void> written;
    {
      auto writer = AtomicFileWriter::create(folder / "a");
      if (!writer) ::_exit(kWrongCode);
      written = writer->write(bytes_of(std::string(1 << 20, 'x')));
      if (written) written = writer->commit();
    }
    if (written) ::_exit(kNotFull);
    if (written.error().code != Code::no_space) ::_exit(kWrongCode);
    ::_exit(folder.entries() == 0 ? kRight : kLeftover);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == kCannotMount) GTEST_SKIP() << "no permission to mount";
  EXPECT_EQ(WEXITSTATUS(status), kRight);
}

// ---------------------------------------------------------------------------------------------

TEST(MakeFolder, MakesParentsAndAcceptsWhatIsThere) {
  const TestFolder folder;
  ASSERT_TRUE(make_folder(folder / "a/b/c"));
  EXPECT_TRUE(std::filesystem::is_directory(folder / "a/b/c"));
  ASSERT_TRUE(make_folder(folder / "a/b/c"));
  ASSERT_TRUE(make_folder(folder / "a/b/c/"));
  ASSERT_TRUE(make_folder(folder / "a/./x/../y"));
  EXPECT_TRUE(std::filesystem::is_directory(folder / "a/y"));
  ASSERT_TRUE(make_folder("."));
  ASSERT_TRUE(make_folder("/"));
  std::filesystem::create_directory_symlink(folder / "a", folder / "link");
  ASSERT_TRUE(make_folder(folder / "link/z"));
  EXPECT_TRUE(std::filesystem::is_directory(folder / "a/z"));
}

TEST(MakeFolder, SaysWhyNot) {
  const TestFolder folder;
  const auto empty = make_folder("");
  ASSERT_FALSE(empty);
  EXPECT_EQ(empty.error().code, Code::invalid_argument);
  const auto file = folder.put("file", "x");
  for (const auto& path : {file, file / "below"}) {
    const auto refused = make_folder(path);
    ASSERT_FALSE(refused) << path;
    EXPECT_THAT(refused.error().message, HasSubstr("is a file, not a folder"));
  }
  EXPECT_FALSE(make_folder("/proc/self/folder"));
}

}  // namespace
}  // namespace msa
