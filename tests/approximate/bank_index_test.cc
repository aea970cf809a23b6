#include "approximate/bank_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <limits>
#include <random>
#include <set>

#include "approximate/index_builder.h"
#include "memory/bank_files.h"
#include "memory/held_keys.h"
#include "memory/router.h"
#include "memory/test_routed_bank.h"

namespace msa {
namespace {

using testing::HasSubstr;

class BankIndexTest : public RoutedBankTest {
 protected:
  void SetUp() override {
    if (const auto supported = check_list_index_support(); !supported)
      GTEST_SKIP() << "this build has no FAISS";
    RoutedBankTest::SetUp();
  }

  std::shared_ptr<const Snapshot> snapshot() {
    auto reader = BankReader::open(bank_);
    EXPECT_TRUE(reader.ok()) << reader.error().message;
    auto taken = (*reader)->snapshot();
    EXPECT_TRUE(taken.ok()) << taken.error().message;
    return *taken;
  }
  Result<IndexMeasure> build(IndexSettings settings = {}, std::stop_token stop = {},
                             const IndexProgressSink& progress = {}) {
    return build_bank_index(bank_, *backend_, snapshot(), manifest_.head_dim, settings, progress,
                            stop);
  }
  IndexMeasure built(const IndexSettings& settings = {}) {
    auto measure = build(settings);
    EXPECT_TRUE(measure.ok()) << measure.error().message;
    return measure ? *measure : IndexMeasure();
  }
  Result<std::unique_ptr<BankIndex>> try_open() {
    return BankIndex::open(bank_, manifest_.router_layers, 24, 2);
  }
  std::shared_ptr<BankIndex> open() {
    auto index = try_open();
    EXPECT_TRUE(index.ok()) << index.error().message;
    return index ? std::move(*index) : nullptr;
  }
  // Looks everywhere, so that what is found is what the exact scan finds.
  std::shared_ptr<BankIndex> open_thorough() {
    auto index = open();
    for (size_t l = 0; l < manifest_.router_layers.size(); ++l)
      index->set_effort(l, index->catalogue().lists, 1000);
    return index;
  }
  // Looks into two lists, for as many documents as are wanted.
  std::shared_ptr<BankIndex> open_careless() {
    auto index = open();
    for (size_t l = 0; l < manifest_.router_layers.size(); ++l) index->set_effort(l, 2, 1);
    return index;
  }
  static void expect_same_hits(const LayerChoice& a, const LayerChoice& b) {
    ASSERT_EQ(a.hits.size(), b.hits.size());
    for (size_t i = 0; i < a.hits.size(); ++i) {
      EXPECT_EQ(a.hits[i].number, b.hits[i].number);
      EXPECT_EQ(a.hits[i].score, b.hits[i].score);
      EXPECT_EQ(a.hits[i].block, b.hits[i].block);
      EXPECT_EQ(a.hits[i].span, b.hits[i].span);
    }
  }
  // Documents and scores to the bit, whatever the number of tokens.
  void expect_same_choices(const std::shared_ptr<const Snapshot>& plain,
                           const std::shared_ptr<const Snapshot>& held,
                           const std::shared_ptr<BankIndex>& index, bool by_index = true) {
    Router exact(*backend_, plain, rule_, 5), router(*backend_, held, rule_, 5, index);
    for (size_t round = 0; round < 12; ++round)
      for (const int layer : manifest_.router_layers) {
        const std::vector<float> q = query(1 + round);
        const auto expected = exact.select(layer, view(q)), chosen = router.select(layer, view(q));
        ASSERT_TRUE(expected.ok() && chosen.ok());
        const LayerChoice &a = exact.choices().back(), &b = router.choices().back();
        expect_same_hits(a, b);
        ASSERT_EQ(expected->size(), chosen->size());
        for (size_t i = 0; i < expected->size(); ++i) {
          const auto &want = (*expected)[i].keys, &got = (*chosen)[i].keys;
          ASSERT_EQ(got.rows, want.rows);
          ASSERT_EQ(got.cols, want.cols);
          size_t wrong = 0;
          for (size_t row = 0; row < want.rows; ++row)
            for (size_t c = 0; c < want.cols; ++c)
              wrong += get_value(got, row, c) != get_value(want, row, c);
          EXPECT_EQ(wrong, 0u);
        }
        EXPECT_EQ(b.certain, !by_index);
      }
  }
  void change(const std::function<void(BankWriter&)>& what) {
    auto writer = BankWriter::open(bank_);
    ASSERT_TRUE(writer.ok()) << writer.error().message;
    what(**writer);
    const auto committed = (*writer)->commit();
    ASSERT_TRUE(committed.ok()) << committed.error().message;
  }
  std::vector<std::string> index_files() { return *list_names(bank_ / kIndexFolder); }
};

TEST_F(BankIndexTest, FindsAllThatTheExactScanFindsWhereItLooksEverywhere) {
  fill_bank(bank_, manifest_, {60, 1, 90});
  for (const KeyCoding coding : {KeyCoding::scalar, KeyCoding::product}) {
    IndexSettings settings;
    settings.coding = coding;
    const IndexMeasure measure = built(settings);
    ASSERT_EQ(measure.layers.size(), 3u);
    EXPECT_EQ(measure.catalogue.documents, 151u);
    EXPECT_EQ(measure.catalogue.rows, snapshot()->chunks);
    EXPECT_EQ(measure.questions, 100u);
    EXPECT_EQ(measure.question_tokens, 4);
    EXPECT_EQ(measure.left_out, 0u);
    const auto index = open_thorough();
    EXPECT_EQ(index->known_chunks(*snapshot()), snapshot()->chunks);
    expect_same_choices(snapshot(), snapshot(), index);
  }
}

TEST_F(BankIndexTest, MeasuresWhatItFinds) {
  fill_bank(bank_, manifest_, {300});
  double before = 0;
  for (const double recall : {0.3, 0.8, 1.0}) {
    IndexSettings settings;
    settings.recall = recall;
    const IndexMeasure measure = built(settings);
    const auto index = open();
    for (size_t l = 0; l < 3; ++l) {
      const LayerMeasure& layer = measure.layers[l];
      EXPECT_GT(layer.file.recall, recall - 0.1) << recall;
      EXPECT_LE(layer.file.recall, 1);
      EXPECT_EQ(layer.exact_bytes, static_cast<double>(snapshot()->chunks * 24 * 2));
      EXPECT_GT(layer.question_bytes, 0);
      EXPECT_EQ(index->catalogue().layers[l].probes, layer.file.probes);
      EXPECT_EQ(index->catalogue().layers[l].recall, layer.file.recall);
    }
    EXPECT_GE(static_cast<double>(measure.layers[0].file.probes), before);
    before = static_cast<double>(measure.layers[0].file.probes);
  }
  EXPECT_GT(before, 1);
}

TEST_F(BankIndexTest, GivenQuestionsAreMeasuredWith) {
  fill_bank(bank_, manifest_, {50});
  IndexSettings settings;
  for (int layer = 0; layer < 3; ++layer) {
    FoldedQuestions& questions = settings.questions.emplace_back();
    questions.width = 24;
    for (int q = 0; q < 6; ++q) questions.questions.emplace_back(24 * 3, 0.5f);
  }
  const IndexMeasure measure = built(settings);
  EXPECT_EQ(measure.questions, 6u);
  EXPECT_EQ(measure.question_tokens, 3);
}

TEST_F(BankIndexTest, WhatIsAddedLaterIsScanned) {
  fill_bank(bank_, manifest_, {70});
  built();
  const auto index = open_thorough();
  fill_bank(bank_, manifest_, {25, 3});
  const auto now = snapshot();
  EXPECT_LT(index->known_chunks(*now), now->chunks);
  expect_same_choices(now, now, index);
  // Also where they are held in fewer bits.
  for (const KeyChoice choice : {KeyChoice::int8, KeyChoice::int4}) {
    HeldKeys keys(*backend_, manifest_.kv_heads, manifest_.head_dim, choice,
                  {std::numeric_limits<uint64_t>::max(), false});
    const auto held = keys.hold(now);
    ASSERT_TRUE(held.ok());
    expect_same_choices(now, *held, index);
  }
}

TEST_F(BankIndexTest, WhatIsRemovedIsNotFound) {
  fill_bank(bank_, manifest_, {70, 20});
  built();
  const auto index = open_thorough();
  change([](BankWriter& writer) {
    for (uint32_t number = 0; number < 80; number += 3)
      ASSERT_TRUE(writer.remove(make_document(number).id).ok());
  });
  expect_same_choices(snapshot(), snapshot(), index);
  // An index that is built now does not know them.
  const IndexMeasure measure = built();
  EXPECT_EQ(measure.catalogue.rows, snapshot()->chunks);
  EXPECT_LT(measure.catalogue.rows, measure.catalogue.chunks());
  expect_same_choices(snapshot(), snapshot(), open_thorough());
}

TEST_F(BankIndexTest, WhereAllThatIsNearIsRemovedTheRestIsScanned) {
  fill_bank(bank_, manifest_, {120});
  built();
  const auto index = open_careless();
  const std::vector<float> q = query(1);
  // Until the index finds nothing.
  for (size_t found = 1; found > 0;) {
    Router router(*backend_, snapshot(), rule_, 5, index);
    ASSERT_TRUE(router.select(2, view(q)).ok());
    const std::vector<RouteHit> hits = router.choices().back().hits;
    found = hits.size();
    change([&](BankWriter& writer) {
      for (const RouteHit& hit : hits)
        ASSERT_TRUE(writer.remove(make_document(hit.number).id).ok());
    });
  }
  const auto now = snapshot();
  ASSERT_GT(now->documents, 60u);
  Router exact(*backend_, now, rule_, 5);
  ASSERT_TRUE(exact.select(2, view(q)).ok());
  ASSERT_EQ(exact.choices().back().hits.size(), 5u);
  for (const KeyChoice choice : {KeyChoice::full, KeyChoice::int8}) {
    HeldKeys keys(*backend_, manifest_.kv_heads, manifest_.head_dim, choice,
                  {std::numeric_limits<uint64_t>::max(), false});
    const auto held = keys.hold(now);
    ASSERT_TRUE(held.ok());
    Router router(*backend_, *held, rule_, 5, index, TooFewFound::scanned);
    ASSERT_TRUE(router.select(2, view(q)).ok());
    const LayerChoice& chosen = router.choices().back();
    expect_same_hits(exact.choices().back(), chosen);
    EXPECT_TRUE(chosen.certain);
    EXPECT_EQ(chosen.rescored > 0, choice == KeyChoice::int8);
  }
}

TEST_F(BankIndexTest, MoreThanItsListsHoldAreScanned) {
  fill_bank(bank_, manifest_, {120});
  built();
  const auto index = open_careless();
  fill_bank(bank_, manifest_, {10});  // which the index does not know
  const auto now = snapshot();
  Router exact(*backend_, now, rule_, 5), found(*backend_, now, rule_, 5, index),
      router(*backend_, now, rule_, 5, index, TooFewFound::scanned);
  const std::vector<float> first = query(2), second = query(1), third = query(3);
  const RouteQuery requests[] = {{view(first), 1}, {view(second), 130}, {view(third), 1}};
  const auto all = exact.choose(2, requests), some = found.choose(2, requests),
             chosen = router.choose(2, requests);
  ASSERT_TRUE(all.ok() && some.ok() && chosen.ok());
  ASSERT_EQ((*all)[1].hits.size(), 130u);
  EXPECT_LT((*some)[1].hits.size(), 130u);
  expect_same_hits((*all)[1], (*chosen)[1]);
  EXPECT_TRUE((*chosen)[1].certain);
  // Where the index finds enough, nothing is different.
  for (const size_t r : {0, 2}) {
    expect_same_hits((*some)[r], (*chosen)[r]);
    EXPECT_EQ((*chosen)[r].hits.size(), 1u);
    EXPECT_FALSE((*chosen)[r].certain);
  }
}

TEST_F(BankIndexTest, WhatACompactionWritesAnewIsScannedAndNothingKnownIsRemoved) {
  fill_bank(bank_, manifest_, {70, 20});
  built();
  const auto index = open_thorough();
  remove_stale_index(bank_, *snapshot());
  EXPECT_EQ(index_files().size(), 5u);  // it is not stale
  change([](BankWriter& writer) {
    ASSERT_TRUE(writer.remove(make_document(3).id).ok());
    ASSERT_TRUE(writer.commit().ok());
    ASSERT_TRUE(writer.compact(uint64_t{128} << 20, {}, {}).ok());
  });
  EXPECT_EQ(index->known_chunks(*snapshot()), 0u);
  expect_same_choices(snapshot(), snapshot(), index, /*by_index=*/false);
  remove_stale_index(bank_, *snapshot());
  EXPECT_FALSE(std::filesystem::exists(bank_ / kIndexFolder));
  EXPECT_THAT(verify_problems(bank_), testing::IsEmpty());
}

TEST_F(BankIndexTest, AnotherBanksSegmentsAreNotKnown) {
  fill_bank(bank_, manifest_, {70});
  built();
  // The same ids and sizes, but for one with other contents.
  const auto other = folder_ / "other";
  auto writer = BankWriter::open_or_create(other, manifest_);
  ASSERT_TRUE(writer.ok());
  std::vector<NewDocument> documents;
  std::vector<uint32_t> numbers;
  for (uint32_t i = 0; i < 70; ++i) {
    documents.push_back(make_document(i));
    numbers.push_back(i + 5000);  // numbers with the same chunks: the pattern repeats every 5
  }
  ASSERT_TRUE((*writer)->add(documents, make_batch(manifest_, numbers)).ok());
  ASSERT_TRUE((*writer)->commit().ok());
  auto reader = BankReader::open(other);
  ASSERT_TRUE(reader.ok());
  const auto theirs = (*reader)->snapshot();
  ASSERT_TRUE(theirs.ok());
  ASSERT_EQ((*theirs)->segments[0].id, snapshot()->segments[0].id);
  EXPECT_EQ(open()->known_chunks(**theirs), 0u);
  expect_same_choices(*theirs, *theirs, open(), /*by_index=*/false);
}

TEST_F(BankIndexTest, DamageIsAnErrorThatNamesTheFile) {
  EXPECT_EQ(BankIndex::open(bank_, manifest_.router_layers, 24, 1).error().code, Code::not_found);
  fill_bank(bank_, manifest_, {70});
  built();
  const std::vector<std::string> files = index_files();
  ASSERT_EQ(files.size(), 5u);  // the lock, index.json, a file for each layer
  const std::vector<int> others{1, 2, 4}, more{1, 2, 5, 6};
  for (const auto& layers : {others, more})
    EXPECT_EQ(BankIndex::open(bank_, layers, 24, 1).error().code, Code::mismatch);
  EXPECT_EQ(BankIndex::open(bank_, manifest_.router_layers, 12, 1).error().code, Code::mismatch);
  for (const std::string& name : files) {
    if (name == kLockFile) continue;
    const auto file = bank_ / kIndexFolder / name;
    const std::string bytes = TestFolder::get(file);
    flip_bit(file, bytes.size() / 2);
    const auto opened = try_open();
    ASSERT_FALSE(opened.ok()) << name;
    EXPECT_EQ(opened.error().code, Code::corrupt);
    EXPECT_THAT(opened.error().message, HasSubstr(name + ": "));
    std::filesystem::resize_file(file, bytes.size() / 3);
    EXPECT_FALSE(try_open().ok()) << name;
    std::filesystem::remove(file);
    EXPECT_EQ(try_open().error().code, Code::not_found) << name;
    std::ofstream(file, std::ios::binary) << bytes;
    EXPECT_TRUE(try_open().ok()) << name;
  }
  // The bank itself minds none of it.
  EXPECT_THAT(verify_problems(bank_), testing::IsEmpty());
}

TEST_F(BankIndexTest, ANewIndexTakesThePlaceOfTheOldAndOfRemains) {
  fill_bank(bank_, manifest_, {70});
  built();
  const auto old = index_files();
  const auto reading = open_thorough();
  const auto folder = bank_ / kIndexFolder;
  std::ofstream(folder / "00000007-1.idx") << "of a build that was killed";
  std::ofstream(folder / "00000007-2.idx.tmp-x1") << "of a build that was killed";
  std::ofstream(folder / "index.json.tmp-x1") << "of a build that was killed";
  std::ofstream(folder / "notes.txt") << "somebody's";
  built();
  EXPECT_THAT(index_files(),
              testing::ElementsAre("00000008-1.idx", "00000008-2.idx", "00000008-5.idx",
                                   "index.json", "lock", "notes.txt"));
  EXPECT_EQ(old.front(), "00000001-1.idx");
  // Whoever has the old one open goes on with it.
  expect_same_choices(snapshot(), snapshot(), reading);
}

TEST_F(BankIndexTest, AStoppedOrRefusedBuildLeavesTheOldIndex) {
  fill_bank(bank_, manifest_, {70});
  built();
  const auto before = index_files();
  const auto refuse = [&](const IndexSettings& settings, Code code, const char* what,
                          std::stop_token stop = {}, const IndexProgressSink& progress = {}) {
    const auto measure = build(settings, stop, progress);
    ASSERT_FALSE(measure.ok());
    EXPECT_EQ(measure.error().code, code);
    EXPECT_THAT(measure.error().message, HasSubstr(what));
    EXPECT_EQ(index_files(), before);
    EXPECT_TRUE(try_open().ok());
  };
  std::stop_source at_once, later, last;
  at_once.request_stop();
  refuse({}, Code::cancelled, "stopped", at_once.get_token());
  refuse({}, Code::cancelled, "stopped", later.get_token(),
         [&](IndexStage, uint64_t, uint64_t) { later.request_stop(); });
  refuse({}, Code::cancelled, "stopped", last.get_token(),
         [&](IndexStage stage, uint64_t, uint64_t) {
           if (stage == IndexStage::measuring) last.request_stop();
         });
  IndexSettings settings;
  settings.lists = 100'000;
  refuse(settings, Code::invalid_argument, "100000 lists are more than the");
  settings.lists = 0;
  for (const double recall : {0.0, -1.0, 1.01, std::nan("")}) {
    settings.recall = recall;
    refuse(settings, Code::invalid_argument, "recall: ");
  }
  const auto lock = FolderLock::take(bank_ / kIndexFolder);
  ASSERT_TRUE(lock.ok());
  refuse({}, Code::busy, "index");
}

TEST_F(BankIndexTest, TooLittleToIndexIsRefused) {
  fill_bank(bank_, manifest_, {});
  auto measure = build();
  ASSERT_FALSE(measure.ok());
  EXPECT_THAT(measure.error().message, HasSubstr("there is no document"));
  fill_bank(bank_, manifest_, {1});
  ASSERT_TRUE(build().ok());
  expect_same_choices(snapshot(), snapshot(), open_thorough());
  IndexSettings settings;
  settings.coding = KeyCoding::product;
  measure = build(settings);
  ASSERT_FALSE(measure.ok());
  EXPECT_EQ(measure.error().code, Code::invalid_argument);
  EXPECT_THAT(measure.error().message, HasSubstr("too few for product quantisation"));
}

TEST_F(BankIndexTest, SegmentsWithValuesThatAreNotFiniteAreScanned) {
  fill_bank(bank_, manifest_, {40});
  {
    auto writer = BankWriter::open(bank_);
    ASSERT_TRUE(writer.ok());
    EncodedBatch batch = make_batch(manifest_, 40, 10);
    put_value(batch.dtype, batch.layers[1].keys.data(), 77, INFINITY);
    put_value(batch.dtype, batch.layers[1].keys.data(), 200, NAN);
    std::vector<NewDocument> documents;
    for (uint32_t i = 40; i < 50; ++i) documents.push_back(make_document(i));
    ASSERT_TRUE((*writer)->add(std::move(documents), std::move(batch)).ok());
    ASSERT_TRUE((*writer)->commit().ok());
  }
  const IndexMeasure measure = built();
  EXPECT_EQ(measure.catalogue.documents, 40u);
  EXPECT_EQ(measure.catalogue.rows + measure.left_out, snapshot()->chunks);
  EXPECT_GT(measure.left_out, 0u);
  const auto index = open_thorough();
  Router exact(*backend_, snapshot(), rule_, 5), router(*backend_, snapshot(), rule_, 5, index);
  for (int round = 0; round < 20; ++round) {
    const std::vector<float> q = query(3);
    ASSERT_TRUE(exact.select(2, view(q)).ok() && router.select(2, view(q)).ok());
    for (size_t i = 0; i < 5; ++i)
      EXPECT_EQ(exact.choices().back().hits[i].number, router.choices().back().hits[i].number);
  }
}

TEST_F(BankIndexTest, QuestionsThatAreNotFiniteAreScanned) {
  fill_bank(bank_, manifest_, {40});
  built();
  Router exact(*backend_, snapshot(), rule_, 5), router(*backend_, snapshot(), rule_, 5, open());
  std::vector<float> q = query(2);
  q[50] = INFINITY;
  ASSERT_TRUE(exact.select(2, view(q)).ok() && router.select(2, view(q)).ok());
  EXPECT_TRUE(router.choices()[0].certain);
  for (size_t i = 0; i < 5; ++i)
    EXPECT_EQ(exact.choices()[0].hits[i].number, router.choices()[0].hits[i].number);
}

TEST_F(BankIndexTest, AnIndexThatIsBeingReplacedIsNotRemoved) {
  fill_bank(bank_, manifest_, {70});
  built();
  const auto before = index_files();
  change([](BankWriter& writer) {
    ASSERT_TRUE(writer.remove(make_document(3).id).ok());
    ASSERT_TRUE(writer.commit().ok());
    ASSERT_TRUE(writer.compact(uint64_t{128} << 20, {}, {}).ok());
  });
  {
    const auto builder = FolderLock::take(bank_ / kIndexFolder);
    ASSERT_TRUE(builder.ok()) << builder.error().message;
    remove_stale_index(bank_, *snapshot());
    EXPECT_EQ(index_files(), before);
  }
  remove_stale_index(bank_, *snapshot());
  EXPECT_FALSE(std::filesystem::exists(bank_ / kIndexFolder));
}

TEST(IsInnerProduct, OnlyMeanThenMaxThenMax) {
  RouteRule rule;
  EXPECT_TRUE(is_inner_product(rule));
  rule.heads = RouteRule::Heads::max;
  EXPECT_FALSE(is_inner_product(rule));
  rule = {};
  rule.tokens = RouteRule::Tokens::last;
  EXPECT_FALSE(is_inner_product(rule));
  rule = {};
  rule.chunks = RouteRule::Chunks::mean;
  EXPECT_FALSE(is_inner_product(rule));
}

}  // namespace
}  // namespace msa
