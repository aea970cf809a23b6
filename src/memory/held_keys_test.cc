#include "memory/held_keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <new>
#include <random>

#include "memory/router.h"
#include "memory/test_routed_bank.h"

namespace msa {
namespace {

using testing::HasSubstr;
using Format = std::optional<KeyFormat>;

constexpr uint64_t kPlenty = std::numeric_limits<uint64_t>::max();

TEST(KeyBytes, AreRowsOfIntegersAndAScaleOfEachHead) {
  // MSA-4B at 100M tokens (spec: 57.6e9 bytes in bf16).
  const auto bytes = key_bytes(1'562'500, 18, 8, 128, DType::bf16);
  ASSERT_TRUE(bytes);
  EXPECT_EQ(bytes->full, 57'600'000'000u);
  EXPECT_EQ(bytes->int8, 1'562'500ull * 18 * 8 * (128 + 2));
  EXPECT_EQ(bytes->int4, 1'562'500ull * 18 * 8 * (64 + 2));
  EXPECT_EQ(key_bytes(7, 1, 1, 5, DType::f32)->int4, 7u * (4 + 2));
  EXPECT_FALSE(key_bytes(uint64_t{1} << 60, 18, 8, 128, DType::bf16));
  EXPECT_FALSE(key_bytes(1, 1, size_t{1} << 40, size_t{1} << 40, DType::bf16));
}

TEST(ChooseKeys, TheMostExactThatFits) {
  const KeyBytes bytes{4'000'000'000, 2'000'000'000, 1'000'000'000};
  const auto chosen = [&](KeyChoice choice, uint64_t budget, bool limited) {
    const auto format = choose_keys(choice, bytes, {budget, limited});
    EXPECT_TRUE(format.ok()) << format.error().message;
    return format ? *format : Format();
  };
  for (const bool limited : {false, true}) {
    EXPECT_EQ(chosen(KeyChoice::automatic, 4'000'000'000, limited), Format());
    EXPECT_EQ(chosen(KeyChoice::automatic, 3'999'999'999, limited), Format(KeyFormat::int8));
    EXPECT_EQ(chosen(KeyChoice::automatic, 2'000'000'000, limited), Format(KeyFormat::int8));
    EXPECT_EQ(chosen(KeyChoice::automatic, 1'999'999'999, limited), Format(KeyFormat::int4));
    EXPECT_EQ(chosen(KeyChoice::int8, kPlenty, limited), Format(KeyFormat::int8));
    EXPECT_EQ(chosen(KeyChoice::int4, kPlenty, limited), Format(KeyFormat::int4));
    EXPECT_EQ(chosen(KeyChoice::full, kPlenty, limited), Format());
  }
  // Mapped from the disk they need no memory: slow, but nothing to refuse where nobody set a limit.
  EXPECT_EQ(chosen(KeyChoice::automatic, 5, false), Format());
  EXPECT_EQ(chosen(KeyChoice::full, 5, false), Format());

  const auto refusal = [&](KeyChoice choice, uint64_t budget, bool limited) {
    const auto format = choose_keys(choice, bytes, {budget, limited});
    EXPECT_FALSE(format.ok());
    if (format) return std::string();
    EXPECT_EQ(format.error().code, Code::no_space);
    return format.error().message;
  };
  EXPECT_EQ(
      refusal(KeyChoice::automatic, 600'000'000, true),
      "the routing keys take 1 GB even as int4, 600 MB of the memory limit are left for them; "
      "allow 400 MB more");
  EXPECT_THAT(refusal(KeyChoice::full, 2'500'000'000, true), HasSubstr("hold them as int8 (2 GB)"));
  EXPECT_THAT(refusal(KeyChoice::full, 1'500'000'000, true), HasSubstr("hold them as int4 (1 GB)"));
  EXPECT_THAT(
      refusal(KeyChoice::int8, 1'500'000'000, false),
      HasSubstr("1.5 GB of the memory are left for them; allow 500 MB more, or hold them as "
                "int4 (1 GB)"));
  EXPECT_THAT(refusal(KeyChoice::int4, 0, true), HasSubstr("take 1 GB as int4, 0 B of"));
  // What others take beyond the limit is missing as well.
  const auto overdrawn = choose_keys(KeyChoice::automatic, bytes, {0, true, 250'000'000});
  ASSERT_FALSE(overdrawn.ok());
  EXPECT_THAT(overdrawn.error().message, HasSubstr("allow 1.25 GB more"));
}

// Counts the memory that it gives out and that is still there. Of operations it has those that
// holding keys takes.
class CountingBackend final : public Backend {
 public:
  explicit CountingBackend(Backend& inner) : inner_(inner) {}
  size_t live = 0, most = 0, buffers = 0;  // bytes now and at most; buffers given out
  bool exhausted = false;                  // there is no more

  std::string describe() const override { return inner_.describe(); }
  int threads() const override { return inner_.threads(); }
  std::unique_ptr<DeviceBuffer> allocate(size_t bytes) override {
    if (exhausted) throw std::bad_alloc();
    return std::make_unique<Buffer>(*this, inner_.allocate(bytes));
  }
  void compress_keys(ConstAnyMat keys, const MutableCompressedKeys& to) override {
    inner_.compress_keys(keys, to);
  }

  void upload(std::byte*, std::span<const std::byte>) override {}
  void download(std::span<std::byte>, const std::byte*) override {}
  Result<std::unique_ptr<PackedMatrix>> pack(std::span<const ConstAnyMat>, DType) override {
    return Error{Code::unsupported, "not of this backend"};
  }
  void matmul(ConstAnyMat, const PackedMatrix&, AnyMat, bool) override {}
  void embed(std::span<const int32_t>, ConstAnyMat, MatView<float>) override {}
  void rms_norm(MatView<const float>, std::span<const float>, float, AnyMat) override {}
  void norm_rotary(AnyMat, size_t, std::span<const float>, float, std::span<const int32_t>,
                   const RotaryTable&) override {}
  void swiglu(ConstAnyMat, AnyMat) override {}
  void document_attention(ConstAnyMat, ConstAnyMat, ConstAnyMat, std::span<const uint32_t>, size_t,
                          size_t, AnyMat) override {}
  void context_attention(ConstAnyMat, ConstAnyMat, ConstAnyMat, size_t, size_t, AnyMat) override {}
  void pool_chunks(ConstAnyMat, std::span<const uint32_t>, size_t, size_t, bool, AnyMat) override {}
  void copy_rows(ConstAnyMat, AnyMat) override {}
  void route(const RouteRule&, std::span<const RouteQuery>, std::span<const KeyBlock>,
             std::vector<std::vector<RouteHit>>&) override {}
  void route_candidates(const RouteRule&, std::span<const RouteQuery>,
                        std::span<const CompressedBlock>, std::vector<RouteCandidates>&) override {}

 private:
  class Buffer final : public DeviceBuffer {
   public:
    Buffer(CountingBackend& owner, std::unique_ptr<DeviceBuffer> memory)
        : owner_(owner), memory_(std::move(memory)) {
      owner_.live += size();
      owner_.most = std::max(owner_.most, owner_.live);
      ++owner_.buffers;
    }
    ~Buffer() override { owner_.live -= size(); }
    std::byte* data() override { return memory_->data(); }
    size_t size() const override { return memory_->size(); }

   private:
    CountingBackend& owner_;
    std::unique_ptr<DeviceBuffer> memory_;
  };

  Backend& inner_;
};

class HeldKeysTest : public RoutedBankTest, public testing::WithParamInterface<KeyChoice> {
 protected:
  HeldKeys keys(KeyChoice choice, MemoryBudget budget = {kPlenty, false}) {
    return HeldKeys(*backend_, manifest_.kv_heads, manifest_.head_dim, choice, budget);
  }
  std::shared_ptr<const Snapshot> held(HeldKeys& keys, BankReader& reader) {
    auto snapshot = keys.hold(*reader.snapshot());
    EXPECT_TRUE(snapshot.ok()) << snapshot.error().message;
    return snapshot ? *snapshot : nullptr;
  }
  // Takes these documents out of the bank, and writes all its segments anew as one.
  void compact_without(const std::vector<int>& numbers) {
    auto writer = BankWriter::open(bank_);
    ASSERT_TRUE(writer.ok()) << writer.error().message;
    for (const int number : numbers)
      ASSERT_TRUE((*writer)->remove(fmt::format("doc/{}", number)).ok());
    ASSERT_TRUE((*writer)->compact(1 << 20, {}, {}).ok());
  }
  // Documents, scores to the bit, and what is attended to.
  void expect_same_choices(std::shared_ptr<const Snapshot> full,
                           std::shared_ptr<const Snapshot> compressed) {
    ASSERT_TRUE(compressed->segments.empty() || compressed->segments[0].layers[0].compressed);
    Router exact(*backend_, full, rule_, 4), router(*backend_, compressed, rule_, 4);
    for (int round = 0; round < 20; ++round)
      for (const int layer : full->router_layers) {
        const auto q = query(1 + static_cast<size_t>(round));
        const auto expected = exact.select(layer, view(q)), chosen = router.select(layer, view(q));
        ASSERT_TRUE(expected.ok() && chosen.ok());
        expect_equal(router.choices().back(), exact.choices().back());
        EXPECT_GE(router.choices().back().rescored, router.choices().back().hits.size());
        ASSERT_EQ(chosen->size(), expected->size());
        for (size_t i = 0; i < chosen->size(); ++i) {
          EXPECT_EQ((*chosen)[i].keys.data, (*expected)[i].keys.data);
          EXPECT_EQ((*chosen)[i].values.data, (*expected)[i].values.data);
        }
      }
  }
  static void expect_equal(const LayerChoice& a, const LayerChoice& b) {
    EXPECT_EQ(a.layer, b.layer);
    ASSERT_EQ(a.hits.size(), b.hits.size());
    for (size_t i = 0; i < a.hits.size(); ++i) {
      EXPECT_EQ(a.hits[i].number, b.hits[i].number);
      EXPECT_EQ(std::bit_cast<uint32_t>(a.hits[i].score), std::bit_cast<uint32_t>(b.hits[i].score));
      EXPECT_EQ(a.hits[i].block, b.hits[i].block);
      EXPECT_EQ(a.hits[i].span, b.hits[i].span);
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Formats, HeldKeysTest, testing::Values(KeyChoice::int8, KeyChoice::int4),
                         [](const auto& instance) {
                           return instance.param == KeyChoice::int8 ? "int8" : "int4";
                         });

TEST_P(HeldKeysTest, ABankIsRoutedOverAsWithItsKeysInFull) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    manifest_ = small_manifest(dtype);
    bank_ = folder_ / std::string(name_of(dtype));
    fill_bank(bank_, manifest_, {50, 1, 60});
    auto r = reader();
    HeldKeys tier = keys(GetParam());
    const auto compressed = held(tier, *r);
    EXPECT_EQ(held(tier, *r), compressed);  // nothing to do a second time
    EXPECT_EQ(tier.format(), GetParam() == KeyChoice::int8 ? KeyFormat::int8 : KeyFormat::int4);
    const uint64_t chunks = compressed->chunks;
    EXPECT_EQ(tier.bytes(), chunks * 3 * (GetParam() == KeyChoice::int8 ? 32 + 4 : 16 + 4));
    const auto full = *r->snapshot();
    r.reset();
    expect_same_choices(full, compressed);
    // The segments are unharmed by their pages' being given back.
    expect_bank(*reader(), 111);
  }
}

TEST_P(HeldKeysTest, FollowsABankThatChanges) {
  fill_bank(bank_, manifest_, {30, 20, 5});
  auto r = reader();
  HeldKeys tier = keys(GetParam());
  const auto first = held(tier, *r);
  const auto full_first = *r->snapshot();
  const auto data = [](const Snapshot& s, size_t segment) {
    return s.segments[segment].layers[1].compressed->integers;
  };
  fill_bank(bank_, manifest_, {10});
  const auto grown = held(tier, *r);
  ASSERT_EQ(grown->segments.size(), 4u);
  for (size_t s = 0; s < 3; ++s) EXPECT_EQ(data(*grown, s), data(*first, s));  // used again
  expect_same_choices(*r->snapshot(), grown);
  {
    auto writer = std::move(*BankWriter::open(bank_));
    for (const int number : {3, 31, 49})
      ASSERT_TRUE(writer->remove(fmt::format("doc/{}", number)).ok());
    ASSERT_TRUE(writer->commit().ok());
  }
  const auto removed = held(tier, *r);
  EXPECT_EQ(removed->documents, 62u);
  EXPECT_EQ(data(*removed, 0), data(*first, 0));
  expect_same_choices(*r->snapshot(), removed);
  {
    auto writer = std::move(*BankWriter::open(bank_));
    ASSERT_TRUE(writer->compact(1 << 20, {}, {}).ok());
  }
  const auto compacted = held(tier, *r);
  expect_same_choices(*r->snapshot(), compacted);
  // Who asked before is not disturbed.
  expect_same_choices(full_first, first);
}

TEST_P(HeldKeysTest, ABankThatOutgrowsItsLimitIsHeldInFewerBitsThenRefused) {
  fill_bank(bank_, manifest_, {20});
  auto r = reader();
  const auto bytes = *key_bytes((*r->snapshot())->chunks, 3, 2, 12, DType::bf16);
  HeldKeys tier = keys(KeyChoice::automatic, {bytes.int8, true});
  held(tier, *r);
  EXPECT_EQ(tier.format(), KeyFormat::int8);
  fill_bank(bank_, manifest_, {8});
  const auto smaller = held(tier, *r);
  EXPECT_EQ(tier.format(), KeyFormat::int4);
  expect_same_choices(*r->snapshot(), smaller);
  fill_bank(bank_, manifest_, {60});
  const auto refused = tier.hold(*r->snapshot());
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::no_space);
  // What was held stays of use to who has it.
  Router router(*backend_, smaller, rule_, 4);
  EXPECT_TRUE(router.select(2, view(query(2))).ok());
}

TEST_P(HeldKeysTest, WhatACompactionReplacesGoesBeforeNewKeysCome) {
  fill_bank(bank_, manifest_, {30, 20});
  auto r = reader();
  CountingBackend counting(*backend_);
  HeldKeys tier(counting, manifest_.kv_heads, manifest_.head_dim, GetParam(), {kPlenty, false});
  held(tier, *r);
  const size_t before = counting.live;
  ASSERT_GT(before, 0u);
  EXPECT_EQ(counting.buffers, 2u);
  compact_without({3, 31});
  held(tier, *r);
  EXPECT_EQ(counting.buffers, 3u);
  EXPECT_EQ(counting.most, before);
  EXPECT_LE(counting.live, before);
  // What stays is not made again.
  fill_bank(bank_, manifest_, {10});
  held(tier, *r);
  EXPECT_EQ(counting.buffers, 4u);
  expect_same_choices(*r->snapshot(), held(tier, *r));
}

TEST_P(HeldKeysTest, MemoryThatRunsOutLeavesTheOldKeysToWhoHasThem) {
  fill_bank(bank_, manifest_, {30, 20});
  auto r = reader();
  CountingBackend counting(*backend_);
  HeldKeys tier(counting, manifest_.kv_heads, manifest_.head_dim, GetParam(), {kPlenty, false});
  const auto full_first = *r->snapshot();
  auto first = held(tier, *r);
  compact_without({3, 31});
  const auto compacted = *r->snapshot();
  counting.exhausted = true;
  EXPECT_THROW((void)tier.hold(compacted), std::bad_alloc);
  EXPECT_FALSE(tier.holds(compacted));
  expect_same_choices(full_first, first);
  // They alone have them.
  first.reset();
  EXPECT_EQ(counting.live, 0u);
  counting.exhausted = false;
  expect_same_choices(compacted, held(tier, *r));
  EXPECT_TRUE(tier.holds(compacted));
}

// What is held beside the keys takes of the room that they had.
TEST_P(HeldKeysTest, AnotherBudgetCountsFromTheNextSnapshotOn) {
  fill_bank(bank_, manifest_, {20});
  auto r = reader();
  const auto bytes = *key_bytes((*r->snapshot())->chunks, 3, 2, 12, DType::bf16);
  HeldKeys tier = keys(KeyChoice::automatic);
  held(tier, *r);
  EXPECT_EQ(tier.format(), Format());
  tier.set_budget({bytes.full, true});
  fill_bank(bank_, manifest_, {1});
  held(tier, *r);
  EXPECT_EQ(tier.format(), Format(KeyFormat::int8));
  tier.set_budget({bytes.int4 - 1, true});
  fill_bank(bank_, manifest_, {1});
  EXPECT_EQ(tier.hold(*r->snapshot()).error().code, Code::no_space);
}

TEST_P(HeldKeysTest, SeveralRequestsInOnePass) {
  fill_bank(bank_, manifest_, {50, 60});
  auto r = reader();
  HeldKeys tier = keys(GetParam());
  const auto compressed = held(tier, *r), full = *r->snapshot();
  for (const auto& snapshot : {full, compressed}) {
    Router router(*backend_, snapshot, rule_, 4);
    std::vector<std::vector<float>> queries;
    for (const size_t tokens : {1, 5, 0, 12, 3, 2}) queries.push_back(query(tokens));
    queries[4][7] = std::numeric_limits<float>::infinity();  // only the keys in full can tell
    std::vector<RouteQuery> requests;
    for (const auto& q : queries) requests.push_back({view(q), 1 + requests.size()});
    requests.back().k = 0;
    const auto together = router.choose(2, requests);
    ASSERT_TRUE(together.ok()) << together.error().message;
    ASSERT_EQ(together->size(), requests.size());
    for (size_t i = 0; i < requests.size(); ++i) {
      const auto alone = router.choose(2, {&requests[i], 1});
      ASSERT_TRUE(alone.ok());
      if (i != 4) expect_equal((*together)[i], alone->front());
      EXPECT_EQ((*together)[i].hits.size(), i == 2 || i == 5 ? 0 : requests[i].k);
    }
    EXPECT_EQ((*together)[4].rescored, 0u);
    EXPECT_TRUE(router.choices().empty());
    EXPECT_EQ(router.choose(3, requests).error().code, Code::mismatch);
    EXPECT_TRUE(router.choose(2, {})->empty());
  }
}

// Keys in clusters and questions near them, as trained models have them, so that scores lie close
// together: the k documents and their scores are those of the keys in full, question after
// question.
TEST_P(HeldKeysTest, ThousandsOfChoicesAreThoseOfKeysInFull) {
  constexpr size_t kHeads = 2, kDim = 64, kWidth = kHeads * kDim, kClusters = 150, kAsked = 3000;
  std::normal_distribution<float> normal;
  std::vector<float> centres(kClusters * kWidth);
  for (float& x : centres) x = normal(random_);
  std::vector<DocumentSpan> documents;
  std::vector<bf16> key_values;
  uint32_t rows = 0;
  for (uint32_t number = 0; number < 6000; ++number) {
    documents.push_back({number, rows, 1 + static_cast<uint32_t>(random_() % 3)});
    const float* centre = &centres[random_() % kClusters * kWidth];
    for (; rows < documents.back().first_chunk + documents.back().chunks; ++rows)
      for (size_t head = 0; head < kHeads; ++head) {
        std::array<float, kDim> key;
        float squares = 0;
        for (size_t i = 0; i < kDim; ++i) {
          key[i] = centre[head * kDim + i] + 0.5f * normal(random_);
          squares += key[i] * key[i];
        }
        for (const float x : key) key_values.push_back(bf16::from_float(x / std::sqrt(squares)));
      }
  }
  const std::vector<bf16> content(size_t{rows} * 2 * kWidth);
  const auto snapshot = std::make_shared<Snapshot>();
  snapshot->router_layers = {0};
  SegmentView& segment = snapshot->segments.emplace_back();
  segment.documents = documents;
  segment.layers.push_back({MatView<const bf16>(key_values.data(), rows, kWidth),
                            MatView<const bf16>(content.data(), rows, 2 * kWidth)});
  snapshot->documents = documents.size();
  snapshot->chunks = rows;

  HeldKeys tier(*backend_, kHeads, kDim, GetParam(), {kPlenty, false});
  auto compressed = tier.hold(snapshot);
  ASSERT_TRUE(compressed.ok()) << compressed.error().message;
  RouteRule rule;
  rule.query_heads = 4;
  rule.kv_heads = kHeads;
  rule.head_dim = kDim;
  rule.cosine = true;
  Router exact(*backend_, snapshot, rule, 16), router(*backend_, *compressed, rule, 16);
  const size_t query_width = rule.query_heads * kDim;
  uint64_t rescored = 0;
  for (size_t asked = 0; asked < kAsked;) {
    std::vector<std::vector<float>> queries;
    std::vector<RouteQuery> requests;
    for (size_t r = 0; r < 25; ++r, ++asked) {
      std::vector<float>& q = queries.emplace_back((1 + random_() % 4) * query_width);
      const float* centre = &centres[random_() % kClusters * kWidth];
      const float apart = 0.3f + 0.7f * static_cast<float>(random_() % 100) / 100;
      for (size_t i = 0; i < q.size(); ++i) {
        const size_t head = i / kDim % rule.query_heads / (rule.query_heads / kHeads);
        q[i] = centre[head * kDim + i % kDim] + apart * normal(random_);
      }
    }
    for (size_t r = 0; r < queries.size(); ++r)
      requests.push_back(
          {MatView<const float>(queries[r].data(), queries[r].size() / query_width, query_width),
           r % 2 ? size_t{16} : size_t{1 + r % 5}});
    const auto expected = exact.choose(0, requests), chosen = router.choose(0, requests);
    ASSERT_TRUE(expected.ok() && chosen.ok());
    for (size_t r = 0; r < requests.size(); ++r) {
      expect_equal((*chosen)[r], (*expected)[r]);
      rescored += (*chosen)[r].rescored;
    }
    ASSERT_FALSE(HasFailure()) << "after " << asked << " questions";
  }
  // It is a selection that was tested, not a scan in full by another name.
  EXPECT_LT(rescored, kAsked * documents.size() / 10);
}

TEST_P(HeldKeysTest, AnEmptyBankAndAnotherModels) {
  fill_bank(bank_, manifest_, {});
  auto r = reader();
  HeldKeys tier = keys(GetParam(), {0, true});
  const auto none = held(tier, *r);
  EXPECT_EQ(tier.bytes(), 0u);
  Router router(*backend_, none, rule_, 4);
  EXPECT_TRUE(router.select(2, view(query(2)))->empty());
  fill_bank(bank_, manifest_, {3});
  HeldKeys wide(*backend_, 2, 16, GetParam(), {kPlenty, false});
  const auto refused = wide.hold(*r->snapshot());
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message, HasSubstr("have 24 values, 2 heads of 16 were expected"));
}

}  // namespace
}  // namespace msa
