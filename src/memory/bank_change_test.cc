// Banks that change: removal, replacement, further names, compaction, and readers meanwhile.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <set>
#include <thread>

#include "memory/bank_files.h"
#include "memory/numbering.h"
#include "memory/test_routed_bank.h"

namespace msa {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Removed = BankWriter::Removed;

constexpr uint64_t kLarge = 128u << 20;

class ChangingBank : public BankTest {
 protected:
  static Removed remove(BankWriter& writer, std::string_view id) {
    const auto removed = writer.remove(id);
    EXPECT_TRUE(removed.ok()) << removed.error().message;
    return removed.ok() ? *removed : Removed::nothing;
  }
  static std::string id_of(uint32_t number) { return fmt::format("doc/{}", number); }
  // Removes documents by number, in one commit.
  void remove_all(const std::vector<uint32_t>& numbers) {
    auto w = writer();
    for (const uint32_t number : numbers) EXPECT_EQ(remove(*w, id_of(number)), Removed::document);
    const auto done = w->commit();
    ASSERT_TRUE(done.ok()) << done.error().message;
  }
  CompactionReport compact(uint64_t segment_bytes = kLarge) {
    const auto report = writer()->compact(segment_bytes, {}, {});
    EXPECT_TRUE(report.ok()) << report.error().message;
    return report.ok() ? *report : CompactionReport();
  }
  std::vector<std::string> files() const { return *list_names(bank_ / "segments"); }
  uint32_t number_of(std::string_view id) {
    const auto record = reader()->catalogue().find_id(id);
    EXPECT_TRUE(record.ok() && record->has_value()) << id;
    return record.ok() && *record ? (*record)->number : UINT32_MAX;
  }

  // Expects just these documents, with the vectors they were made with.
  static void expect_snapshot(const Snapshot& snapshot, const BankManifest& manifest,
                              const std::set<uint32_t>& numbers) {
    const size_t width = manifest.kv_heads * manifest.head_dim;
    std::set<uint32_t> found;
    uint64_t chunks = 0, wrong = 0;
    for (const SegmentView& segment : snapshot.segments) {
      uint64_t free = 0, next = 0;
      for (const DocumentSpan& span : segment.documents) {
        EXPECT_GE(span.number, next);
        EXPECT_GE(span.first_chunk, free);
        next = uint64_t{span.number} + 1;
        free = uint64_t{span.first_chunk} + span.chunks;
        EXPECT_TRUE(found.insert(span.number).second) << span.number;
        ASSERT_EQ(span.chunks, chunks_of(span.number));
        chunks += span.chunks;
        for (size_t l = 0; l < segment.layers.size(); ++l) {
          const SegmentLayer& layer = segment.layers[l];
          ASSERT_LE(free, layer.keys.rows);
          for (uint32_t c = 0; c < span.chunks; ++c)
            for (size_t i = 0; i < width; ++i) {
              const size_t row = span.first_chunk + c;
              wrong += get_value(layer.keys, row, i) != value_of(span.number, l, 0, c, i);
              wrong += get_value(layer.content, row, i) != value_of(span.number, l, 1, c, i);
              wrong +=
                  get_value(layer.content, row, width + i) != value_of(span.number, l, 2, c, i);
            }
        }
      }
    }
    EXPECT_EQ(wrong, 0u);
    EXPECT_EQ(found, numbers);
    EXPECT_EQ(snapshot.documents, numbers.size());
    EXPECT_EQ(snapshot.chunks, chunks);
  }
  void expect_documents(const std::set<uint32_t>& numbers) {
    auto r = reader();
    const auto snapshot = r->snapshot();
    ASSERT_TRUE(snapshot.ok()) << snapshot.error().message;
    expect_snapshot(**snapshot, manifest_, numbers);
    EXPECT_THAT(verify_problems(bank_), IsEmpty());
  }
};

TEST_F(ChangingBank, RemovedDocumentsAreNoCandidatesAndTheirNumbersStayTaken) {
  fill_bank(bank_, manifest_, {4, 3});
  auto r = reader();
  const auto before = *r->snapshot();
  remove_all({1, 6});
  expect_documents({0, 2, 3, 4, 5});
  expect_snapshot(**r->snapshot(), manifest_, {0, 2, 3, 4, 5});
  expect_snapshot(*before, manifest_, {0, 1, 2, 3, 4, 5, 6});  // who asked before sees it all
  EXPECT_FALSE(r->catalogue().find(1)->has_value());
  const auto totals = *r->catalogue().totals();
  EXPECT_EQ(totals.documents, 5u);
  EXPECT_EQ(totals.segment_chunks - totals.chunks, chunks_of(1) + chunks_of(6));
  // The highest one is gone, and its number all the same.
  EXPECT_EQ(writer()->next_number(), 7u);
  fill_bank(bank_, manifest_, {1});
  expect_documents({0, 2, 3, 4, 5, 7});
}

TEST_F(ChangingBank, WhatIsNotThereCannotBeRemoved) {
  fill_bank(bank_, manifest_, {2});
  auto w = writer();
  EXPECT_EQ(remove(*w, "doc/2"), Removed::nothing);
  EXPECT_EQ(remove(*w, ""), Removed::nothing);
  EXPECT_EQ(remove(*w, "doc/1"), Removed::document);
  EXPECT_EQ(remove(*w, "doc/1"), Removed::nothing);  // removed, though not committed
  EXPECT_FALSE(*w->contains("doc/1"));
  w.reset();
  expect_documents({0, 1});  // a writer that never commits changes nothing
}

TEST_F(ChangingBank, AReplacementIsOneCommit) {
  fill_bank(bank_, manifest_, {3});
  auto r = reader();
  auto w = writer();
  ASSERT_EQ(remove(*w, "doc/1"), Removed::document);
  NewDocument next = make_document(3);
  next.id = "doc/1";
  std::vector<NewDocument> documents;
  documents.push_back(next);
  ASSERT_TRUE(w->add(std::move(documents), make_batch(manifest_, 3, 1)).ok());
  EXPECT_EQ(*w->presence("doc/1", next.title, next.text), BankWriter::Presence::same);
  expect_snapshot(**r->snapshot(), manifest_, {0, 1, 2});
  ASSERT_TRUE(w->commit().ok());
  expect_snapshot(**r->snapshot(), manifest_, {0, 2, 3});
  EXPECT_EQ(number_of("doc/1"), 3u);
}

TEST_F(ChangingBank, RemovingWhatIsPendingCommitsItFirst) {
  auto w = writer();
  ASSERT_TRUE(add_documents(*w, manifest_, 2).ok());
  EXPECT_EQ(remove(*w, "doc/0"), Removed::document);
  ASSERT_TRUE(w->commit().ok());
  w.reset();
  expect_documents({1});
}

TEST_F(ChangingBank, AnotherNameForTheSameText) {
  fill_bank(bank_, manifest_, {3});
  NewDocument twin = make_document(1);
  twin.id = "twin";
  twin.source = "elsewhere";
  {
    auto w = writer();
    EXPECT_EQ(*w->find_text(twin.title, twin.text), 1u);
    EXPECT_FALSE(w->find_text(twin.title + "?", twin.text)->has_value());
    ASSERT_TRUE(w->add_alias(twin, 1).ok());
    EXPECT_EQ(*w->presence("twin", twin.title, twin.text), BankWriter::Presence::same);
    EXPECT_FALSE(w->add_alias(twin, 2).ok());  // the id is taken
    twin.id = "nobody";
    EXPECT_EQ(w->add_alias(twin, 9).error().code, Code::invalid_argument);
    ASSERT_TRUE(w->commit().ok());
    EXPECT_THAT(*w->names(1), ElementsAre("doc/1", "twin"));
    EXPECT_EQ(*w->presence("twin", twin.title, "other"), BankWriter::Presence::different);
  }
  expect_documents({0, 1, 2});
  EXPECT_EQ(number_of("twin"), 1u);
  EXPECT_EQ(reader()->catalogue().totals()->aliases, 1u);

  // Its first name goes: the other one takes over, and nothing else changes.
  auto w = writer();
  EXPECT_EQ(remove(*w, "doc/1"), Removed::name);
  ASSERT_TRUE(w->commit().ok());
  expect_documents({0, 1, 2});
  const auto record = *reader()->catalogue().find(1);
  EXPECT_EQ(record->id, "twin");
  EXPECT_EQ(record->source, "elsewhere");
  EXPECT_EQ(reader()->catalogue().totals()->aliases, 0u);
  EXPECT_EQ(remove(*w, "doc/1"), Removed::nothing);
  EXPECT_EQ(remove(*w, "twin"), Removed::document);
  ASSERT_TRUE(w->commit().ok());
  expect_documents({0, 2});
}

TEST_F(ChangingBank, ANameCanGoWithoutTheDocument) {
  fill_bank(bank_, manifest_, {2});
  auto w = writer();
  for (const char* id : {"b", "c"}) {
    NewDocument twin = make_document(0);
    twin.id = id;
    ASSERT_TRUE(w->add_alias(twin, 0).ok());
  }
  ASSERT_TRUE(w->commit().ok());
  EXPECT_EQ(remove(*w, "b"), Removed::name);
  EXPECT_EQ(remove(*w, "doc/0"), Removed::name);
  ASSERT_TRUE(w->commit().ok());
  EXPECT_THAT(*w->names(0), ElementsAre("c"));
  w.reset();
  expect_documents({0, 1});
}

TEST_F(ChangingBank, NamesThatComeAndGoArePendingAndTakeNoNumbers) {
  fill_bank(bank_, manifest_, {3});
  auto opened = open_or_create_numbered(bank_, manifest_, {7, 4});
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  BankWriter& w = **opened;
  EXPECT_EQ(w.pending_bytes(), 0u);
  NewDocument twin = make_document(1);
  twin.id = "twin";
  twin.source = std::string(1000, 's');
  ASSERT_TRUE(w.add_alias(twin, 1).ok());
  const uint64_t added = w.pending_bytes();
  EXPECT_GE(added, sizeof(CatalogueStep) + twin.id.size() + twin.source.size());
  EXPECT_EQ(remove(w, "doc/0"), Removed::document);
  EXPECT_GE(w.pending_bytes(), added + sizeof(CatalogueStep) + std::string_view("doc/0").size());
  EXPECT_EQ(w.next_number(), 7u);
  ASSERT_TRUE(w.commit().ok());
  EXPECT_EQ(w.pending_bytes(), 0u);
  EXPECT_EQ(w.next_number(), 7u);
}

TEST_F(ChangingBank, TwoTextsChangePlaces) {
  fill_bank(bank_, manifest_, {2});
  const NewDocument zero = make_document(0), one = make_document(1);
  auto w = writer();
  // doc/0 gets the text of doc/1 …
  EXPECT_EQ(remove(*w, "doc/0"), Removed::document);
  NewDocument a = one;
  a.id = "doc/0";
  ASSERT_EQ(*w->find_text(a.title, a.text), 1u);
  ASSERT_TRUE(w->add_alias(a, 1).ok());
  // … and doc/1 that which doc/0 had. Its document is on its way out and cannot be named again.
  EXPECT_EQ(remove(*w, "doc/1"), Removed::name);
  EXPECT_FALSE(w->find_text(zero.title, zero.text)->has_value());
  NewDocument b = zero;
  b.id = "doc/1";
  EXPECT_FALSE(w->add_alias(b, 0).ok());
  std::vector<NewDocument> documents{b};
  ASSERT_TRUE(w->add(std::move(documents), make_batch(manifest_, 2, 1)).ok());
  EXPECT_EQ(*w->find_text(b.title, b.text), 2u);  // pending, and found
  const auto done = w->commit();
  ASSERT_TRUE(done.ok()) << done.error().message;
  w.reset();
  EXPECT_EQ(number_of("doc/0"), 1u);
  EXPECT_EQ(number_of("doc/1"), 2u);
  EXPECT_THAT(verify_problems(bank_), IsEmpty());
}

TEST_F(ChangingBank, PassagesAreFoundUnderTheIdOfTheirText) {
  auto w = writer();
  std::vector<NewDocument> documents;
  for (const char* id : {"a", "a#1", "a#2", "a#4", "b#1"}) {
    documents.push_back(make_document(static_cast<uint32_t>(documents.size())));
    documents.back().id = id;
  }
  ASSERT_TRUE(w->add(std::move(documents), make_batch(manifest_, 0, 5)).ok());
  EXPECT_THAT(*names_under(*w, "a"), ElementsAre("a", "a#1", "a#2"));
  EXPECT_THAT(*names_under(*w, "b"), ElementsAre("b#1"));
  EXPECT_THAT(*names_under(*w, "c"), IsEmpty());
}

TEST_F(ChangingBank, CompactionKeepsWhatIsLiveAndNothingElse) {
  fill_bank(bank_, manifest_, {5, 4, 6, 3});
  remove_all({0, 3, 5, 6, 7, 8, 17});  // the second segment has none left
  auto r = reader();
  const auto before = *r->snapshot();
  const std::set<uint32_t> live = {1, 2, 4, 9, 10, 11, 12, 13, 14, 15, 16};
  uint64_t dead = 0;
  for (const uint32_t number : {0, 3, 5, 6, 7, 8, 17}) dead += chunks_of(number);

  uint64_t last = 0, all = 0;
  const auto report = writer()->compact(kLarge,
                                        [&](uint64_t d, uint64_t a) {
                                          EXPECT_GE(d, last);
                                          EXPECT_LE(d, a);
                                          last = d, all = a;
                                        },
                                        {});
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_EQ(last, all);
  EXPECT_EQ(report->segments_before, 4u);
  EXPECT_EQ(report->segments_after, 1u);
  EXPECT_EQ(report->removed_chunks, dead);
  EXPECT_LT(report->bytes_after, report->bytes_before);
  EXPECT_THAT(files(), ElementsAre("00000005.seg"));
  expect_documents(live);
  expect_snapshot(**r->snapshot(), manifest_, live);
  expect_snapshot(*before, manifest_, live);  // its files have no names any more
  EXPECT_EQ(r->catalogue().totals()->segment_chunks, r->catalogue().totals()->chunks);
  EXPECT_EQ(r->catalogue().find(9).value()->text, make_document(9).text);

  // Nothing is left to do.
  EXPECT_EQ(compact().removed_chunks, 0u);
  EXPECT_THAT(files(), ElementsAre("00000005.seg"));
  EXPECT_EQ(writer()->next_number(), 18u);
}

TEST_F(ChangingBank, CompactionOfABankThatLostEverything) {
  fill_bank(bank_, manifest_, {2, 2});
  remove_all({0, 1, 2, 3});
  EXPECT_EQ(compact().segments_after, 0u);
  EXPECT_THAT(files(), IsEmpty());
  expect_documents({});
  fill_bank(bank_, manifest_, {1});
  expect_documents({4});
}

TEST_F(ChangingBank, CompactionMakesSegmentsOfTheSizeAskedFor) {
  fill_bank(bank_, manifest_, std::vector<uint32_t>(20, 1));
  const uint64_t chunk = manifest_.segment_shape().bytes_per_chunk();
  EXPECT_EQ(compact(30 * chunk).removed_chunks, 0u);
  auto r = reader();
  const auto snapshot = *r->snapshot();
  EXPECT_LT(snapshot->segments.size(), 5u);
  for (const SegmentView& segment : snapshot->segments) EXPECT_LE(segment.layers[0].keys.rows, 30u);
  std::set<uint32_t> all;
  for (uint32_t i = 0; i < 20; ++i) all.insert(i);
  expect_documents(all);
  const auto refused = writer()->compact(0, {}, {});
  EXPECT_EQ(refused.error().code, Code::invalid_argument);
}

TEST_F(ChangingBank, CompactionDoesNotCopyDamage) {
  fill_bank(bank_, manifest_, {3, 3});
  remove_all({1});
  const auto file = bank_ / "segments/00000001.seg";
  std::string bytes = TestFolder::get(file);
  bytes.back() ^= 1;
  folder_.put("bank/segments/00000001.seg", bytes);
  const auto report = writer()->compact(kLarge, {}, {});
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code, Code::corrupt);
  EXPECT_THAT(report.error().message, HasSubstr("00000001.seg: layer 5: the pooled keys"));
  EXPECT_THAT(files(), ElementsAre("00000001.seg", "00000002.seg"));
  EXPECT_EQ((*reader()->snapshot())->documents, 5u);
}

TEST_F(ChangingBank, AStoppedCompactionKeepsWhatItDid) {
  fill_bank(bank_, manifest_, {3, 3, 3});
  remove_all({1, 4, 7});
  std::stop_source stop;
  stop.request_stop();
  auto report = writer()->compact(1, {}, stop.get_token());
  ASSERT_TRUE(report.ok());
  EXPECT_TRUE(report->stopped);
  EXPECT_EQ(report->removed_chunks, 0u);
  std::stop_source later;
  report = writer()->compact(
      1, [&](uint64_t, uint64_t) { later.request_stop(); }, later.get_token());
  ASSERT_TRUE(report.ok());
  EXPECT_TRUE(report->stopped);
  EXPECT_EQ(report->removed_chunks, chunks_of(1));
  expect_documents({0, 2, 3, 5, 6, 8});
}

// Whatever happened before, the bank holds what it should.
TEST_F(ChangingBank, RandomHistories) {
  for (uint32_t seed = 0; seed < 6; ++seed) {
    std::filesystem::remove_all(bank_);
    std::mt19937 random(seed);
    std::set<uint32_t> live;
    uint32_t next = 0;
    for (int step = 0; step < 25; ++step) {
      auto w = writer();
      if (random() % 4 == 0) {
        const auto done = w->compact((1 + random() % 60) * 432, {}, {});
        ASSERT_TRUE(done.ok()) << done.error().message;
      } else {
        for (auto removals = random() % 6; removals > 0 && !live.empty(); --removals) {
          auto victim = live.begin();
          std::advance(victim, static_cast<long>(random() % live.size()));
          ASSERT_EQ(remove(*w, id_of(*victim)), Removed::document);
          live.erase(victim);
        }
        const uint32_t count = random() % 6;
        ASSERT_TRUE(add_documents(*w, manifest_, count).ok());
        for (uint32_t i = 0; i < count; ++i) live.insert(next++);
        ASSERT_TRUE(w->commit().ok());
      }
      EXPECT_EQ(w->next_number(), next);
      w.reset();
      expect_documents(live);
      if (HasFailure()) return;
    }
  }
}

TEST_F(ChangingBank, AViewIsOneMomentOfChunksAndTexts) {
  fill_bank(bank_, manifest_, {3, 3});
  auto r = reader();
  auto view = std::move(r->view()).value();
  remove_all({0, 4});
  compact();
  expect_snapshot(*view->snapshot(), manifest_, {0, 1, 2, 3, 4, 5});
  EXPECT_EQ(view->catalogue().find(4).value()->id, "doc/4");
  EXPECT_FALSE(r->catalogue().find(4)->has_value());
  {
    const auto next = std::move(r->view()).value();
    expect_snapshot(*next->snapshot(), manifest_, {1, 2, 3, 5});
    EXPECT_FALSE(next->catalogue().find(4)->has_value());
  }
  r.reset();  // a view may outlive its reader
  EXPECT_EQ(view->catalogue().find(0).value()->id, "doc/0");
  view.reset();
  expect_documents({1, 2, 3, 5});
}

TEST_F(ChangingBank, ReadersWorkWhileAWriterChangesEverything) {
  fill_bank(bank_, manifest_, {4});
  std::atomic<bool> done = false;
  std::thread writing([&] {
    // Four documents at any committed moment: each commit removes two and adds two.
    std::vector<uint32_t> live = {0, 1, 2, 3};
    for (int i = 0; i < 40; ++i) {
      auto w = writer();
      for (int k = 0; k < 2; ++k) {
        EXPECT_EQ(remove(*w, id_of(live.front())), Removed::document);
        live.erase(live.begin());
        live.push_back(w->next_number() + static_cast<uint32_t>(k));
      }
      EXPECT_TRUE(add_documents(*w, manifest_, 2).ok());
      EXPECT_TRUE(w->commit().ok());
      if (i % 3 == 0) {
        EXPECT_TRUE(w->compact(kLarge, {}, {}).ok());
      }
    }
    done = true;
  });
  auto r = reader();
  for (bool more = true; more;) {
    more = !done;
    const auto view = r->view();
    ASSERT_TRUE(view.ok()) << view.error().message;
    std::set<uint32_t> numbers;
    const auto visited = (*view)->catalogue().each_document(0, true, [&](const DocumentRecord& d) {
      EXPECT_EQ(d.text, make_document(d.number).text);
      return numbers.insert(d.number).second;
    });
    EXPECT_TRUE(visited.ok());
    EXPECT_EQ(numbers.size(), 4u);
    expect_snapshot(*(*view)->snapshot(), manifest_, numbers);
    const auto snapshot = r->snapshot();
    ASSERT_TRUE(snapshot.ok()) << snapshot.error().message;
    EXPECT_EQ((*snapshot)->documents, 4u);
    const auto report = r->verify({});
    ASSERT_TRUE(report.ok());
    EXPECT_THAT(report->problems, IsEmpty());
    if (HasFailure()) break;
  }
  writing.join();
}

// A bank as it was before there were aliases and compaction.
void make_version_1(const std::filesystem::path& bank) {
  tamper(bank / "catalogue.sqlite",
         "DROP TABLE aliases; DROP TABLE retired; DROP INDEX documents_hash;"
         "DELETE FROM meta WHERE key = 'digest'; PRAGMA user_version = 1");
}

TEST_F(ChangingBank, AnOlderCatalogueIsReadAndBroughtUpToDateByAWriter) {
  fill_bank(bank_, manifest_, {3});
  make_version_1(bank_);
  expect_documents({0, 1, 2});
  auto old = reader();
  EXPECT_EQ(old->catalogue().totals()->aliases, 0u);
  EXPECT_FALSE(old->catalogue().find_id("twin")->has_value());
  EXPECT_THAT(*old->catalogue().aliases(1), IsEmpty());
  {
    auto w = writer();
    NewDocument twin = make_document(1);
    twin.id = "twin";
    EXPECT_EQ(*w->find_text(twin.title, twin.text), 1u);
    ASSERT_TRUE(w->add_alias(twin, 1).ok());
    EXPECT_EQ(remove(*w, "doc/0"), Removed::document);
    ASSERT_TRUE(w->commit().ok());
  }
  expect_documents({1, 2});
  // One who had it open all the while sees the new tables too.
  EXPECT_EQ(old->catalogue().find_id("twin").value()->number, 1u);
  EXPECT_EQ(old->catalogue().totals()->aliases, 1u);
  expect_snapshot(**old->snapshot(), manifest_, {1, 2});
}

TEST_F(ChangingBank, AnOlderVersionWithNewerTablesIsRefused) {
  fill_bank(bank_, manifest_, {1});
  tamper(bank_ / "catalogue.sqlite", "PRAGMA user_version = 1");
  const auto opened = BankReader::open(bank_);
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().code, Code::corrupt);
}

TEST_F(ChangingBank, VerifyFindsNamesThatCannotBe) {
  fill_bank(bank_, manifest_, {2});
  const auto file = bank_ / "catalogue.sqlite";
  tamper(file, "INSERT INTO aliases VALUES(1, 'doc/0', 1, '', 0, 0)");
  EXPECT_THAT(verify_problems(bank_), ElementsAre(HasSubstr("row 1: its id is a document's own")));
  tamper(file, "UPDATE aliases SET id = 'x', number = 7");
  EXPECT_THAT(verify_problems(bank_), ElementsAre(HasSubstr("names a document that is not")));
  tamper(file, "UPDATE aliases SET number = -3");
  EXPECT_FALSE(reader()->catalogue().find_id("x").ok());
  tamper(file, "UPDATE aliases SET number = 1, char_begin = 5");
  EXPECT_THAT(verify_problems(bank_), ElementsAre(HasSubstr("char_end is 0")));
}

TEST_F(ChangingBank, ARetiredRecordNeverCostsAFileThatIsNeeded) {
  fill_bank(bank_, manifest_, {2});
  tamper(bank_ / "catalogue.sqlite", "INSERT INTO retired VALUES(9, '00000001.seg')");
  writer().reset();
  expect_documents({0, 1});
  tamper(bank_ / "catalogue.sqlite", "INSERT INTO retired VALUES(9, '../lock')");
  const auto refused = BankWriter::open(bank_);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::corrupt);
}

TEST_F(ChangingBank, AnyModelsBankCanBeOpenedForRemoval) {
  fill_bank(bank_, manifest_, {2});
  auto w = BankWriter::open(bank_);
  ASSERT_TRUE(w.ok()) << w.error().message;
  EXPECT_EQ(BankWriter::open(bank_).error().code, Code::busy);
  EXPECT_EQ(remove(**w, "doc/0"), Removed::document);
  ASSERT_TRUE((*w)->commit().ok());
  expect_documents({1});
  EXPECT_EQ(BankWriter::open(folder_ / "nowhere").error().code, Code::not_found);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "nowhere"));
  EXPECT_EQ(BankWriter::open(folder_.path()).error().code, Code::not_found);
  EXPECT_EQ(folder_.entries(), 1u);  // looking does not make a lock there
}

}  // namespace
}  // namespace msa
