#include "corpus/byte_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "base/test_folder.h"
#include "corpus/test_compress.h"

namespace msa {
namespace {

using ::testing::HasSubstr;

Result<std::string> read_all(const std::filesystem::path& path, size_t step = 64 << 10) {
  MSA_ASSIGN(auto bytes, open_bytes(path));
  std::string out;
  std::vector<std::byte> buffer(step);
  while (true) {
    MSA_ASSIGN(const size_t got, bytes->read(buffer));
    if (got == 0) break;
    out.append(reinterpret_cast<const char*>(buffer.data()), got);
  }
  EXPECT_EQ(bytes->stored_bytes_read(), std::filesystem::file_size(path));
  return out;
}

std::string noise(size_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string out(size, '\0');
  for (char& c : out) c = static_cast<char>(random());
  return out;
}

TEST(ByteSource, PlainAndCompressed) {
  const TestFolder folder;
  // Around the input buffer's size, random (stored) and repetitive (strongly compressed).
  for (const size_t size : {0, 1, 1000, 128 << 10, (128 << 10) + 1, 700'001}) {
    for (const std::string& text : {noise(size, size), std::string(size, 'a')}) {
      for (const size_t step : {size_t{1} << 16, size_t{777}}) {
        EXPECT_EQ(*read_all(folder.put("a.txt", text), step), text);
        EXPECT_EQ(*read_all(folder.put("a.gz", gzip(text)), step), text);
        EXPECT_EQ(*read_all(folder.put("a.zst", zstd(text)), step), text);
      }
    }
  }
  EXPECT_EQ(*read_all(folder.put("A.GZ", gzip("case"))), "case");
}

TEST(ByteSource, ConcatenatedMembersAndFrames) {
  const TestFolder folder;
  const std::string big = noise(300'000, 9);
  EXPECT_EQ(*read_all(folder.put("a.gz", gzip("one ") + gzip("") + gzip(big))), "one " + big);
  EXPECT_EQ(*read_all(folder.put("b.gz", gzip("one ") + std::string(10240, '\0'))), "one ");
  EXPECT_EQ(*read_all(folder.put("a.zst", zstd("one ") + zstd("") + zstd(big))), "one " + big);
  // A skippable frame in between.
  const std::string skip("\x50\x2A\x4D\x18\x03\x00\x00\x00xyz", 11);
  EXPECT_EQ(*read_all(folder.put("b.zst", zstd("one ") + skip + zstd("two"))), "one two");
}

TEST(ByteSource, TruncatedAnywhere) {
  const TestFolder folder;
  const std::string text = noise(500, 1) + std::string(5000, 'x');
  for (const char* name : {"a.gz", "a.zst"}) {
    const std::string whole = name == std::string("a.gz") ? gzip(text) : zstd(text);
    for (size_t size = 0; size < whole.size(); ++size) {
      const auto path = folder.put(name, whole.substr(0, size));
      const auto read = read_all(path);
      ASSERT_FALSE(read) << name << " cut to " << size;
      EXPECT_EQ(read.error().code, Code::corrupt);
      EXPECT_THAT(read.error().message, HasSubstr(path.string()));
      EXPECT_THAT(read.error().message, HasSubstr("breaks off at byte " + std::to_string(size)));
    }
  }
}

TEST(ByteSource, DamagedBytesAreFoundOrHarmless) {
  const TestFolder folder;
  const std::string text = noise(2000, 2);
  std::mt19937_64 random(3);
  const std::string whole = gzip(text);
  for (int i = 0; i < 200; ++i) {
    std::string damaged = whole;
    damaged[random() % damaged.size()] ^= static_cast<char>(1 << random() % 8);
    const auto read = read_all(folder.put("a.gz", damaged));
    if (read) {
      EXPECT_EQ(*read, text) << "only the header's unchecked fields may change";
    } else {
      EXPECT_EQ(read.error().code, Code::corrupt);
    }
  }
  const auto not_gzip = read_all(folder.put("b.gz", "plain text"));
  ASSERT_FALSE(not_gzip);
  EXPECT_THAT(not_gzip.error().message, HasSubstr("b.gz: damaged gzip data"));
  const auto not_zstd = read_all(folder.put("b.zst", "plain text"));
  ASSERT_FALSE(not_zstd);
  EXPECT_THAT(not_zstd.error().message, HasSubstr("b.zst: damaged zstd data"));
}

TEST(ByteSource, MissingFileAndFolder) {
  const TestFolder folder;
  const auto missing = open_bytes(folder / "none.txt");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::not_found);
  auto opened = open_bytes(folder.path());
  ASSERT_TRUE(opened);
  std::byte byte;
  EXPECT_FALSE((*opened)->read({&byte, 1}));
}

}  // namespace
}  // namespace msa
