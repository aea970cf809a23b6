// Banks whose files were changed, lost or swapped: every change is found, nothing crashes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <random>

#include "memory/archive.h"
#include "memory/test_bank.h"

namespace msa {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class DamagedBank : public testing::Test {
 protected:
  void SetUp() override { fill_bank(bank_, small_manifest(), {6, 3, 5}); }
  std::filesystem::path segment(int id) const {
    return bank_ / fmt::format("segments/{:08}.seg", id);
  }
  void put(const std::filesystem::path& file, std::string_view bytes) {
    folder_.put(std::filesystem::relative(file, folder_.path()).string(), bytes);
  }
  Error snapshot_error() {
    auto reader = BankReader::open(bank_);
    if (!reader) return reader.error();
    auto snapshot = (*reader)->snapshot();
    return snapshot.ok() ? Error{Code::internal, "no error"} : snapshot.error();
  }

  TestFolder folder_;
  std::filesystem::path bank_ = folder_ / "bank";
};

TEST_F(DamagedBank, VerifyFindsAFlippedByteAnywhereInASegment) {
  std::mt19937 random(17);
  for (int round = 0; round < 150; ++round) {
    const auto file = segment(1 + round % 3);
    const std::string good = TestFolder::get(file);
    std::string bytes = good;
    const size_t at = round % 5 == 0 ? random() % 256 : random() % bytes.size();
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8));
    put(file, bytes);
    const auto problems = verify_problems(bank_);
    EXPECT_THAT(problems, ElementsAre(HasSubstr(file.string()))) << at;
    put(file, good);
  }
  EXPECT_THAT(verify_problems(bank_), IsEmpty());
}

TEST_F(DamagedBank, VerifyGoesOnAfterTheFirstProblem) {
  std::filesystem::remove(segment(1));
  std::string bytes = TestFolder::get(segment(2));
  bytes[4096] ^= 1;
  bytes.back() ^= 1;
  put(segment(2), bytes);
  tamper(bank_ / "catalogue.sqlite",
         "UPDATE documents SET title = title || '?' WHERE number = 10;"
         "UPDATE documents SET chunks = -1 WHERE number = 12;"
         "INSERT INTO segments VALUES(9, '00000009.seg', 1, 1, 1)");
  put(bank_ / "segments/00000007.seg", "?");
  auto reader = BankReader::open(bank_);
  uint64_t done = 0, all = 0;
  const auto report = (*reader)->verify([&](uint64_t d, uint64_t a) {
    done = d;
    all = a;
  });
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(done, all);
  EXPECT_EQ(report->documents, 13u);  // the one with a bad row cannot be read
  EXPECT_THAT(
      report->problems,
      testing::UnorderedElementsAre(
          HasSubstr("00000001.seg: this segment of the bank is missing"),
          HasSubstr("00000002.seg: layer 1: the routing keys"),
          HasSubstr("00000002.seg: layer 5: the pooled keys and values"),
          HasSubstr("document 10 ('doc/10'): title or text"), HasSubstr("row 12: chunks is -1"),
          HasSubstr("00000009.seg: this segment of the bank is missing")));
}

TEST_F(DamagedBank, FilesThatNoRecordExplainAreReported) {
  put(bank_ / "segments/00000001.seg.bak", "?");
  tamper(bank_ / "catalogue.sqlite",
         "DELETE FROM documents WHERE segment = 2; DELETE FROM segments WHERE id = 2");
  EXPECT_THAT(verify_problems(bank_),
              ElementsAre(HasSubstr("the rows have the digest"),
                          HasSubstr("00000001.seg.bak: no record"), HasSubstr("00000002.seg: no")));
}

TEST_F(DamagedBank, AMissingSegmentIsNamed) {
  std::filesystem::remove(segment(2));
  const Error error = snapshot_error();
  EXPECT_EQ(error.code, Code::not_found);
  EXPECT_THAT(error.message, HasSubstr("00000002.seg: this segment of the bank is missing"));
}

TEST_F(DamagedBank, WhatACompactionMovesMeanwhileIsNotMissing) {
  std::filesystem::remove(segment(1));
  auto reader = BankReader::open(bank_);
  int calls = 0;
  const auto report = (*reader)->verify([&](uint64_t, uint64_t) {
    // The catalogue is read, and segment 1 found to be missing.
    if (++calls != 2) return;
    auto writer = BankWriter::open(bank_);
    ASSERT_TRUE(writer.ok()) << writer.error().message;
    ASSERT_EQ(*(*writer)->remove("doc/6"), BankWriter::Removed::document);
    const auto compacted = (*writer)->compact(1, {}, {});
    ASSERT_TRUE(compacted.ok()) << compacted.error().message;
    ASSERT_FALSE(std::filesystem::exists(segment(2)));
  });
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_EQ(report->segments, 2u);
  EXPECT_THAT(report->problems, ElementsAre(HasSubstr("00000001.seg: this segment of the bank")));
}

TEST_F(DamagedBank, APipeInPlaceOfASegmentIsNotWaitedFor) {
  std::filesystem::remove(segment(2));
  ASSERT_EQ(::mkfifo(segment(2).c_str(), 0600), 0);
  const Error error = snapshot_error();
  EXPECT_EQ(error.code, Code::invalid_argument);
  EXPECT_THAT(error.message, HasSubstr("00000002.seg: is a pipe"));
  EXPECT_THAT(verify_problems(bank_), ElementsAre(HasSubstr("00000002.seg: is a pipe")));
  const auto exported = export_bank(bank_, folder_ / "bank.tar", {}, {});
  ASSERT_FALSE(exported.ok());
  EXPECT_THAT(exported.error().message, HasSubstr("00000002.seg: is a pipe"));
}

// A bank lies in its folder: what a link in it points to is not its own.
TEST_F(DamagedBank, LinksOutOfTheBankAreRefused) {
  const auto elsewhere = folder_ / "elsewhere.seg";
  std::filesystem::rename(segment(2), elsewhere);
  std::filesystem::create_symlink(elsewhere, segment(2));
  const Error linked = snapshot_error();
  EXPECT_EQ(linked.code, Code::invalid_argument);
  EXPECT_THAT(linked.message, HasSubstr("00000002.seg: is a symbolic link"));

  std::filesystem::remove(segment(2));
  std::filesystem::rename(elsewhere, segment(2));
  std::filesystem::rename(bank_ / "segments", folder_ / "segments");
  std::filesystem::create_directory_symlink(folder_ / "segments", bank_ / "segments");
  EXPECT_THAT(snapshot_error().message, HasSubstr("segments: is a symbolic link"));
  for (const auto& writer :
       {BankWriter::open(bank_), BankWriter::open_or_create(bank_, small_manifest())}) {
    ASSERT_FALSE(writer.ok());
    EXPECT_THAT(writer.error().message, HasSubstr("segments: is a symbolic link"));
  }
}

TEST_F(DamagedBank, SwappedSegmentsAreFound) {
  std::filesystem::rename(segment(2), segment(9));
  std::filesystem::copy_file(segment(1), segment(2));
  EXPECT_THAT(snapshot_error().message, HasSubstr("is segment 1"));
  // A segment of the same number from another bank.
  const auto other = folder_ / "other";
  fill_bank(other, small_manifest(), {2, 7});
  std::filesystem::copy_file(other / "segments/00000002.seg", segment(2),
                             std::filesystem::copy_options::overwrite_existing);
  const Error error = snapshot_error();
  EXPECT_EQ(error.code, Code::mismatch);
  EXPECT_THAT(error.message, HasSubstr("the catalogue says"));
}

TEST_F(DamagedBank, ATamperedCatalogueIsAnError) {
  const auto file = bank_ / "catalogue.sqlite";
  const auto check = [&](const char* change, const char* back, std::string_view words) {
    tamper(file, change);
    EXPECT_THAT(snapshot_error().message, HasSubstr(std::string(words))) << change;
    EXPECT_THAT(verify_problems(bank_), Not(IsEmpty())) << change;
    tamper(file, back);
    EXPECT_EQ(snapshot_error().message, "no error");
  };
  check("UPDATE segments SET file = '../x' WHERE id = 1",
        "UPDATE segments SET file = '00000001.seg' WHERE id = 1", "plain file name");
  check("UPDATE documents SET first_chunk = -5 WHERE number = 0",
        "UPDATE documents SET first_chunk = 0 WHERE number = 0", "first_chunk is -5");
  check("UPDATE segments SET checksum = checksum + 1 WHERE id = 1",
        "UPDATE segments SET checksum = checksum - 1 WHERE id = 1", "00000001.seg: has");
  check("UPDATE segments SET chunks = chunks + 1 WHERE id = 1",
        "UPDATE segments SET chunks = chunks - 1 WHERE id = 1", "00000001.seg: has");
  check("UPDATE documents SET segment = 8 WHERE number = 0",
        "UPDATE documents SET segment = 1 WHERE number = 0", "segment 8 is not recorded");
  check("UPDATE meta SET value = replace(value, 'BF16', 'F99') WHERE key = 'manifest'",
        "UPDATE meta SET value = replace(value, 'F99', 'BF16') WHERE key = 'manifest'",
        "\"dtype\"");
  check("UPDATE meta SET value = replace(value, '12', '24') WHERE key = 'manifest'",
        "UPDATE meta SET value = replace(value, '24', '12') WHERE key = 'manifest'",
        "has rows of 24 values, the bank's have");
}

}  // namespace
}  // namespace msa
