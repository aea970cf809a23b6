// What is read of a catalogue after a change: the segments that changed, and each row checked.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "memory/catalogue.h"
#include "memory/test_bank.h"

namespace msa {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class LayoutSince : public testing::Test {
 protected:
  std::unique_ptr<BankWriter> writer() {
    auto writer = BankWriter::open_or_create(bank_, manifest_);
    EXPECT_TRUE(writer.ok()) << writer.error().message;
    return writer.ok() ? std::move(writer).value() : nullptr;
  }
  // Removes these documents in one commit.
  void remove(const std::vector<uint32_t>& numbers) {
    auto w = writer();
    for (const uint32_t number : numbers)
      ASSERT_EQ(*w->remove(make_document(number).id), BankWriter::Removed::document);
    ASSERT_TRUE(w->commit().ok());
  }
  Catalogue open() {
    auto catalogue = Catalogue::open(file_, Catalogue::Access::read);
    EXPECT_TRUE(catalogue.ok()) << catalogue.error().message;
    return std::move(catalogue).value();
  }
  CatalogueLayout layout() {
    auto layout = open().layout();
    EXPECT_TRUE(layout.ok()) << layout.error().message;
    return std::move(layout).value();
  }
  static std::vector<KnownSegment> known(const CatalogueLayout& layout) {
    std::vector<KnownSegment> known;
    for (size_t s = 0; s < layout.segments.size(); ++s)
      known.push_back({layout.segments[s], layout.documents[s].size()});
    return known;
  }

  // The ids of the segments that are read again after `before`. What is read and what is kept are
  // the layout that there is.
  std::vector<int64_t> read_since(const CatalogueLayout& before) {
    std::vector<int64_t> read;
    const auto changes = open().layout_since(known(before));
    EXPECT_TRUE(changes.ok()) << changes.error().message;
    if (!changes) return read;
    const CatalogueLayout now = layout();
    EXPECT_EQ(changes->segments, now.segments);
    EXPECT_EQ(changes->documents.size(), now.segments.size());
    for (size_t s = 0; s < now.segments.size(); ++s) {
      const std::vector<DocumentSpan>* spans = nullptr;
      if (changes->documents[s]) {
        read.push_back(now.segments[s].id);
        spans = &*changes->documents[s];
      } else {
        for (size_t b = 0; b < before.segments.size(); ++b)
          if (before.segments[b].id == now.segments[s].id) spans = &before.documents[b];
      }
      EXPECT_NE(spans, nullptr) << now.segments[s].id;
      if (spans == nullptr) continue;
      EXPECT_EQ(spans->size(), now.documents[s].size());
      for (size_t i = 0; i < std::min(spans->size(), now.documents[s].size()); ++i) {
        EXPECT_EQ((*spans)[i].number, now.documents[s][i].number);
        EXPECT_EQ((*spans)[i].first_chunk, now.documents[s][i].first_chunk);
        EXPECT_EQ((*spans)[i].chunks, now.documents[s][i].chunks);
      }
    }
    return read;
  }

  TestFolder folder_;
  std::filesystem::path bank_ = folder_ / "bank", file_ = bank_ / "catalogue.sqlite";
  BankManifest manifest_ = small_manifest();
};

TEST_F(LayoutSince, NothingKnownIsAll) {
  fill_bank(bank_, manifest_, {3, 2});
  EXPECT_THAT(read_since({}), ElementsAre(1, 2));
  remove({3, 4});
  EXPECT_THAT(read_since({}), ElementsAre(1, 2));  // the second without documents
}

TEST_F(LayoutSince, NothingChangedIsNothingRead) {
  fill_bank(bank_, manifest_, {3, 2, 4});
  const CatalogueLayout before = layout();
  EXPECT_THAT(read_since(before), IsEmpty());
  // Neither do names say where a document lies.
  auto w = writer();
  NewDocument twin = make_document(1);
  twin.id = "twin";
  ASSERT_TRUE(w->add_alias(twin, 1).ok());
  ASSERT_EQ(*w->remove("doc/1"), BankWriter::Removed::name);
  ASSERT_TRUE(w->commit().ok());
  EXPECT_THAT(read_since(before), IsEmpty());
}

TEST_F(LayoutSince, NewSegmentsAreRead) {
  fill_bank(bank_, manifest_, {3, 2});
  const CatalogueLayout before = layout();
  fill_bank(bank_, manifest_, {1, 4});
  EXPECT_THAT(read_since(before), ElementsAre(3, 4));
}

TEST_F(LayoutSince, SegmentsThatLostDocumentsAreRead) {
  fill_bank(bank_, manifest_, {3, 2, 4, 2});
  const CatalogueLayout before = layout();
  remove({8});
  EXPECT_THAT(read_since(before), ElementsAre(3));
  remove({0, 2});
  EXPECT_THAT(read_since(before), ElementsAre(1, 3));
  remove({3, 4});  // all of the second's
  EXPECT_THAT(read_since(before), ElementsAre(1, 2, 3));
}

TEST_F(LayoutSince, AsManyDocumentsAsBeforeButOthers) {
  fill_bank(bank_, manifest_, {3, 2, 4});
  const CatalogueLayout before = layout();
  remove({1, 4});
  fill_bank(bank_, manifest_, {2});
  EXPECT_THAT(read_since(before), ElementsAre(1, 2, 4));
}

TEST_F(LayoutSince, WhatACompactionWroteIsRead) {
  fill_bank(bank_, manifest_, {3, 2, 4});
  const CatalogueLayout before = layout();
  remove({1, 3, 4});
  ASSERT_TRUE(writer()->compact(128u << 20, {}, {}).ok());
  EXPECT_THAT(read_since(before), ElementsAre(4));
  EXPECT_EQ(layout().segments.size(), 1u);
}

TEST_F(LayoutSince, EverythingIsGone) {
  fill_bank(bank_, manifest_, {3, 2});
  const CatalogueLayout before = layout();
  remove({0, 1, 2, 3, 4});
  EXPECT_THAT(read_since(before), ElementsAre(1, 2));
  ASSERT_TRUE(writer()->compact(128u << 20, {}, {}).ok());
  EXPECT_THAT(read_since(before), IsEmpty());
}

TEST_F(LayoutSince, AnotherSegmentUnderAKnownIdIsRead) {
  fill_bank(bank_, manifest_, {3, 2});
  CatalogueLayout before = layout();
  before.segments[1].checksum ^= 1;
  EXPECT_THAT(read_since(before), ElementsAre(2));
}

// Something else than msa gave a known segment more documents than it had.
TEST_F(LayoutSince, MoreDocumentsThanThereCanBeAreAllRead) {
  fill_bank(bank_, manifest_, {3, 2});
  CatalogueLayout before = layout();
  before.documents[0].pop_back();
  EXPECT_THAT(read_since(before), ElementsAre(1, 2));
  remove({3, 4});
  EXPECT_THAT(read_since(before), ElementsAre(1, 2));
}

struct Tampering {
  const char* sql;
  const char* words;
};

TEST_F(LayoutSince, RowsOfANewSegmentAreChecked) {
  const Tampering cases[] = {
      {"UPDATE documents SET chunks = 0 WHERE number = 6", "row 6: chunks is 0"},
      {"UPDATE documents SET chunks = 4294967296 WHERE number = 6", "row 6: chunks is 4294967296"},
      {"UPDATE documents SET chunks = 90 WHERE number = 7", "row 7: 90 chunks from 5 on, segment"},
      {"UPDATE documents SET first_chunk = -1 WHERE number = 6", "row 6: first_chunk is -1"},
      {"UPDATE documents SET first_chunk = 1 WHERE number = 6", "row 6: its chunks overlap those"},
      {"UPDATE documents SET number = 99 WHERE number = 6", "row 99: number is not below"},
      {"UPDATE documents SET number = -6 WHERE number = 6", "row -6: number is -6"},
      {"UPDATE documents SET number = 0 WHERE number = 7", "row 0: stands behind document 6"},
      {"UPDATE documents SET segment = 9 WHERE number = 6", "row 6: segment 9 is not recorded"},
      {"UPDATE documents SET segment = -9 WHERE number = 6", "row 6: segment is -9"},
      {"UPDATE meta SET value = 7 WHERE key = 'next_number'", "row 7: number is not below"},
      {"UPDATE meta SET value = 'x' WHERE key = 'next_number'", "next_number is not an integer"},
      {"DELETE FROM segments WHERE id = 3", "row 5: segment 3 is not recorded"},
      {"UPDATE segments SET chunks = 5 WHERE id = 3", "row 7: 3 chunks from 5 on, segment 3 has 5"},
      {"UPDATE segments SET file = '../x' WHERE id = 3", "row 3: the file's name"},
  };
  for (const Tampering& t : cases) {
    std::filesystem::remove_all(bank_);
    fill_bank(bank_, manifest_, {3, 2});
    remove({0});
    const CatalogueLayout before = layout();
    fill_bank(bank_, manifest_, {3});  // documents 5 to 7: 4, 1 and 3 chunks
    tamper(file_, t.sql);
    const auto changes = open().layout_since(known(before));
    ASSERT_FALSE(changes.ok()) << t.sql;
    EXPECT_EQ(changes.error().code, Code::corrupt);
    EXPECT_THAT(changes.error().message, HasSubstr(t.words)) << t.sql;
    EXPECT_THAT(changes.error().message, HasSubstr("catalogue.sqlite"));
  }
}

TEST_F(LayoutSince, RowsOfASegmentThatLostDocumentsAreChecked) {
  const Tampering cases[] = {
      {"UPDATE documents SET chunks = 0 WHERE number = 2", "row 2: chunks is 0"},
      {"UPDATE documents SET first_chunk = 4000 WHERE number = 2", "row 2: 3 chunks from 4000 on"},
      {"UPDATE documents SET first_chunk = first_chunk - 1 WHERE number = 3",
       "row 3: its chunks overlap those of document 2"},
      {"UPDATE documents SET segment = 8 WHERE number = 2", "row 2: segment 8 is not recorded"},
      {"DELETE FROM segments WHERE id = 1", "row 0: segment 1 is not recorded"},
  };
  for (const Tampering& t : cases) {
    std::filesystem::remove_all(bank_);
    fill_bank(bank_, manifest_, {4, 2});
    const CatalogueLayout before = layout();
    remove({1});
    tamper(file_, t.sql);
    const auto changes = open().layout_since(known(before));
    ASSERT_FALSE(changes.ok()) << t.sql;
    EXPECT_EQ(changes.error().code, Code::corrupt);
    EXPECT_THAT(changes.error().message, HasSubstr(t.words)) << t.sql;
  }
}

}  // namespace
}  // namespace msa
