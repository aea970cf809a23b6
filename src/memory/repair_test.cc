// Damaged banks made whole again: what can be saved is saved, under its old number and names.
#include "memory/repair.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <map>

#include "memory/test_bank.h"
#include "memory/test_repair.h"

namespace msa {
namespace {

using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class Repair : public testing::Test {
 protected:
  void SetUp() override { fill_bank(bank_, small_manifest(), {6, 3, 5}); }

  std::filesystem::path segment(int id) const {
    return bank_ / fmt::format("segments/{:08}.seg", id);
  }
  std::filesystem::path catalogue() const { return bank_ / "catalogue.sqlite"; }

  static std::vector<int64_t> numbers(const std::vector<BankDamage::Document>& documents) {
    std::vector<int64_t> all;
    for (const auto& d : documents) all.push_back(d.number);
    return all;
  }
  BankDamage inspect() {
    auto repair = BankRepair::open(bank_, Catalogue::Access::read);
    EXPECT_TRUE(repair.ok()) << repair.error().message;
    if (!repair) return {};
    auto damage = (*repair)->inspect({});
    EXPECT_TRUE(damage.ok()) << damage.error().message;
    return damage ? *damage : BankDamage{};
  }
  Result<RepairOutcome> repair(const RepairEncoder& encoder, bool drop_hopeless = false,
                               std::stop_token stop = {}) {
    MSA_ASSIGN(const auto repair, BankRepair::open(bank_, Catalogue::Access::write));
    MSA_ASSIGN(damage_, repair->inspect({}));
    return repair->run(encoder, drop_hopeless, {}, stop);
  }
  // Repairs and expects that these documents were encoded again, and all 14 are as they were.
  void expect_mended(const std::vector<int64_t>& lost) {
    uint64_t encoded = 0;
    const auto outcome = repair(test_encoder(DType::bf16, &encoded));
    ASSERT_TRUE(outcome.ok()) << outcome.error().message;
    EXPECT_EQ(numbers(damage_.lost), lost);
    EXPECT_EQ(outcome->documents, lost.size());
    EXPECT_EQ(encoded, lost.size());
    EXPECT_THAT(verify_problems(bank_), IsEmpty());
    expect_bank(bank_, 14);
    EXPECT_TRUE(inspect().none());
  }

  TestFolder folder_;
  std::filesystem::path bank_ = folder_ / "bank";
  BankDamage damage_;
};

const std::vector<int64_t> kOfSegment1 = {0, 1, 2, 3, 4, 5}, kOfSegment2 = {6, 7, 8};

TEST_F(Repair, LeavesASoundBankAsItIs) {
  const auto bytes_of = [&] {
    std::map<std::string, std::string> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(bank_))
      // Readers make SQLite's log and its index.
      if (entry.is_regular_file() &&
          entry.path().filename().string().find('-') == std::string::npos)
        files[entry.path()] = TestFolder::get(entry.path());
    return files;
  };
  const auto before = bytes_of();
  EXPECT_TRUE(inspect().none());
  EXPECT_TRUE(bytes_of() == before);
  expect_mended({});
}

TEST_F(Repair, OfEveryKindOfDamageToASegment) {
  const auto size = std::filesystem::file_size(segment(2));
  const std::map<std::string, std::function<void()>> damages = {
      {"a missing file", [&] { std::filesystem::remove(segment(2)); }},
      {"an empty file", [&] { std::filesystem::resize_file(segment(2), 0); }},
      {"a shorter file", [&] { std::filesystem::resize_file(segment(2), size - 1); }},
      {"a longer file", [&] { std::filesystem::resize_file(segment(2), size + 4096); }},
      {"a flipped bit of the header", [&] { flip_bit(segment(2), 17); }},
      {"a flipped bit of the version", [&] { flip_bit(segment(2), 9); }},
      {"a flipped bit of the layer table", [&] { flip_bit(segment(2), 70); }},
      {"a flipped bit between the arrays", [&] { flip_bit(segment(2), 1000); }},
      {"a flipped bit of the keys", [&] { flip_bit(segment(2), 4096 + 3); }},
      {"a flipped bit of the content", [&] { flip_bit(segment(2), size - 1); }},
      {"another segment in its place",
       [&] {
         std::filesystem::copy_file(segment(1), segment(2),
                                    std::filesystem::copy_options::overwrite_existing);
       }},
      {"a pipe in its place",
       [&] {
         std::filesystem::remove(segment(2));
         ASSERT_EQ(::mkfifo(segment(2).c_str(), 0600), 0);
       }},
      {"a link in its place",
       [&] {
         std::filesystem::rename(segment(2), folder_ / "elsewhere.seg");
         std::filesystem::create_symlink(folder_ / "elsewhere.seg", segment(2));
       }},
  };
  for (const auto& [name, damage] : damages) {
    SCOPED_TRACE(name);
    std::filesystem::remove_all(bank_);
    SetUp();
    const std::string other = TestFolder::get(segment(1));
    damage();
    EXPECT_THAT(inspect().segments, ElementsAre("00000002.seg"));
    expect_mended(kOfSegment2);
    EXPECT_EQ(TestFolder::get(segment(1)), other);
    EXPECT_FALSE(std::filesystem::exists(segment(2)));  // ids are not used again
    EXPECT_TRUE(std::filesystem::exists(segment(4)));
  }
}

// What cannot be read may be sound: nothing is known of it.
TEST_F(Repair, ASegmentThatMustNotBeReadIsNotDamaged) {
  ::chmod(folder_.path().c_str(), 0755);
  ::chmod(segment(2).c_str(), 0);
  // Of a process of its own, as an ordinary user: permissions do not bind root.
  constexpr int kNotAllowed = 77;
  const pid_t child = ::fork();
  if (child == 0) {
    constexpr uid_t kNobody = 65534;
    if (::geteuid() == 0 && ::setuid(kNobody) != 0) ::_exit(kNotAllowed);
    const auto repair = BankRepair::open(bank_, Catalogue::Access::read);
    if (!repair) ::_exit(1);
    const auto damage = (*repair)->inspect({});
    const std::string words = "00000002.seg: cannot open";
    if (damage || damage.error().code != Code::permission) ::_exit(2);
    if (damage.error().message.find(words) == std::string::npos) ::_exit(3);
    // To verify is to list all that is not as it should be.
    const auto problems = verify_problems(bank_);
    ::_exit(problems.size() == 1 && problems[0].find(words) != std::string::npos ? 0 : 4);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ::chmod(segment(2).c_str(), 0644);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == kNotAllowed) GTEST_SKIP() << "cannot become another user";
  EXPECT_EQ(WEXITSTATUS(status), 0);
  expect_mended({});
}

TEST_F(Repair, KeepsFurtherNames) {
  {
    auto writer = BankWriter::open(bank_);
    NewDocument twin = make_document(7);
    twin.id = "twin";
    ASSERT_TRUE((*writer)->add_alias(twin, 7).ok());
    ASSERT_TRUE((*writer)->commit().ok());
  }
  flip_bit(segment(2), 5000);
  expect_mended(kOfSegment2);
  auto reader = BankReader::open(bank_);
  EXPECT_EQ((*reader)->catalogue().find_id("twin").value()->number, 7u);
}

TEST_F(Repair, OfSeveralSegmentsAndRemovedDocuments) {
  {
    auto writer = BankWriter::open(bank_);
    for (const char* id : {"doc/1", "doc/9", "doc/10", "doc/11", "doc/12", "doc/13"})
      ASSERT_EQ(*(*writer)->remove(id), BankWriter::Removed::document);
    ASSERT_TRUE((*writer)->commit().ok());
  }
  std::filesystem::remove(segment(1));
  flip_bit(segment(3), 4200);  // nothing lives there any more
  const auto outcome = repair(test_encoder());
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  EXPECT_EQ(outcome->documents, 5u);
  EXPECT_THAT(verify_problems(bank_), IsEmpty());
  auto reader = BankReader::open(bank_);
  EXPECT_EQ((*(*reader)->snapshot())->documents, 8u);
  auto writer = BankWriter::open(bank_);
  EXPECT_EQ((*writer)->next_number(), 14u);
}

TEST_F(Repair, OfACatalogueThatDisagreesWithItsSegments) {
  const std::map<std::string, std::vector<int64_t>> changes = {
      {"UPDATE segments SET checksum = checksum + 1 WHERE id = 1", kOfSegment1},
      {"UPDATE segments SET chunks = chunks + 1 WHERE id = 1", kOfSegment1},
      {"UPDATE segments SET file = '../x' WHERE id = 1", kOfSegment1},
      {"UPDATE segments SET chunks = -1 WHERE id = 1", kOfSegment1},
      {"DELETE FROM segments WHERE id = 1", kOfSegment1},
      {"UPDATE documents SET first_chunk = first_chunk + 1 WHERE number = 2", kOfSegment1},
      {"UPDATE documents SET first_chunk = -5 WHERE number = 2", kOfSegment1},
      {"UPDATE documents SET chunks = 1000 WHERE number = 5", kOfSegment1},
      {"UPDATE documents SET chunks = 9223372036854775807 WHERE number = 5", kOfSegment1},
      {"UPDATE documents SET segment = 77 WHERE number = 4", {4}},
      {"UPDATE documents SET text_bytes = 3, segment = 77 WHERE number = 4", {4}},
      {"UPDATE meta SET value = 3 WHERE key = 'next_number'", {}},
      {"UPDATE meta SET value = 1 WHERE key = 'next_segment'", {}},
      {"INSERT INTO aliases VALUES(1, 'doc/0', 1, '', 0, 0)", {}},
      {"INSERT INTO aliases VALUES(1, 'x', 99, '', 0, 0)", {}},
      {"UPDATE meta SET value = value + 1 WHERE key = 'digest'", {}},
  };
  for (const auto& [sql, lost] : changes) {
    SCOPED_TRACE(sql);
    std::filesystem::remove_all(bank_);
    SetUp();
    tamper(catalogue(), sql);
    EXPECT_FALSE(inspect().none());
    expect_mended(lost);
    auto writer = BankWriter::open(bank_);
    ASSERT_TRUE(writer.ok()) << writer.error().message;
    EXPECT_EQ((*writer)->next_number(), 14u);
  }
}

TEST_F(Repair, OfABrokenIndex) {
  // A row is removed while the index is out of the schema: its entry stays, as after damage.
  const auto file = catalogue();
  tamper(file,
         "PRAGMA writable_schema = ON;"
         "CREATE TABLE copy AS SELECT * FROM sqlite_schema WHERE name = 'documents_hash';"
         "DELETE FROM sqlite_schema WHERE name = 'documents_hash'");
  tamper(file, "DELETE FROM documents WHERE number = 13");
  tamper(file, "PRAGMA writable_schema = ON; INSERT INTO sqlite_schema SELECT * FROM copy");
  tamper(file, "DROP TABLE copy");
  EXPECT_FALSE(verify_problems(bank_).empty());
  EXPECT_FALSE(inspect().none());
  const auto outcome = repair(test_encoder());
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  EXPECT_THAT(verify_problems(bank_), IsEmpty());
  auto reader = BankReader::open(bank_);
  EXPECT_EQ((*(*reader)->snapshot())->documents, 13u);
}

TEST_F(Repair, DocumentsWithoutTextsAreBeyondIt) {
  flip_bit(segment(2), 5000);
  tamper(catalogue(), "UPDATE documents SET text = 'x' || substr(text, 2) WHERE number IN (1, 7)");
  const std::string before = TestFolder::get(segment(2));
  const auto refused = repair(test_encoder());
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::corrupt);
  EXPECT_THAT(refused.error().message, HasSubstr("document 1 ('doc/1') and 1 more"));
  EXPECT_EQ(TestFolder::get(segment(2)), before);
  EXPECT_EQ(numbers(inspect().hopeless), (std::vector<int64_t>{1, 7}));

  const auto outcome = repair(test_encoder(), /*drop_hopeless=*/true);
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  EXPECT_EQ(outcome->dropped, 2u);
  EXPECT_EQ(outcome->documents, 2u);
  EXPECT_THAT(verify_problems(bank_), IsEmpty());
  auto reader = BankReader::open(bank_);
  EXPECT_EQ((*(*reader)->snapshot())->documents, 12u);
  EXPECT_FALSE((*reader)->catalogue().find(7)->has_value());
}

TEST_F(Repair, StoppedItGoesOnLater) {
  flip_bit(segment(1), 5000);
  flip_bit(segment(3), 5000);
  std::stop_source stop;
  RepairEncoder encoder = test_encoder();
  const auto encode = encoder.encode;
  uint64_t encoded = 0;
  encoder.encode = [&](auto documents) {
    encoded += documents.size();
    if (encoded >= 3) stop.request_stop();
    return encode(documents);
  };
  const auto stopped = repair(encoder, false, stop.get_token());
  ASSERT_TRUE(stopped.ok()) << stopped.error().message;
  EXPECT_TRUE(stopped->stopped);
  EXPECT_EQ(stopped->documents, encoded);
  EXPECT_LT(encoded, 11u);
  EXPECT_GT(encoded, 0u);
  EXPECT_THAT(verify_problems(bank_), Each(Not(HasSubstr("digest"))));
  const auto rest = repair(test_encoder());
  ASSERT_TRUE(rest.ok()) << rest.error().message;
  EXPECT_EQ(rest->documents + encoded, 11u);
  EXPECT_THAT(verify_problems(bank_), IsEmpty());
  expect_bank(bank_, 14);
}

// Stopped between two segments, of which the first took documents, names and its record with it.
TEST_F(Repair, EachStepLeavesTheDigestRight) {
  {
    auto writer = BankWriter::open(bank_);
    NewDocument twin = make_document(1);
    twin.id = "twin";
    ASSERT_TRUE((*writer)->add_alias(twin, 1).ok());
    ASSERT_TRUE((*writer)->commit().ok());
  }
  flip_bit(segment(1), 5000);
  flip_bit(segment(3), 5000);
  tamper(catalogue(), "UPDATE documents SET text = 'x' || substr(text, 2) WHERE number = 1");
  std::stop_source stop;
  RepairEncoder encoder = test_encoder();
  const auto encode = encoder.encode;
  encoder.encode = [&](auto documents) {
    // The last of segment 1.
    if (documents.back().front() == 5) stop.request_stop();
    return encode(documents);
  };
  const auto stopped = repair(encoder, /*drop_hopeless=*/true, stop.get_token());
  ASSERT_TRUE(stopped.ok()) << stopped.error().message;
  EXPECT_TRUE(stopped->stopped);
  EXPECT_EQ(stopped->documents, 5u);
  EXPECT_EQ(stopped->dropped, 1u);
  EXPECT_THAT(verify_problems(bank_), ElementsAre(HasSubstr("00000003.seg")));
}

// A digest that was wrong before is not made right by the first step, but at the end, as all else
// that is wrong is right then.
TEST_F(Repair, AWrongDigestShowsUntilAllIsDone) {
  flip_bit(segment(1), 5000);
  tamper(catalogue(), "UPDATE meta SET value = value + 1 WHERE key = 'digest'");
  std::stop_source stop;
  RepairEncoder encoder = test_encoder();
  const auto encode = encoder.encode;
  encoder.encode = [&](auto documents) {
    stop.request_stop();
    return encode(documents);
  };
  const auto stopped = repair(encoder, false, stop.get_token());
  ASSERT_TRUE(stopped.ok()) << stopped.error().message;
  EXPECT_TRUE(stopped->stopped);
  EXPECT_GT(stopped->documents, 0u);
  EXPECT_THAT(verify_problems(bank_), Contains(HasSubstr("the rows have the digest")));
  const auto rest = repair(test_encoder());
  ASSERT_TRUE(rest.ok()) << rest.error().message;
  EXPECT_THAT(verify_problems(bank_), IsEmpty());
  expect_bank(bank_, 14);
}

TEST_F(Repair, AFailureLeavesTheRestToTheNextOne) {
  flip_bit(segment(1), 5000);
  RepairEncoder failing = test_encoder();
  failing.encode = [](auto) -> Result<EncodedBatch> {
    return Error{Code::no_space, "no memory for this batch"};
  };
  const auto failed = repair(failing);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().message, "no memory for this batch");
  expect_mended(kOfSegment1);
}

TEST_F(Repair, RemovesSegmentFilesThatBelongToNothing) {
  folder_.put("bank/segments/00000002.seg.tmp-1-2", "half");
  folder_.put("bank/segments/00000009.seg", "an orphan");
  folder_.put("bank/segments/notes.txt", "somebody's");
  EXPECT_THAT(inspect().orphans, ElementsAre("00000002.seg.tmp-1-2", "00000009.seg"));
  const auto outcome = repair(test_encoder());
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  EXPECT_FALSE(std::filesystem::exists(bank_ / "segments/00000009.seg"));
  // What is not ours stays.
  EXPECT_THAT(verify_problems(bank_), ElementsAre(HasSubstr("notes.txt: no record")));
}

TEST_F(Repair, OneAtATime) {
  const auto writer = BankWriter::open(bank_);
  const auto refused = BankRepair::open(bank_, Catalogue::Access::write);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::busy);
  EXPECT_TRUE(BankRepair::open(bank_, Catalogue::Access::read).ok());
  EXPECT_EQ(BankRepair::open(folder_ / "none", Catalogue::Access::read).error().code,
            Code::not_found);
}

}  // namespace
}  // namespace msa
