#include "memory/held_content.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <limits>
#include <random>

#include "base/files.h"
#include "memory/bank_files.h"
#include "memory/held_keys.h"
#include "memory/router.h"
#include "memory/test_routed_bank.h"

namespace msa {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr MemoryBudget kPlenty{std::numeric_limits<uint64_t>::max(), false};

std::span<const std::byte> stored(const SegmentLayer& layer) {
  if (layer.content_int8.heads > 0) return layer.content_int8.bytes();
  return {layer.content.data,
          layer.content.rows * layer.content.cols * size_of(layer.content.dtype)};
}
bool same_bytes(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}
// Of rows that need not follow each other.
bool same_rows(ConstAnyMat a, ConstAnyMat b) {
  if (a.rows != b.rows || a.cols != b.cols || a.dtype != b.dtype) return false;
  const size_t bytes = a.cols * size_of(a.dtype);
  for (size_t r = 0; r < a.rows; ++r)
    if (std::memcmp(a.slice_rows(r, 1).data, b.slice_rows(r, 1).data, bytes) != 0) return false;
  return true;
}

TEST(ContentBytes, AreWholeCacheLinesOfEachArray) {
  Snapshot snapshot;
  EXPECT_EQ(content_bytes(snapshot), 0u);
  SegmentView segment;
  SegmentLayer full, int8;
  full.content = ConstAnyMat(nullptr, DType::bf16, 5, 48);  // 480 bytes
  int8.content_int8 = {nullptr, 3, 4, 12};                  // 192 bytes
  segment.layers = {full, int8, full};
  snapshot.segments = {segment, segment};
  EXPECT_EQ(content_bytes(snapshot), 2u * (512 + 192 + 512));
  // More than 64 bits can count.
  full.content = ConstAnyMat(nullptr, DType::bf16, size_t{1} << 60, 2);
  segment.layers = {full, full};
  snapshot.segments = {segment};
  EXPECT_EQ(content_bytes(snapshot), uint64_t{1} << 63);
  snapshot.segments = {segment, segment};
  EXPECT_FALSE(content_bytes(snapshot));
  const auto refused = HeldContent(kPlenty).bytes_for(snapshot);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::corrupt);
}

TEST(ContentBytes, OfThePublishedModelAreThoseOfTheFormula) {
  // MSA-4B at 100M tokens (115.2e9 bytes in bf16), in one segment.
  Snapshot snapshot;
  SegmentView& segment = snapshot.segments.emplace_back();
  SegmentLayer layer;
  layer.content = ConstAnyMat(nullptr, DType::bf16, 1'562'500, 2 * 8 * 128);
  segment.layers.assign(18, layer);
  EXPECT_EQ(content_bytes(snapshot), 115'200'000'000u);
  const auto refused = HeldContent({64'000'000'000, true}).bytes_for(snapshot);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::no_space);
  EXPECT_EQ(refused.error().message,
            "the pooled keys and values take 115 GB in memory, 64 GB of the memory limit are left "
            "for them; allow 51.2 GB more, or leave them on the disk, mapped");
  EXPECT_THAT(HeldContent({0, false}).bytes_for(snapshot).error().message,
              HasSubstr("0 B of the memory are left"));
  EXPECT_EQ(*HeldContent({115'200'000'000, true}).bytes_for(snapshot), 115'200'000'000u);
  EXPECT_FALSE(HeldContent({115'199'999'999, true}).bytes_for(snapshot).ok());
}

struct Stored {
  const char* name;
  DType dtype;
  ContentFormat content;
};

class HeldContentTest : public RoutedBankTest, public testing::WithParamInterface<Stored> {
 protected:
  void SetUp() override {
    manifest_ = small_manifest(GetParam().dtype, GetParam().content);
    RoutedBankTest::SetUp();
  }
  std::shared_ptr<const Snapshot> held(HeldContent& tier, std::shared_ptr<const Snapshot> from) {
    auto snapshot = tier.hold(std::move(from));
    EXPECT_TRUE(snapshot.ok()) << snapshot.error().message;
    return snapshot ? *snapshot : nullptr;
  }
  // Documents, scores and what is attended to, to the bit.
  void expect_same_contexts(std::shared_ptr<const Snapshot> mapped,
                            std::shared_ptr<const Snapshot> held) {
    Router expected(*backend_, mapped, rule_, 4), router(*backend_, held, rule_, 4);
    for (int round = 0; round < 10; ++round)
      for (const int layer : mapped->router_layers) {
        const auto q = query(1 + static_cast<size_t>(round));
        const auto a = expected.select(layer, view(q)), b = router.select(layer, view(q));
        ASSERT_TRUE(a.ok() && b.ok());
        const auto &hits = router.choices().back().hits, &right = expected.choices().back().hits;
        ASSERT_EQ(hits.size(), right.size());
        for (size_t i = 0; i < hits.size(); ++i) {
          EXPECT_EQ(hits[i].number, right[i].number);
          EXPECT_EQ(hits[i].score, right[i].score);
        }
        ASSERT_EQ(a->size(), b->size());
        for (size_t i = 0; i < a->size(); ++i) {
          EXPECT_TRUE(same_rows((*a)[i].keys, (*b)[i].keys));
          EXPECT_TRUE(same_rows((*a)[i].values, (*b)[i].values));
        }
      }
  }
  static void expect_in_memory(const Snapshot& snapshot, bool yes) {
    for (const SegmentView& segment : snapshot.segments)
      for (const SegmentLayer& layer : segment.layers)
        EXPECT_EQ(is_mapped(segment, stored(layer)), !yes);
  }
};
INSTANTIATE_TEST_SUITE_P(Types, HeldContentTest,
                         testing::Values(Stored{"bf16", DType::bf16, ContentFormat::full},
                                         Stored{"f32", DType::f32, ContentFormat::full},
                                         Stored{"int8", DType::bf16, ContentFormat::int8}),
                         [](const auto& instance) { return instance.param.name; });

TEST_P(HeldContentTest, IsTheStoredContentToTheBit) {
  fill_bank(bank_, manifest_, {20, 1, 30});
  auto r = reader();
  const auto mapped = *r->snapshot();
  HeldContent tier(kPlenty);
  EXPECT_EQ(tier.bytes(), 0u);
  const auto snapshot = held(tier, mapped);
  EXPECT_EQ(held(tier, mapped), snapshot);  // nothing to do a second time
  EXPECT_EQ(tier.bytes(), content_bytes(*mapped));
  EXPECT_EQ(content_bytes(*snapshot), content_bytes(*mapped));
  EXPECT_EQ(snapshot->documents, 51u);
  expect_in_memory(*mapped, false);
  expect_in_memory(*snapshot, true);
  for (size_t s = 0; s < mapped->segments.size(); ++s)
    for (size_t l = 0; l < mapped->router_layers.size(); ++l) {
      const SegmentLayer &from = mapped->segments[s].layers[l],
                         &to = snapshot->segments[s].layers[l];
      EXPECT_TRUE(same_bytes(stored(from), stored(to)));
      EXPECT_EQ(reinterpret_cast<uintptr_t>(stored(to).data()) % 64, 0u);
      EXPECT_EQ(from.keys.data, to.keys.data);  // keys stay where they are
    }
  expect_same_contexts(mapped, snapshot);
  expect_bank(*r, 51);  // the segments are unharmed by their pages' being given back
}

TEST_P(HeldContentTest, FollowsABankThatChanges) {
  fill_bank(bank_, manifest_, {20, 10, 5});
  auto r = reader();
  HeldContent tier(kPlenty);
  const auto full_first = *r->snapshot();
  auto first = held(tier, full_first);
  const auto data = [](const Snapshot& s, size_t segment) {
    return stored(s.segments[segment].layers[1]).data();
  };
  fill_bank(bank_, manifest_, {10});
  const auto grown = held(tier, *r->snapshot());
  ASSERT_EQ(grown->segments.size(), 4u);
  for (size_t s = 0; s < 3; ++s) EXPECT_EQ(data(*grown, s), data(*first, s));  // used again
  EXPECT_EQ(tier.bytes(), content_bytes(*grown));
  expect_in_memory(*grown, true);
  expect_same_contexts(*r->snapshot(), grown);
  {
    auto writer = std::move(*BankWriter::open(bank_));
    for (const int number : {3, 21, 39})
      ASSERT_TRUE(writer->remove(fmt::format("doc/{}", number)).ok());
    ASSERT_TRUE(writer->commit().ok());
  }
  const auto removed = held(tier, *r->snapshot());
  EXPECT_EQ(removed->documents, 42u);
  for (size_t s = 0; s < 4; ++s) EXPECT_EQ(data(*removed, s), data(*grown, s));
  expect_same_contexts(*r->snapshot(), removed);
  {
    auto writer = std::move(*BankWriter::open(bank_));
    ASSERT_TRUE(writer->compact(1 << 20, {}, {}).ok());
  }
  const auto compacted = held(tier, *r->snapshot());
  ASSERT_EQ(compacted->segments.size(), 1u);
  EXPECT_LT(tier.bytes(), *content_bytes(*removed));
  expect_in_memory(*compacted, true);
  expect_same_contexts(*r->snapshot(), compacted);
  // Who asked before is not disturbed, and is all that keeps what it has.
  expect_same_contexts(full_first, first);
  const std::weak_ptr<const void> of_first = first->keep_alive;
  first.reset();
  EXPECT_TRUE(of_first.expired());
}

// Below the keys' tier, as the engine has it.
TEST_P(HeldContentTest, BesideKeysAsInt8) {
  fill_bank(bank_, manifest_, {40, 30});
  auto r = reader();
  HeldKeys keys(*backend_, manifest_.kv_heads, manifest_.head_dim, KeyChoice::int8,
                {kPlenty.bytes, false});
  HeldContent tier(kPlenty);
  const auto compressed = keys.hold(*r->snapshot());
  ASSERT_TRUE(compressed.ok()) << compressed.error().message;
  const auto both = held(tier, *compressed);
  EXPECT_TRUE(both->segments[1].layers[2].compressed);
  expect_in_memory(*both, true);
  expect_same_contexts(*r->snapshot(), both);
}

// Keys are held before content is, so what keeps the old ones has to go before that.
TEST_P(HeldContentTest, MakesRoomForTheNextSnapshotsKeys) {
  fill_bank(bank_, manifest_, {20, 10});
  auto r = reader();
  HeldKeys keys(*backend_, manifest_.kv_heads, manifest_.head_dim, KeyChoice::int8,
                {kPlenty.bytes, false});
  HeldContent tier(kPlenty);
  const std::weak_ptr<const Snapshot> of_keys = *keys.hold(*r->snapshot());
  auto both = held(tier, of_keys.lock());
  const SegmentView stays = both->segments[1];
  const std::byte* copied = stored(stays.layers[0]).data();
  {
    auto writer = std::move(*BankWriter::open(bank_));
    ASSERT_TRUE(writer->remove("doc/3").ok());
    ASSERT_TRUE(writer->compact(1, {}, {}).ok());
  }
  const auto next = *r->snapshot();
  ASSERT_EQ(next->segments.size(), 2u);
  ASSERT_EQ(next->segments[0].id, stays.id);
  EXPECT_FALSE(keys.holds(next));
  const std::weak_ptr<const void> of_both = both->keep_alive;
  both.reset();
  EXPECT_GT(of_keys.use_count(), 1);
  tier.make_room_for(*next);
  EXPECT_TRUE(of_both.expired());
  EXPECT_EQ(of_keys.use_count(), 1);  // the keys' tier has it
  EXPECT_EQ(tier.bytes(), 0u);
  const auto compressed = keys.hold(next);
  ASSERT_TRUE(compressed.ok()) << compressed.error().message;
  EXPECT_TRUE(of_keys.expired());
  EXPECT_TRUE(keys.holds(next));
  const auto again = held(tier, *compressed);
  EXPECT_EQ(stored(again->segments[0].layers[0]).data(), copied);  // used again
  expect_same_contexts(next, again);
}

// What the disk holds does not matter any more: neither rows nor their pages are read.
TEST_P(HeldContentTest, ReadsNothingOfTheFile) {
  fill_bank(bank_, manifest_, {15});
  auto r = reader();
  const auto mapped = *r->snapshot();
  HeldContent tier(kPlenty);
  const auto snapshot = held(tier, mapped);
  fs::copy(bank_, folder_ / "sound", fs::copy_options::recursive);
  const SegmentView& segment = mapped->segments.front();
  const std::span<const std::byte> rows = stored(segment.layers[0]);
  {
    std::fstream file(segment.file->path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(rows.data() - segment.file->bytes().data());
    file << std::string(rows.size(), '\x55');
    ASSERT_TRUE(file.flush());
  }
  ASSERT_FALSE(same_bytes(rows, stored(snapshot->segments.front().layers[0])));
  bank_ = folder_ / "sound";
  expect_same_contexts(*reader()->snapshot(), snapshot);
}

TEST_P(HeldContentTest, ABankThatOutgrowsTheLimitIsRefused) {
  fill_bank(bank_, manifest_, {20});
  auto r = reader();
  const uint64_t bytes = *content_bytes(**r->snapshot());
  HeldContent none({bytes - 1, true});
  EXPECT_EQ(none.hold(*r->snapshot()).error().code, Code::no_space);
  EXPECT_EQ(none.bytes(), 0u);
  HeldContent tier({bytes, true});
  const auto mapped = *r->snapshot();
  const auto fits = held(tier, mapped);
  fill_bank(bank_, manifest_, {1});
  const auto refused = tier.hold(*r->snapshot());
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::no_space);
  EXPECT_THAT(refused.error().message, HasSubstr("of the memory limit are left for them; allow"));
  // What was held stays of use to who has it, and is there for the bank when it fits again.
  expect_same_contexts(mapped, fits);
  {
    auto writer = std::move(*BankWriter::open(bank_));
    ASSERT_TRUE(writer->remove("doc/20").ok());
    ASSERT_TRUE(writer->compact(1, {}, {}).ok());
  }
  const auto again = held(tier, *r->snapshot());
  EXPECT_EQ(stored(again->segments[0].layers[0]).data(),
            stored(fits->segments[0].layers[0]).data());
}

TEST_P(HeldContentTest, AnEmptyBankTakesNothing) {
  fill_bank(bank_, manifest_, {});
  auto r = reader();
  HeldContent tier({0, true});
  Router router(*backend_, held(tier, *r->snapshot()), rule_, 4);
  EXPECT_EQ(tier.bytes(), 0u);
  EXPECT_TRUE(router.select(2, view(query(2)))->empty());
  fill_bank(bank_, manifest_, {1});
  EXPECT_EQ(tier.hold(*r->snapshot()).error().code, Code::no_space);
}

// Arrays that are copied in several pieces.
TEST_P(HeldContentTest, LargeArraysAreCopiedWhole) {
  manifest_.router_layers = {1};
  manifest_.kv_heads = 8;
  manifest_.head_dim = 128;
  fill_bank(bank_, manifest_, {900});
  const auto mapped = *reader()->snapshot();
  const std::span<const std::byte> rows = stored(mapped->segments[0].layers[0]);
  if (GetParam().content == ContentFormat::full) {
    ASSERT_GT(rows.size(), 8u << 20);
  }
  HeldContent tier(kPlenty);
  const auto snapshot = held(tier, mapped);
  EXPECT_TRUE(same_bytes(rows, stored(snapshot->segments[0].layers[0])));
}

}  // namespace
}  // namespace msa
