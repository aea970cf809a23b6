#include "approximate/index_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <cstring>

#include "base/hash.h"
#include "base/test_folder.h"

namespace msa {
namespace {

using testing::HasSubstr;

IndexCatalogue some_catalogue() {
  IndexCatalogue catalogue;
  catalogue.coding = KeyCoding::scalar;
  catalogue.width = 6;
  catalogue.lists = 3;
  catalogue.rows = 5;
  catalogue.documents = 4;
  catalogue.segments = {{2, 4, 0x0123456789abcdef}, {9, 3, 7}};
  catalogue.layers = {{1, "00000004-1.idx", 1000, 42, 2, 4, 0.985},
                      {5, "00000004-5.idx", 1000, UINT64_MAX, 3, 16, 1}};
  return catalogue;
}

// With the checksum that belongs to it.
std::string sealed(std::string_view line) {
  return fmt::format("{}\n{}\n", line, to_hex(hash64(line)));
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

TEST(IndexCatalogue, ComesBackAsItWas) {
  const IndexCatalogue written = some_catalogue();
  const auto read = parse_index_catalogue(to_text(written), "index.json");
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(to_text(*read), to_text(written));
  EXPECT_EQ(read->segments[0].header_hash, 0x0123456789abcdefu);
  EXPECT_EQ(read->layers[1].checksum, UINT64_MAX);
  EXPECT_EQ(read->layers[1].candidates, 16u);
  EXPECT_EQ(read->chunks(), 7u);
}

TEST(IndexCatalogue, EveryFlippedBitAndEveryCutIsNoticed) {
  const std::string text = to_text(some_catalogue());
  for (size_t i = 0; i < text.size(); ++i) {
    std::string damaged = text;
    damaged[i] = static_cast<char>(damaged[i] ^ (1 << i % 8));
    const auto read = parse_index_catalogue(damaged, "index.json");
    ASSERT_FALSE(read.ok()) << i;
    EXPECT_EQ(read.error().code, Code::corrupt);
    EXPECT_FALSE(parse_index_catalogue(text.substr(0, i), "index.json").ok()) << i;
  }
  EXPECT_FALSE(parse_index_catalogue(text + "x", "index.json").ok());
}

TEST(IndexCatalogue, LiesWithARightChecksumAreRefused) {
  const std::string text = to_text(some_catalogue());
  const std::string line = text.substr(0, text.find('\n'));
  ASSERT_TRUE(parse_index_catalogue(sealed(line), "index.json").ok());
  const std::pair<const char*, const char*> lies[] = {
      {"\"ivf\"", "\"hnsw\""},
      {"\"width\":6", "\"width\":0"},
      {"\"width\":6", "\"width\":18446744073709551615"},
      {"\"width\":6", "\"width\":-6"},
      {"\"width\":6", "\"width\":6.5"},
      {"\"lists\":3", "\"lists\":\"3\""},
      {"\"lists\":3", "\"lists\":0"},
      {"\"rows\":5", "\"rows\":8"},
      {"\"rows\":5", "\"rows\":0"},
      {"\"documents\":4", "\"documents\":6"},
      {"\"chunks\":4", "\"chunks\":4294967295"},
      {"\"id\":2", "\"id\":0"},
      {"0123456789abcdef", "0123456789ABCDEF"},
      {"0123456789abcdef", "0123"},
      {"\"layer\":1", "\"layer\":6"},
      {"\"layer\":1", "\"layer\":4294967296"},
      {"00000004-1.idx", "../../secrets"},
      {"00000004-1.idx", "/etc/passwd"},
      {"\"bytes\":1000", "\"bytes\":63"},
      {"\"probes\":2", "\"probes\":4"},
      {"\"probes\":2", "\"probes\":0"},
      {"\"candidates\":4", "\"candidates\":0"},
      {"\"recall\":0.985", "\"recall\":1.5"},
      {"\"recall\":0.985", "\"recall\":null"},
      {"\"recall\"", "\"recoil\""},
      {"[{\"id\"", "[7,{\"id\""},
  };
  for (const auto& [from, to] : lies) {
    const auto read = parse_index_catalogue(sealed(replaced(line, from, to)), "index.json");
    ASSERT_FALSE(read.ok()) << from << " -> " << to;
    EXPECT_EQ(read.error().code, Code::corrupt);
    EXPECT_THAT(read.error().message, HasSubstr("index.json: "));
    EXPECT_THAT(read.error().message, HasSubstr("msa memory index"));
  }
  for (const char* other : {"", "[]", "7", "{}", "{\"version\":1", "\xff\xfe"})
    EXPECT_FALSE(parse_index_catalogue(sealed(other), "index.json").ok()) << other;
  const auto newer =
      parse_index_catalogue(sealed(replaced(line, "\"version\":1", "\"version\":2")), "index.json");
  ASSERT_FALSE(newer.ok());
  EXPECT_EQ(newer.error().code, Code::unsupported);
  EXPECT_THAT(newer.error().message, HasSubstr("is of version 2, this program reads 1"));
}

TEST(IndexFileName, MeansOneBuildAndLayer) {
  EXPECT_EQ(index_file_name(3, 18), "00000003-18.idx");
  EXPECT_EQ(index_file_name(123456789, 0), "123456789-0.idx");
  EXPECT_EQ(build_of_index_file("00000003-18.idx"), 3u);
  EXPECT_EQ(build_of_index_file("123456789-0.idx"), 123456789u);
  for (const char* other :
       {"", "00000003", "3-18.idx", "00000003-018.idx", "00000003--1.idx", "00000003-18.idx.tmp",
        "00000003-18", "x-1.idx", "../00000003-18.idx", "99999999999999999999999-1.idx"})
    EXPECT_FALSE(build_of_index_file(other)) << other;
}

// What a builder would have made: rows 0, 3 | none | 6, 1, 2.
class MadeLists final : public ListBuilder {
 public:
  MadeLists() : centres_(18), quantiser_(12), codes_(30) {
    for (size_t i = 0; i < codes_.size(); ++i) codes_[i] = static_cast<uint8_t>(i);
    for (size_t i = 0; i < centres_.size(); ++i) centres_[i] = static_cast<float>(i) / 2;
    for (size_t i = 0; i < quantiser_.size(); ++i) quantiser_[i] = 1 + static_cast<float>(i);
  }
  Result<void> train(MatView<const float>) override { return {}; }
  Result<void> add(MatView<const float>, std::span<const uint32_t>) override { return {}; }
  std::span<const float> centres() const override { return centres_; }
  std::span<const float> quantiser() const override { return quantiser_; }
  List list(size_t number) const override {
    const std::span<const uint8_t> codes(codes_);
    if (number == 0) return {{0, 3}, codes.first(12)};
    if (number == 1) return {};
    return {{6, 1, 2}, codes.subspan(12)};
  }

 private:
  std::vector<float> centres_, quantiser_;
  std::vector<uint8_t> codes_;
};

class IndexFile : public testing::Test {
 protected:
  void SetUp() override {
    catalogue_ = some_catalogue();
    const ListShape shape{catalogue_.coding, catalogue_.width, catalogue_.lists};
    auto written = write_index_file(folder_.path(), "00000004-1.idx", 1, shape, 5, MadeLists());
    ASSERT_TRUE(written.ok()) << written.error().message;
    record_ = *written;
    bytes_ = TestFolder::get(folder_ / record_.file);
  }
  // With the size and checksum that belong to what is in the file now.
  Result<MappedIndex> open_as(const std::string& bytes) {
    folder_.put(record_.file, bytes);
    IndexedFile record = record_;
    record.bytes = bytes.size();
    record.checksum = hash64(std::string_view(bytes));
    return open_index_file(folder_.path(), catalogue_, record);
  }
  template <class T>
  std::string with(size_t offset, T value) const {
    std::string bytes = bytes_;
    std::memcpy(bytes.data() + offset, &value, sizeof value);
    return bytes;
  }

  TestFolder folder_;
  IndexCatalogue catalogue_;
  IndexedFile record_;
  std::string bytes_;
};

// Where docs/memory-bank.md says that they are.
constexpr size_t kCentres = 64, kQuantiser = 192, kOffsets = 256, kRows = 320, kCodes = 384;

TEST_F(IndexFile, ArraysAreWhereTheFormatSays) {
  EXPECT_EQ(bytes_.size(), kCodes + 5 * 6);
  EXPECT_EQ(record_.bytes, bytes_.size());
  EXPECT_EQ(record_.checksum, hash64(std::string_view(bytes_)));
  const auto opened = open_index_file(folder_.path(), catalogue_, record_);
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  const ListArrays& arrays = opened->arrays;
  EXPECT_EQ(arrays.centres[17], 8.5f);
  EXPECT_EQ(arrays.quantiser[11], 12.0f);
  EXPECT_THAT(arrays.offsets, testing::ElementsAre(0u, 2u, 2u, 5u));
  EXPECT_THAT(arrays.rows, testing::ElementsAre(0u, 3u, 6u, 1u, 2u));
  EXPECT_EQ(arrays.codes.size(), 30u);
  EXPECT_EQ(arrays.codes[29], 29u);
  float centre;
  std::memcpy(&centre, bytes_.data() + kCentres + 4 * 17, sizeof centre);
  EXPECT_EQ(centre, 8.5f);
  float quantiser;
  std::memcpy(&quantiser, bytes_.data() + kQuantiser + 4 * 11, sizeof quantiser);
  EXPECT_EQ(quantiser, 12.0f);
  EXPECT_EQ(bytes_[kCodes + 29], 29);
  EXPECT_EQ(bytes_.substr(0, 8), std::string("MSAIDX1\0", 8));
}

TEST_F(IndexFile, EveryFlippedBitAndEveryCutIsNoticed) {
  for (size_t i = 0; i < bytes_.size(); ++i) {
    std::string damaged = bytes_;
    damaged[i] = static_cast<char>(damaged[i] ^ (1 << i % 8));
    folder_.put(record_.file, damaged);
    const auto opened = open_index_file(folder_.path(), catalogue_, record_);
    ASSERT_FALSE(opened.ok()) << i;
    EXPECT_EQ(opened.error().code, Code::corrupt);
  }
  for (const size_t size : {size_t{0}, size_t{63}, bytes_.size() - 1}) {
    folder_.put(record_.file, bytes_.substr(0, size));
    EXPECT_FALSE(open_index_file(folder_.path(), catalogue_, record_).ok());
  }
  std::filesystem::remove(folder_ / record_.file);
  const auto missing = open_index_file(folder_.path(), catalogue_, record_);
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code, Code::not_found);
}

TEST_F(IndexFile, LiesWithARightChecksumAreRefused) {
  ASSERT_TRUE(open_as(bytes_).ok());
  const std::string header = "its header is not as index.json says";
  const std::pair<std::string, std::string> lies[] = {
      {with(0, 'X'), header},
      {with<uint32_t>(8, 2), header},
      {with<uint32_t>(12, 1), header},
      {with<uint32_t>(16, 5), header},
      {with<uint32_t>(20, 1), header},
      {with<uint64_t>(24, 7), header},
      {with<uint64_t>(32, UINT64_MAX), header},
      {with<uint64_t>(40, 4), header},
      {with<uint64_t>(48, 1), header},
      {with<uint64_t>(56, 1), header},
      {with<uint64_t>(kOffsets, 1), "do not ascend"},
      {with<uint64_t>(kOffsets + 8, UINT64_MAX), "do not ascend"},
      {with<uint64_t>(kOffsets + 24, 6), "do not ascend"},
      {with<uint64_t>(kOffsets + 16, 1), "do not ascend"},
      {with<uint32_t>(kRows, 7), "row 7 is in a list, there are 7 chunks"},
      {with<uint32_t>(kRows + 16, UINT32_MAX), "there are 7 chunks"},
      {bytes_ + "x", header},
  };
  for (const auto& [bytes, expected] : lies) {
    const auto opened = open_as(bytes);
    ASSERT_FALSE(opened.ok()) << expected;
    EXPECT_EQ(opened.error().code, Code::corrupt);
    EXPECT_THAT(opened.error().message, HasSubstr(expected));
    EXPECT_THAT(opened.error().message, HasSubstr("00000004-1.idx: "));
  }
  // A catalogue that says more than fits 64 bits.
  catalogue_.width = 1u << 24;
  catalogue_.lists = 1u << 24;
  EXPECT_FALSE(open_as(bytes_).ok());
}

TEST_F(IndexFile, RowsThatAreMissingAreABug) {
  const ListShape shape{KeyCoding::scalar, 6, 3};
  const auto written = write_index_file(folder_.path(), "00000005-1.idx", 1, shape, 6, MadeLists());
  ASSERT_FALSE(written.ok());
  EXPECT_THAT(written.error().message, HasSubstr("the lists hold 5 keys, not 6"));
  EXPECT_EQ(folder_.entries(), 1u);  // nothing is left behind
}

}  // namespace
}  // namespace msa
