#include "memory/segment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "base/hash.h"
#include "memory/segment_format.h"
#include "memory/test_bank.h"

namespace msa {
namespace {

using testing::HasSubstr;

// One layer's rows, cut into pieces.
struct Arrays {
  std::vector<std::byte> keys, content;
};

struct Case {
  SegmentShape shape;
  uint64_t chunks = 0;
  std::vector<Arrays> layers;
  std::vector<std::vector<SegmentPiece>> pieces;
};

Case make_case(std::mt19937& random, SegmentShape shape, uint64_t chunks) {
  Case c;
  c.shape = std::move(shape);
  c.chunks = chunks;
  const size_t row = c.shape.key_row_bytes(), content_row = c.shape.content_row_bytes();
  c.layers.resize(c.shape.router_layers.size());
  c.pieces.resize(c.layers.size());
  for (size_t l = 0; l < c.layers.size(); ++l) {
    Arrays& a = c.layers[l];
    a.keys.resize(chunks * row);
    a.content.resize(chunks * content_row);
    for (std::byte& b : a.keys) b = static_cast<std::byte>(random());
    for (std::byte& b : a.content) b = static_cast<std::byte>(random());
    for (uint64_t done = 0; done < chunks;) {
      const uint64_t rows = 1 + random() % (chunks - done);
      SegmentPiece& piece = c.pieces[l].emplace_back();
      piece.keys = ConstAnyMat(a.keys.data() + done * row, c.shape.dtype, rows, c.shape.kv_width);
      const std::byte* const content = a.content.data() + done * content_row;
      if (const size_t heads = c.shape.int8_heads; heads > 0)
        piece.content_int8 = {content, rows, 2 * heads, c.shape.kv_width / heads};
      else
        piece.content = ConstAnyMat(content, c.shape.dtype, rows, 2 * c.shape.kv_width);
      done += rows;
    }
  }
  return c;
}

std::span<const std::byte> bytes_of(ConstAnyMat m) {
  EXPECT_TRUE(m.dense());
  return {m.data, m.rows * m.cols * size_of(m.dtype)};
}

std::span<const std::byte> content_of(const SegmentLayer& layer) {
  return layer.content_int8.heads > 0 ? layer.content_int8.bytes() : bytes_of(layer.content);
}

bool same_bytes(std::span<const std::byte> bytes, const std::vector<std::byte>& expected) {
  return bytes.size() == expected.size() &&
         std::memcmp(bytes.data(), expected.data(), expected.size()) == 0;
}

TEST(Segment, ReadsBackWhatWasWritten) {
  std::mt19937 random(7);
  const TestFolder folder;
  for (int round = 0; round < 60; ++round) {
    SegmentShape shape;
    for (int l = 0; l < 40; ++l)
      if (random() % 8 == 0) shape.router_layers.push_back(l);
    if (shape.router_layers.empty()) shape.router_layers.push_back(3);
    shape.kv_width = 1 + random() % 70;
    shape.dtype = round % 2 == 0 ? DType::f32 : DType::bf16;
    if (round % 3 == 0) {
      shape.int8_heads = 1 + random() % 4;
      shape.kv_width = shape.int8_heads * (1 + random() % 20);
    }
    const Case c = make_case(random, shape, 1 + random() % 90);
    const uint64_t number = 1 + random();
    const auto file = folder / "a.seg";
    const auto written = write_segment(file, number, shape, c.pieces);
    ASSERT_TRUE(written.ok()) << written.error().message;
    EXPECT_EQ(written->chunks, c.chunks);
    EXPECT_EQ(written->bytes, std::filesystem::file_size(file));

    const auto segment = Segment::open(file, number, shape);
    ASSERT_TRUE(segment.ok()) << segment.error().message;
    EXPECT_EQ(segment->chunks(), c.chunks);
    EXPECT_EQ(segment->bytes(), written->bytes);
    EXPECT_EQ(segment->checksum(), written->checksum);
    ASSERT_EQ(segment->layers().size(), c.layers.size());
    for (size_t l = 0; l < c.layers.size(); ++l) {
      const SegmentLayer& layer = segment->layers()[l];
      EXPECT_TRUE(same_bytes(bytes_of(layer.keys), c.layers[l].keys));
      EXPECT_TRUE(same_bytes(content_of(layer), c.layers[l].content));
      EXPECT_EQ(layer.content_int8.heads, 2 * shape.int8_heads);
      EXPECT_EQ(layer.content.data == nullptr, shape.int8_heads > 0);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(layer.keys.data) % 4096, 0u);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(content_of(layer).data()) % 4096, 0u);
    }
    uint64_t read = 0;
    EXPECT_TRUE(segment->verify([&](uint64_t bytes) { read += bytes; }).ok());
    EXPECT_EQ(read, written->bytes);
  }
}

// The numbers that docs/memory-bank.md gives, read without any of our structures.
void expect_documented_bytes(size_t int8_heads) {
  std::mt19937 random(1);
  const TestFolder folder;
  const SegmentShape shape{{4, 9}, 8, DType::bf16, int8_heads};
  const Case c = make_case(random, shape, 5);
  // Of a chunk: two rows of 8 values in bf16, or 2 x 2 scales and 16 integers.
  const size_t content = 5 * (int8_heads == 0 ? 2 * 8 * 2 : 4 * 4 + 2 * 8);
  const auto file = folder / "a.seg";
  ASSERT_TRUE(write_segment(file, 77, shape, c.pieces).ok());
  const std::string bytes = TestFolder::get(file);
  const auto u32 = [&](size_t at) {
    uint32_t v = 0;
    for (size_t i = 4; i-- > 0;) v = v << 8 | static_cast<uint8_t>(bytes[at + i]);
    return v;
  };
  const auto u64 = [&](size_t at) { return u32(at) | uint64_t{u32(at + 4)} << 32; };
  const std::string_view view = bytes;
  EXPECT_EQ(view.substr(0, 8), std::string_view("MSASEG1\0", 8));
  EXPECT_EQ(u32(8), int8_heads == 0 ? 1u : 2u);  // version
  EXPECT_EQ(u32(12), 2u);                        // layers
  EXPECT_EQ(u64(16), 77u);                       // number
  EXPECT_EQ(u64(24), 5u);                        // chunks
  EXPECT_EQ(u64(32), 8u);                        // width
  EXPECT_EQ(u32(40), 1u);                        // bf16
  EXPECT_EQ(u32(44), int8_heads);
  EXPECT_EQ(u64(48), bytes.size());
  EXPECT_EQ(u64(56),
            hash64(std::string(view.substr(0, 56)) + std::string(view.substr(64, 2 * 64))));
  const size_t offsets[2][2] = {{4096, 3 * 4096}, {2 * 4096, 4 * 4096}};
  for (size_t l = 0; l < 2; ++l) {
    const size_t entry = 64 + l * 64;
    EXPECT_EQ(u32(entry), l == 0 ? 4u : 9u);
    EXPECT_EQ(u64(entry + 8), offsets[l][0]);
    EXPECT_EQ(u64(entry + 16), 5u * 8 * 2);
    EXPECT_EQ(u64(entry + 24), hash64(view.substr(offsets[l][0], 80)));
    EXPECT_EQ(u64(entry + 32), offsets[l][1]);
    EXPECT_EQ(u64(entry + 40), content);
    EXPECT_EQ(u64(entry + 48), hash64(view.substr(offsets[l][1], content)));
    EXPECT_EQ(std::memcmp(bytes.data() + offsets[l][0], c.layers[l].keys.data(), 80), 0);
    EXPECT_EQ(std::memcmp(bytes.data() + offsets[l][1], c.layers[l].content.data(), content), 0);
  }
  EXPECT_EQ(bytes.size(), 4u * 4096 + content);
}

TEST(Segment, HasTheDocumentedBytes) {
  expect_documented_bytes(0);
}
TEST(Segment, OfInt8HasTheDocumentedBytes) {
  expect_documented_bytes(2);
}

TEST(Segment, AddsLittleToTheFormula) {
  // MSA-4B in bf16, 18 router layers: 108 KiB per chunk.
  SegmentShape shape{{}, 1024, DType::bf16};
  for (int l = 18; l < 36; ++l) shape.router_layers.push_back(l);
  EXPECT_EQ(shape.bytes_per_chunk(), 108u * 1024);
  for (const uint64_t chunks : {50, 1200, 1'562'500}) {
    const auto plan = plan_segment(shape, chunks);
    ASSERT_TRUE(plan.has_value());
    const double formula = static_cast<double>(chunks) * 108 * 1024;
    EXPECT_LE(static_cast<double>(plan->file_bytes), formula * 1.03) << chunks;
    EXPECT_GE(static_cast<double>(plan->file_bytes), formula);
  }
  // Content as int8: two thirds of the values take one byte in place of two. The scales come on
  // top.
  shape.int8_heads = 8;
  EXPECT_EQ(shape.bytes_per_chunk(), 18u * (2048 + 2048 + 16 * 4));
  for (const uint64_t chunks : {200, 1800, 1'562'500}) {
    const auto plan = plan_segment(shape, chunks);
    ASSERT_TRUE(plan.has_value());
    const double formula = static_cast<double>(chunks) * 18 * 1024 * (2 + 1 + 1);
    EXPECT_LE(static_cast<double>(plan->file_bytes), formula * 1.03) << chunks;
    EXPECT_GE(static_cast<double>(plan->file_bytes), formula);
  }
}

TEST(Segment, RefusesSizesThatWrap) {
  const SegmentShape shape{{0, 1, 2}, 1024, DType::f32};
  EXPECT_FALSE(plan_segment(shape, UINT64_MAX).has_value());
  EXPECT_FALSE(plan_segment(shape, UINT64_MAX / 4096).has_value());
  EXPECT_FALSE(plan_segment(shape, (uint64_t{1} << 63) / (3 * 3 * 4096) + 1).has_value());
  EXPECT_FALSE(plan_segment({{0}, SIZE_MAX / 2, DType::f32}, 3).has_value());
}

// With content in full, and as int8 of so many heads.
class DamagedSegment : public testing::TestWithParam<size_t> {
 protected:
  void SetUp() override {
    std::mt19937 random(3);
    case_ = make_case(random, {{1, 4}, 20, DType::bf16, GetParam()}, 9);
    ASSERT_TRUE(write_segment(file_, 5, case_.shape, case_.pieces).ok());
    bytes_ = TestFolder::get(file_);
  }
  Result<Segment> open_as(const std::string& bytes, uint64_t number = 5) {
    folder_.put("b.seg", bytes);
    return Segment::open(folder_ / "b.seg", number, case_.shape);
  }

  TestFolder folder_;
  std::filesystem::path file_ = folder_ / "a.seg";
  Case case_;
  std::string bytes_;
};

INSTANTIATE_TEST_SUITE_P(Content, DamagedSegment, testing::Values(size_t{0}, size_t{5}));

TEST_P(DamagedSegment, CutAtAnyLengthIsAnError) {
  for (size_t length = 0; length < bytes_.size(); length += length < 300 ? 1 : 97) {
    const auto segment = open_as(bytes_.substr(0, length));
    ASSERT_FALSE(segment.ok()) << length;
    EXPECT_THAT(segment.error().message, HasSubstr("b.seg"));
    EXPECT_THAT(segment.error().message, HasSubstr(fmt::format("has {} bytes", length)));
  }
  EXPECT_FALSE(open_as(bytes_ + "x").ok());
}

TEST_P(DamagedSegment, AnyChangeOfTheHeaderIsAnError) {
  const size_t table_end = 64 + 2 * 64;
  for (size_t at = 0; at < table_end; ++at)
    for (const int bit : {0, 3, 7}) {
      std::string changed = bytes_;
      changed[at] = static_cast<char>(changed[at] ^ (1 << bit));
      const auto segment = open_as(changed);
      ASSERT_FALSE(segment.ok()) << at;
      EXPECT_TRUE(segment.error().code == Code::corrupt ||
                  segment.error().code == Code::unsupported);
    }
}

// A header that is wrong, and whose checksum is right.
TEST_P(DamagedSegment, LyingHeadersAreErrors) {
  std::mt19937 random(11);
  for (int round = 0; round < 3000; ++round) {
    std::string changed = bytes_;
    const size_t at = 8 + random() % (64 + 2 * 64 - 8) / 8 * 8;
    if (at == 56) continue;  // the checksum itself
    constexpr uint64_t kValues[] = {
        0, 1, 0x7fffffffffffffff, 0xffffffffffffffff, 0xfffffffffffff000, 4096, 1u << 31};
    uint64_t value = kValues[random() % 7];
    if (round % 3 == 0) value = random() * uint64_t{random()};
    if (std::memcmp(changed.data() + at, &value, 8) == 0) continue;
    std::memcpy(changed.data() + at, &value, 8);
    const uint64_t checksum = hash64(changed.substr(0, 56) + changed.substr(64, 2 * 64));
    std::memcpy(changed.data() + 56, &checksum, 8);
    const auto segment = open_as(changed);
    // Checksums of arrays are the only numbers here that only verify() can find wrong.
    if (at == 64 + 24 || at == 128 + 24 || at == 64 + 48 || at == 128 + 48) {
      ASSERT_TRUE(segment.ok()) << at;
      EXPECT_FALSE(segment->verify({}).ok());
    } else {
      EXPECT_FALSE(segment.ok()) << at << " " << value;
    }
  }
}

TEST_P(DamagedSegment, VerifyFindsEveryFlippedByte) {
  std::mt19937 random(13);
  for (int round = 0; round < 400; ++round) {
    std::string changed = bytes_;
    const size_t at = 192 + random() % (bytes_.size() - 192);  // arrays, and the gaps before them
    changed[at] = static_cast<char>(changed[at] ^ (1 << random() % 8));
    const auto segment = open_as(changed);
    ASSERT_TRUE(segment.ok());
    const auto problems = segment->problems({});
    ASSERT_EQ(problems.size(), 1u) << at;
    EXPECT_THAT(problems[0], HasSubstr("b.seg: layer "));
    const auto verified = segment->verify({});
    ASSERT_FALSE(verified.ok());
    EXPECT_EQ(verified.error().code, Code::corrupt);
  }
}

TEST_P(DamagedSegment, VerifyListsEveryDamagedArray) {
  std::string changed = bytes_;
  for (const size_t at : {size_t{4096}, size_t{2 * 4096}, bytes_.size() - 1}) changed[at] ^= 1;
  const auto segment = open_as(changed);
  ASSERT_TRUE(segment.ok());
  const auto problems = segment->problems({});
  ASSERT_EQ(problems.size(), 3u);
  EXPECT_THAT(problems[0], HasSubstr("layer 1: the routing keys"));
  EXPECT_THAT(problems[1], HasSubstr("layer 4: the routing keys"));
  EXPECT_THAT(problems[2], HasSubstr("layer 4: the pooled keys and values"));
}

TEST_P(DamagedSegment, AnotherSegmentInItsPlaceIsAnError) {
  const auto segment = open_as(bytes_, 6);
  ASSERT_FALSE(segment.ok());
  EXPECT_THAT(segment.error().message, HasSubstr("is segment 5"));
  const size_t int8 = GetParam();
  const auto layers = Segment::open(file_, 5, {{1, 5}, 20, DType::bf16, int8});
  ASSERT_FALSE(layers.ok());
  EXPECT_THAT(layers.error().message, HasSubstr("of layer 4"));
  EXPECT_FALSE(Segment::open(file_, 5, {{1, 4}, 10, DType::bf16, int8}).ok());
  EXPECT_FALSE(Segment::open(file_, 5, {{1, 4}, 20, DType::f32, int8}).ok());
  EXPECT_FALSE(Segment::open(file_, 5, {{1, 4}, 20, DType::bf16, int8 == 0 ? 5u : 0u}).ok());
  EXPECT_FALSE(Segment::open(file_, 5, {{1, 4}, 20, DType::bf16, int8 + 1}).ok());
}

TEST_P(DamagedSegment, OfAMappedFileIsTheSame) {
  auto whole = MappedFile::open(file_);
  ASSERT_TRUE(whole.ok());
  const std::byte* const begin = whole->bytes().data();
  const auto segment = Segment::open(std::move(*whole), 5, case_.shape);
  ASSERT_TRUE(segment.ok()) << segment.error().message;
  EXPECT_EQ(segment->file().bytes().data(), begin);
  EXPECT_TRUE(segment->verify({}).ok());
  const auto cut = Segment::open(*MappedFile::open(folder_.put("b.seg", "MSA")), 5, case_.shape);
  ASSERT_FALSE(cut.ok());
  EXPECT_EQ(cut.error().code, Code::corrupt);
  EXPECT_THAT(cut.error().message, HasSubstr("b.seg: has 3 bytes"));
}

TEST_P(DamagedSegment, ANewerVersionIsUnsupported) {
  std::string changed = bytes_;
  changed[8] = 3;
  const auto segment = open_as(changed);
  ASSERT_FALSE(segment.ok());
  EXPECT_EQ(segment.error().code, Code::unsupported);
  EXPECT_THAT(segment.error().message, HasSubstr("newer msa"));
}

}  // namespace
}  // namespace msa
