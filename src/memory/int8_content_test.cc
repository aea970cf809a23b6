// Banks whose pooled keys and values are int8: everything that happens to a bank happens to them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "memory/bank_files.h"
#include "memory/catalogue.h"
#include "memory/router.h"
#include "memory/test_bank.h"
#include "memory/test_repair.h"

namespace msa {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::IsEmpty;

class Int8Bank : public testing::Test {
 protected:
  static BankManifest int8(DType dtype = DType::bf16) {
    return small_manifest(dtype, ContentFormat::int8);
  }
  // The format is read from the file, not from what the library says.
  static uint32_t version_of(const fs::path& segment) {
    uint32_t version = 0;
    const std::string bytes = TestFolder::get(segment);
    if (bytes.size() >= 12) std::memcpy(&version, bytes.data() + 8, sizeof(version));
    return version;
  }
  fs::path segment(int id) const { return bank_ / fmt::format("segments/{:08}.seg", id); }

  TestFolder folder_;
  fs::path bank_ = folder_ / "bank";
};

TEST_F(Int8Bank, HoldsWhatItWasGivenToHalfAScale) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    fs::remove_all(bank_);
    fill_bank(bank_, int8(dtype), {6, 1, 5});
    expect_bank(bank_, 12);
    EXPECT_THAT(verify_problems(bank_), IsEmpty());
    EXPECT_EQ(version_of(segment(3)), 2u);
    // What a program that knows version 3 only looks at before anything else.
    const auto catalogue = Catalogue::open(bank_ / kCatalogueFile, Catalogue::Access::read);
    ASSERT_TRUE(catalogue.ok());
    EXPECT_EQ(TestFolder::get(bank_ / kCatalogueFile).substr(60, 4), std::string("\0\0\0\4", 4));
  }
  fs::remove_all(bank_);
  fill_bank(bank_, small_manifest(), {2});
  EXPECT_EQ(version_of(segment(1)), 1u);
  EXPECT_EQ(TestFolder::get(bank_ / kCatalogueFile).substr(60, 4), std::string("\0\0\0\3", 4));
}

// Manifest, wanted by whoever opens it next, says otherwise: the bank stays what it is.
TEST_F(Int8Bank, KeepsItsFormatWhoeverWrites) {
  fill_bank(bank_, int8(), {4, 3});
  {
    auto writer = BankWriter::open_or_create(bank_, small_manifest());
    ASSERT_TRUE(writer.ok()) << writer.error().message;
    ASSERT_TRUE(add_documents(**writer, small_manifest(), 2).ok());
    ASSERT_TRUE((*writer)->commit().ok());
  }
  EXPECT_EQ(version_of(segment(3)), 2u);
  expect_bank(bank_, 9);
  {
    auto writer = BankWriter::open(bank_);
    ASSERT_TRUE(writer.ok()) << writer.error().message;
    const auto report = (*writer)->compact(1u << 30, {}, {});
    ASSERT_TRUE(report.ok()) << report.error().message;
    EXPECT_EQ(report->segments_after, 1u);
  }
  EXPECT_EQ(version_of(segment(4)), 2u);
  expect_bank(bank_, 9);
  EXPECT_THAT(verify_problems(bank_), IsEmpty());

  fs::remove_all(bank_);
  fill_bank(bank_, small_manifest(), {4});
  fill_bank(bank_, int8(), {3});
  EXPECT_EQ(version_of(segment(2)), 1u);
  expect_bank(bank_, 7);
}

TEST_F(Int8Bank, IsRepairedAsInt8) {
  fill_bank(bank_, int8(), {6, 3, 5});
  const std::string sound = TestFolder::get(segment(2));
  for (const uint64_t at : {uint64_t{70}, uint64_t{4096}, uint64_t{sound.size() - 1}}) {
    fs::remove_all(bank_);
    fill_bank(bank_, int8(), {6, 3, 5});
    flip_bit(segment(2), at);
    EXPECT_EQ(verify_problems(bank_).size(), 1u) << at;
    auto repair = BankRepair::open(bank_, Catalogue::Access::write);
    ASSERT_TRUE(repair.ok()) << repair.error().message;
    const auto damage = (*repair)->inspect({});
    ASSERT_TRUE(damage.ok()) << damage.error().message;
    EXPECT_EQ(damage->lost.size(), 3u);
    const auto outcome = (*repair)->run(test_encoder(), false, {}, {});
    ASSERT_TRUE(outcome.ok()) << outcome.error().message;
    repair->reset();
    EXPECT_THAT(verify_problems(bank_), IsEmpty());
    EXPECT_EQ(version_of(segment(4)), 2u);
    expect_bank(bank_, 14);
  }
}

TEST_F(Int8Bank, VerifyFindsEveryFlippedBitOfASegment) {
  fill_bank(bank_, int8(), {4});
  const uint64_t size = fs::file_size(segment(1));
  std::mt19937 random(31);
  for (int round = 0; round < 200; ++round) {
    const uint64_t at = round < 64 ? static_cast<uint64_t>(round) : random() % size;
    const unsigned bit = random() % 8;
    flip_bit(segment(1), at, bit);
    EXPECT_EQ(verify_problems(bank_).size(), 1u) << "bit " << bit << " of byte " << at;
    flip_bit(segment(1), at, bit);
  }
  EXPECT_THAT(verify_problems(bank_), IsEmpty());
}

TEST_F(Int8Bank, SegmentsOfTheOtherFormatAreRefused) {
  const auto error_of = [&](const char* change) {
    tamper(bank_ / kCatalogueFile, change);
    auto reader = BankReader::open(bank_);
    if (!reader) return reader.error().message;
    const auto snapshot = (*reader)->snapshot();
    return snapshot.ok() ? std::string("no error") : snapshot.error().message;
  };
  fill_bank(bank_, int8(), {3});
  EXPECT_THAT(error_of("UPDATE meta SET value = replace(value, '\"content\":\"int8\",', '') WHERE "
                       "key = 'manifest'"),
              HasSubstr("is of version 2, the bank's are of version 1"));
  fs::remove_all(bank_);
  fill_bank(bank_, small_manifest(), {3});
  EXPECT_THAT(error_of("UPDATE meta SET value = replace(value, '{', '{\"content\":\"int8\",') "
                       "WHERE key = 'manifest'"),
              HasSubstr("is of version 1, the bank's are of version 2"));
}

// What cannot be held is refused before anything is taken, and the bank goes on.
TEST_F(Int8Bank, ContentThatIsNotFiniteIsAnError) {
  const BankManifest manifest = int8();
  fill_bank(bank_, manifest, {2});
  auto writer = BankWriter::open(bank_);
  ASSERT_TRUE(writer.ok()) << writer.error().message;
  for (const float bad :
       {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    EncodedBatch batch = make_batch(manifest, 2, 3);
    // The second chunk of the second document, the last value of the last layer's.
    const size_t row = batch.chunks[0] + 1, width = batch.kv_width;
    ASSERT_GT(batch.chunks[1], 1u);
    put_value(batch.dtype, batch.layers.back().content.data(), (row + 1) * 2 * width - 1, bad);
    const auto added =
        (*writer)->add({make_document(2), make_document(3), make_document(4)}, std::move(batch));
    ASSERT_FALSE(added.ok());
    EXPECT_EQ(added.error().code, Code::invalid_argument);
    EXPECT_THAT(added.error().message,
                HasSubstr("document 'doc/3': layer 5, chunk 1: the pooled key or value"));
    EXPECT_EQ((*writer)->pending_bytes(), 0u);
  }
  ASSERT_TRUE(add_documents(**writer, manifest, 3).ok());
  ASSERT_TRUE((*writer)->commit().ok());
  writer->reset();
  expect_bank(bank_, 5);

  // In full, whatever the model computes is stored.
  const fs::path full = folder_ / "full";
  auto other = BankWriter::open_or_create(full, small_manifest());
  EncodedBatch batch = make_batch(small_manifest(), 0, 1);
  put_value(batch.dtype, batch.layers[0].content.data(), 0, std::numeric_limits<float>::infinity());
  EXPECT_TRUE((*other)->add({make_document(0)}, std::move(batch)).ok());
}

// The router hands over what the integers stand for, in the type that it hands over otherwise.
TEST_F(Int8Bank, WinnersComeAsTheValuesThatTheIntegersStandFor) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const BankManifest manifest = int8(dtype);
    fs::remove_all(bank_);
    fill_bank(bank_, manifest, {7, 4});
    auto reader = BankReader::open(bank_);
    ASSERT_TRUE(reader.ok()) << reader.error().message;
    const auto snapshot = (*reader)->snapshot();
    ASSERT_TRUE(snapshot.ok()) << snapshot.error().message;
    const auto backend = make_reference_backend();
    RouteRule rule;
    rule.query_heads = rule.kv_heads = manifest.kv_heads;
    rule.head_dim = manifest.head_dim;
    rule.cosine = false;
    Router router(*backend, *snapshot, rule, 3);
    const size_t width = manifest.kv_heads * manifest.head_dim;
    std::mt19937 random(5);
    for (size_t l = 0; l < manifest.router_layers.size(); ++l) {
      std::vector<float> query(2 * width);
      for (float& q : query) q = static_cast<float>(random() % 9) - 4;
      const auto blocks =
          router.select(manifest.router_layers[l], MatView<const float>(query.data(), 2, width));
      ASSERT_TRUE(blocks.ok()) << blocks.error().message;
      ASSERT_EQ(blocks->size(), 3u);
      std::set<uint32_t> winners;
      for (const RouteHit& hit : router.choices().back().hits) winners.insert(hit.number);
      size_t b = 0;
      for (const uint32_t number : winners) {  // ascending, as the blocks are
        const ContextBlock& block = (*blocks)[b++];
        ASSERT_EQ(block.keys.rows, chunks_of(number));
        ASSERT_EQ(block.values.rows, chunks_of(number));
        EXPECT_EQ(block.keys.dtype, dtype);
        for (uint32_t c = 0; c < chunks_of(number); ++c)
          for (size_t i = 0; i < width; ++i) {
            // Half a scale of at most one, and of bf16 half of the last of eight bits.
            const float tolerance = 0.5f + (dtype == DType::bf16 ? 0.25f : 0.0f) + 1e-3f;
            ASSERT_NEAR(get_value(block.keys, c, i), value_of(number, l, 1, c, i), tolerance);
            ASSERT_NEAR(get_value(block.values, c, i), value_of(number, l, 2, c, i), tolerance);
          }
      }
    }
  }
}

// The aim for banks is less than three in a hundred over the formula: 3*G*D values for each chunk
// and router layer, of the bytes that each takes. Here with the published model's heads.
TEST_F(Int8Bank, FilesAreLittleLargerThanTheFormula) {
  BankManifest manifest = int8();
  manifest.kv_heads = 8;
  manifest.head_dim = 128;
  constexpr uint32_t kDocuments = 300;
  fill_bank(bank_, manifest, {kDocuments});
  uint64_t chunks = 0;
  for (uint32_t n = 0; n < kDocuments; ++n) chunks += chunks_of(n);
  const double formula = static_cast<double>(chunks) * 3 * 8 * 128 * (2 + 1 + 1);
  const auto bytes = static_cast<double>(fs::file_size(segment(1)));
  EXPECT_GT(bytes, formula);
  EXPECT_LT(bytes, 1.03 * formula);
}

}  // namespace
}  // namespace msa
