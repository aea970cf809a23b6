#include "memory/bank.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <random>
#include <stop_token>
#include <thread>

#include "memory/test_bank.h"
#include "memory/test_repair.h"

namespace msa {
namespace {

using testing::HasSubstr;
using Presence = BankWriter::Presence;

std::unique_ptr<BankWriter> open_writer(const std::filesystem::path& folder,
                                        const BankManifest& manifest = small_manifest()) {
  auto writer = BankWriter::open_or_create(folder, manifest);
  EXPECT_TRUE(writer.ok()) << writer.error().message;
  return writer.ok() ? std::move(writer).value() : nullptr;
}

class BankOfDType : public testing::TestWithParam<DType> {};

TEST_P(BankOfDType, RoundTrip) {
  const TestFolder folder;
  const auto bank = folder / "deep/new/bank";
  const BankManifest manifest = small_manifest(GetParam());
  std::mt19937 random(9);
  uint32_t documents = 0;
  for (int session = 0; session < 3; ++session) {
    auto writer = open_writer(bank, manifest);
    EXPECT_EQ(writer->next_number(), documents);
    for (int segment = 0; segment < 3; ++segment) {
      EXPECT_EQ(writer->pending_bytes(), 0u);
      for (int batch = 0; batch < 4; ++batch) {
        const uint32_t count = random() % 30;
        ASSERT_TRUE(add_documents(*writer, manifest, count).ok());
        documents += count;
        EXPECT_EQ(writer->next_number(), documents);
      }
      EXPECT_GT(writer->pending_bytes(), 0u);
      const auto committed = writer->commit();
      ASSERT_TRUE(committed.ok()) << committed.error().message;
      ASSERT_TRUE(writer->commit().ok());  // nothing pending: nothing happens
    }
    writer.reset();
    expect_bank(bank, documents);
  }
  auto reader = BankReader::open(bank);
  EXPECT_EQ((*reader)->catalogue().segments()->size(), 9u);
  EXPECT_EQ((*reader)->manifest().dtype, GetParam());

  uint64_t last_done = 0, last_all = 0;
  const auto report = (*reader)->verify([&](uint64_t done, uint64_t all) {
    EXPECT_GE(done, last_done);
    EXPECT_LE(done, all);
    last_done = done;
    last_all = all;
  });
  ASSERT_TRUE(report.ok());
  EXPECT_THAT(report->problems, testing::IsEmpty());
  EXPECT_EQ(report->segments, 9u);
  EXPECT_EQ(report->documents, documents);
  EXPECT_EQ(last_done, last_all);
  EXPECT_EQ(report->bytes, last_all);
  EXPECT_GE(*(*reader)->disk_bytes(), report->bytes);
}
INSTANTIATE_TEST_SUITE_P(Both, BankOfDType, testing::Values(DType::f32, DType::bf16),
                         [](const auto& dtype) { return std::string(name_of(dtype.param)); });

TEST(Bank, AnEmptyBankCanBeRead) {
  const TestFolder folder;
  open_writer(folder / "bank").reset();
  expect_bank(folder / "bank", 0);
  EXPECT_THAT(verify_problems(folder / "bank"), testing::IsEmpty());
}

TEST(Bank, NumbersAreNeverGivenOutTwice) {
  const TestFolder folder;
  const auto bank = folder / "bank";
  fill_bank(bank, small_manifest(), {5, 5});
  // As a removal will leave it.
  {
    auto writer = open_writer(bank);
    for (const char* id : {"doc/8", "doc/9"}) ASSERT_TRUE(writer->remove(id).ok());
    ASSERT_TRUE(writer->commit().ok());
  }
  EXPECT_EQ(open_writer(bank)->next_number(), 10u);
  const auto snapshot = (*BankReader::open(bank))->snapshot();
  ASSERT_TRUE(snapshot.ok());
  EXPECT_EQ((*snapshot)->documents, 8u);
  EXPECT_THAT(verify_problems(bank), testing::IsEmpty());
}

TEST(Bank, NumbersRunOut) {
  const TestFolder folder;
  const auto bank = folder / "bank";
  const BankManifest manifest = small_manifest();
  open_writer(bank).reset();
  tamper(bank / "catalogue.sqlite", "UPDATE meta SET value = 4294967293 WHERE key = 'next_number'");
  auto writer = open_writer(bank);
  const auto three = add_documents(*writer, manifest, 3);
  ASSERT_FALSE(three.ok());
  EXPECT_THAT(three.error().message, HasSubstr("start a new bank"));
  ASSERT_TRUE(add_documents(*writer, manifest, 2).ok());
  EXPECT_FALSE(add_documents(*writer, manifest, 1).ok());
  ASSERT_TRUE(writer->commit().ok());
  writer.reset();
  EXPECT_EQ(open_writer(bank)->next_number(), 4294967295u);
  EXPECT_TRUE((*BankReader::open(bank))->snapshot().ok());
}

TEST(Bank, KnowsWhatIsThereAlready) {
  const TestFolder folder;
  const BankManifest manifest = small_manifest();
  fill_bank(folder / "bank", manifest, {3});
  auto writer = open_writer(folder / "bank");
  ASSERT_TRUE(add_documents(*writer, manifest, 2).ok());
  for (const uint32_t number : {0, 2, 3, 4}) {  // committed and pending
    const NewDocument d = make_document(number);
    EXPECT_EQ(*writer->presence(d.id, d.title, d.text), Presence::same);
    EXPECT_EQ(*writer->presence(d.id, d.title, d.text + "!"), Presence::different);
    EXPECT_EQ(*writer->presence(d.id, d.title + "!", d.text), Presence::different);
    EXPECT_EQ(*writer->presence(d.id + "!", d.title, d.text), Presence::absent);
  }
  EXPECT_EQ(*writer->presence("doc/5", "", ""), Presence::absent);
}

TEST(Bank, ASecondWriterIsTurnedAway) {
  const TestFolder folder;
  const auto bank = folder / "bank";
  auto writer = open_writer(bank);
  const auto second = BankWriter::open_or_create(bank, small_manifest());
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, Code::busy);
  EXPECT_THAT(second.error().message, HasSubstr("someone else is writing to this bank"));

  const auto try_in_child = [&] {
    const pid_t child = fork();
    if (child == 0) {
      const auto other = BankWriter::open_or_create(bank, small_manifest());
      _exit(other.ok() ? 0 : other.error().code == Code::busy ? 7 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  };
  EXPECT_EQ(try_in_child(), 7);
  EXPECT_TRUE(BankReader::open(bank).ok());
  writer.reset();
  EXPECT_EQ(try_in_child(), 0);
}

TEST(Bank, SnapshotsStayAsTheyWere) {
  const TestFolder folder;
  const auto bank = folder / "bank";
  const BankManifest manifest = small_manifest();
  fill_bank(bank, manifest, {4});
  auto reader = std::move(BankReader::open(bank)).value();
  const auto before = *reader->snapshot();
  EXPECT_EQ(*reader->snapshot(), before);  // nothing changed: the same object

  auto writer = open_writer(bank);
  ASSERT_TRUE(add_documents(*writer, manifest, 3).ok());
  EXPECT_EQ(*reader->snapshot(), before);  // pending documents are not there
  ASSERT_TRUE(writer->commit().ok());
  const auto after = *reader->snapshot();
  EXPECT_EQ(before->documents, 4u);
  EXPECT_EQ(before->segments.size(), 1u);
  EXPECT_EQ(after->documents, 7u);
  ASSERT_EQ(after->segments.size(), 2u);
  // What was mapped stays mapped at its place.
  EXPECT_EQ(after->segments[0].layers[0].keys.data, before->segments[0].layers[0].keys.data);
  expect_bank(*reader, 7);
  // A snapshot outlives its reader and the files' names.
  reader.reset();
  writer.reset();
  std::filesystem::remove_all(bank);
  EXPECT_EQ(get_value(before->segments[0].layers[2].content, 0, 0), value_of(0, 2, 1, 0, 0));
}

TEST(Bank, ReadersSeeWholeCommitsWhileAWriterWorks) {
  const TestFolder folder;
  const auto bank = folder / "bank";
  const BankManifest manifest = small_manifest();
  fill_bank(bank, manifest, {7});
  std::atomic<bool> done = false;
  std::thread writing([&] {
    auto writer = open_writer(bank);
    for (int i = 0; i < 25; ++i) {
      EXPECT_TRUE(add_documents(*writer, manifest, 7).ok());
      EXPECT_TRUE(writer->commit().ok());
    }
    done = true;
  });
  auto reader = std::move(BankReader::open(bank)).value();
  uint64_t last = 0;
  for (bool more = true; more;) {
    more = !done;
    const auto snapshot = reader->snapshot();
    ASSERT_TRUE(snapshot.ok()) << snapshot.error().message;
    const uint64_t documents = (*snapshot)->documents;
    EXPECT_EQ(documents % 7, 0u);
    EXPECT_EQ((*snapshot)->segments.size() * 7, documents);
    EXPECT_GE(documents, last);
    last = documents;
    const auto report = reader->verify({});
    ASSERT_TRUE(report.ok());
    EXPECT_THAT(report->problems, testing::IsEmpty());
  }
  writing.join();
  EXPECT_EQ(last, 7u * 26);
  expect_bank(*reader, 7 * 26);
}

TEST(Bank, RefusesAnotherModel) {
  const TestFolder folder;
  fill_bank(folder / "bank", small_manifest(), {2});
  BankManifest other = small_manifest();
  other.model_fingerprint = 1;
  const auto writer = BankWriter::open_or_create(folder / "bank", other);
  ASSERT_FALSE(writer.ok());
  EXPECT_EQ(writer.error().code, Code::mismatch);
  EXPECT_THAT(writer.error().message, HasSubstr("was made with another model"));
  EXPECT_TRUE(open_writer(folder / "bank") != nullptr);  // the lock was given back

  BankManifest impossible = small_manifest();
  impossible.router_layers.clear();
  const auto refused = BankWriter::open_or_create(folder / "other", impossible);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::invalid_argument);
  EXPECT_FALSE(std::filesystem::exists(folder / "other"));
}

TEST(Bank, TakesBatchesWholeOrNotAtAll) {
  const TestFolder folder;
  const BankManifest manifest = small_manifest();
  fill_bank(folder / "bank", manifest, {2});
  auto writer = open_writer(folder / "bank");
  ASSERT_TRUE(add_documents(*writer, manifest, 2).ok());
  const uint64_t pending = writer->pending_bytes();
  const auto refused = [&](auto change) {
    std::vector<NewDocument> documents{make_document(4), make_document(5), make_document(6)};
    EncodedBatch batch = make_batch(manifest, 4, 3);
    change(documents, batch);
    const auto added = writer->add(std::move(documents), std::move(batch));
    EXPECT_EQ(writer->next_number(), 4u);
    EXPECT_EQ(writer->pending_bytes(), pending);
    return !added.ok() && added.error().code == Code::invalid_argument;
  };
  using Documents = std::vector<NewDocument>;
  EXPECT_TRUE(refused([](Documents& d, EncodedBatch&) { d[2].id = "doc/0"; }));  // committed
  EXPECT_TRUE(refused([](Documents& d, EncodedBatch&) { d[2].id = "doc/3"; }));  // pending
  EXPECT_TRUE(refused([](Documents& d, EncodedBatch&) { d[2].id = d[0].id; }));  // in the batch
  EXPECT_TRUE(refused([](Documents& d, EncodedBatch&) { d[1].id = ""; }));
  EXPECT_TRUE(refused([](Documents& d, EncodedBatch&) { d[1].char_end = 3; }));
  EXPECT_TRUE(refused([](Documents& d, EncodedBatch&) { d.pop_back(); }));
  EXPECT_TRUE(refused([](Documents&, EncodedBatch& b) { b.chunks[0] = 0; }));
  EXPECT_TRUE(refused([](Documents&, EncodedBatch& b) { b.chunks[0] += 1; }));
  EXPECT_TRUE(refused([](Documents&, EncodedBatch& b) { b.kv_width += 1; }));
  EXPECT_TRUE(refused([](Documents&, EncodedBatch& b) { b.dtype = DType::f32; }));
  EXPECT_TRUE(refused([](Documents&, EncodedBatch& b) { b.layers.pop_back(); }));
  EXPECT_TRUE(refused([](Documents&, EncodedBatch& b) { b.layers[1].keys = {}; }));
  EXPECT_TRUE(refused([](Documents&, EncodedBatch& b) { b.layers[1].content = {}; }));
  EXPECT_TRUE(refused([](Documents&, EncodedBatch& b) {
    b.chunks.assign(3, UINT32_MAX);
    b.total_chunks = 3ull * UINT32_MAX;
  }));
  ASSERT_TRUE(add_documents(*writer, manifest, 3).ok());
  ASSERT_TRUE(writer->commit().ok());
  expect_bank(folder / "bank", 7);
}

TEST(Bank, IsNotMadeAmongOtherFiles) {
  const TestFolder folder;
  folder.put("thesis.txt", "precious");
  const auto writer = BankWriter::open_or_create(folder.path(), small_manifest());
  ASSERT_FALSE(writer.ok());
  EXPECT_THAT(writer.error().message, HasSubstr("thesis.txt"));
  EXPECT_EQ(folder.entries(), 1u);

  EXPECT_FALSE(BankWriter::open_or_create(folder / "thesis.txt", small_manifest()).ok());
}

TEST(Bank, ALostCatalogueDoesNotCostTheSegments) {
  const TestFolder folder;
  const auto bank = folder / "bank";
  fill_bank(bank, small_manifest(), {2});
  std::filesystem::remove(bank / "catalogue.sqlite");
  const auto writer = BankWriter::open_or_create(bank, small_manifest());
  ASSERT_FALSE(writer.ok());
  EXPECT_EQ(writer.error().code, Code::corrupt);
  EXPECT_TRUE(std::filesystem::exists(bank / "segments/00000001.seg"));
  const auto reader = BankReader::open(bank);
  ASSERT_FALSE(reader.ok());
  EXPECT_EQ(reader.error().code, Code::not_found);
}

TEST(Bank, AnInterruptedCreationIsNoBank) {
  const TestFolder folder;
  const auto bank = folder / "bank";
  std::filesystem::create_directories(bank / "segments");
  folder.put("bank/lock", "");
  folder.put("bank/catalogue.sqlite.new", std::string(5000, '\0'));
  folder.put("bank/catalogue.sqlite.new-journal", "half a journal");
  const auto reader = BankReader::open(bank);
  ASSERT_FALSE(reader.ok());
  EXPECT_EQ(reader.error().code, Code::not_found);
  fill_bank(bank, small_manifest(), {3});
  expect_bank(bank, 3);
  EXPECT_FALSE(std::filesystem::exists(bank / "catalogue.sqlite.new"));
}

TEST(Bank, TheNextWriterRemovesWhatACrashLeft) {
  const TestFolder folder;
  const auto bank = folder / "bank";
  fill_bank(bank, small_manifest(), {2, 2});
  folder.put("bank/segments/00000003.seg", "renamed, never recorded");
  folder.put("bank/segments/00000004.seg.tmp-123-0", "half");
  EXPECT_THAT(verify_problems(bank), testing::IsEmpty());  // nothing of the bank is wrong
  EXPECT_TRUE(std::filesystem::exists(bank / "segments/00000003.seg"));  // readers remove nothing
  folder.put("bank/segments/stray.bin", "?");
  EXPECT_THAT(verify_problems(bank), testing::ElementsAre(HasSubstr("stray.bin")));

  fill_bank(bank, small_manifest(), {1});
  EXPECT_FALSE(std::filesystem::exists(bank / "segments/00000004.seg.tmp-123-0"));
  EXPECT_TRUE(std::filesystem::exists(bank / "segments/stray.bin"));  // not ours to remove
  std::filesystem::remove(bank / "segments/stray.bin");
  EXPECT_THAT(verify_problems(bank), testing::IsEmpty());
  expect_bank(bank, 5);
}

TEST(Bank, ANextSegmentThatIsTooLowCostsNoSegment) {
  const std::string low = "UPDATE meta SET value = 1 WHERE key = 'next_segment';";
  // Where an older version's tables get their digest, it says nothing about that.
  for (const char* more : {"", "DELETE FROM meta WHERE key = 'digest'; PRAGMA user_version = 2"}) {
    const TestFolder folder;
    const auto bank = folder / "bank";
    fill_bank(bank, small_manifest(), {2, 3});
    tamper(bank / "catalogue.sqlite", low + more);
    for (const auto& writer :
         {BankWriter::open(bank), BankWriter::open_or_create(bank, small_manifest())}) {
      ASSERT_FALSE(writer.ok());
      EXPECT_EQ(writer.error().code, Code::corrupt);
      EXPECT_THAT(writer.error().message,
                  HasSubstr("next_segment is 1, but segment 2 is recorded"));
      EXPECT_THAT(writer.error().message, HasSubstr("msa memory repair"));
    }
    expect_bank(bank, 5);
    EXPECT_THAT(verify_problems(bank), testing::SizeIs(1));
    {
      const auto repair = BankRepair::open(bank, Catalogue::Access::write);
      ASSERT_TRUE(repair.ok()) << repair.error().message;
      EXPECT_FALSE((*repair)->inspect({})->none());
      const auto outcome = (*repair)->run(test_encoder(), false, {}, {});
      ASSERT_TRUE(outcome.ok()) << outcome.error().message;
    }
    fill_bank(bank, small_manifest(), {1});
    expect_bank(bank, 6);
    EXPECT_THAT(verify_problems(bank), testing::IsEmpty());
  }
}

TEST(Bank, ACommitWritesOverNoFile) {
  const TestFolder folder;
  const auto bank = folder / "bank";
  const BankManifest manifest = small_manifest();
  fill_bank(bank, manifest, {2});
  auto writer = open_writer(bank);
  ASSERT_TRUE(add_documents(*writer, manifest, 1).ok());
  folder.put("bank/segments/00000002.seg", "somebody's");
  const auto committed = writer->commit();
  ASSERT_TRUE(committed.ok()) << committed.error().message;
  EXPECT_EQ(TestFolder::get(bank / "segments/00000002.seg"), "somebody's");
  EXPECT_TRUE(std::filesystem::exists(bank / "segments/00000003.seg"));
  expect_bank(bank, 3);
}

TEST(Bank, VerifyingStopsWhenAsked) {
  const TestFolder folder;
  fill_bank(folder / "bank", small_manifest(), {200, 3});
  auto reader = std::move(*BankReader::open(folder / "bank"));
  int steps = 0;
  ASSERT_TRUE(reader->verify([&](uint64_t, uint64_t) { ++steps; }).ok());
  EXPECT_GE(steps, 2 * 7);  // each segment has a header and six arrays
  for (int last = 0; last <= steps; ++last) {
    std::stop_source source;
    if (last == 0) source.request_stop();
    int step = 0;
    const auto report = reader->verify(
        [&](uint64_t, uint64_t) {
          if (++step == last) source.request_stop();
        },
        source.get_token());
    ASSERT_FALSE(report.ok()) << last;
    EXPECT_EQ(report.error().code, Code::cancelled);
    EXPECT_EQ(step, last);
  }
  // Within SQLite's own check, too; the connection is as good as before.
  std::stop_source source;
  source.request_stop();
  EXPECT_FALSE(reader->catalogue().check(source.get_token()).ok());
  const auto problems = reader->catalogue().check();
  ASSERT_TRUE(problems.ok()) << problems.error().message;
  EXPECT_TRUE(problems->empty());
  expect_bank(*reader, 203);
}

TEST(Bank, SaysWhatIsNotABank) {
  const TestFolder folder;
  folder.put("file", "x");
  const auto refused = [&](const std::filesystem::path& path) {
    const auto reader = BankReader::open(path);
    return reader.ok() ? Error{} : reader.error();
  };
  EXPECT_EQ(refused(folder / "nowhere").code, Code::not_found);
  EXPECT_THAT(refused(folder / "nowhere").message, HasSubstr("no such folder"));
  EXPECT_EQ(refused(folder / "file").code, Code::invalid_argument);
  EXPECT_EQ(refused(folder.path()).code, Code::not_found);
  EXPECT_THAT(refused(folder.path()).message, HasSubstr("is not a memory bank"));
}

}  // namespace
}  // namespace msa
