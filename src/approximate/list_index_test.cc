#include "approximate/list_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <random>
#include <set>

namespace msa {
namespace {

using testing::HasSubstr;

#define SKIP_WITHOUT_FAISS()                                           \
  if (const auto supported = check_list_index_support(); !supported) { \
    EXPECT_EQ(supported.error().code, Code::unsupported);              \
    EXPECT_THAT(supported.error().message, HasSubstr("has no FAISS")); \
    GTEST_SKIP() << "this build has no FAISS";                         \
  }

// Keys around some centres, and the arrays that a builder makes of them.
struct Case {
  ListShape shape;
  std::vector<float> keys, centres, quantiser;
  std::vector<uint64_t> offsets{0};
  std::vector<uint32_t> rows;
  std::vector<uint8_t> codes;
  size_t count = 0;

  MatView<const float> view() const { return {keys.data(), count, shape.width}; }
  ListArrays arrays() const { return {shape, centres, quantiser, offsets, rows, codes}; }
  uint32_t number_of(size_t key) const { return static_cast<uint32_t>(3 * key + 7); }
};

float dot(std::span<const float> a, std::span<const float> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0f);
}

Case make_case(KeyCoding coding, size_t width, size_t lists, size_t count, int threads = 1) {
  Case made;
  made.shape = {coding, width, lists};
  made.count = count;
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> centres(20 * width);
  for (float& x : centres) x = normal(random);
  for (size_t i = 0; i < count; ++i)
    for (size_t j = 0; j < width; ++j)
      made.keys.push_back(centres[i % 20 * width + j] + 0.3f * normal(random));
  auto builder = make_list_builder(made.shape, threads, 5);
  EXPECT_TRUE(builder.ok()) << builder.error().message;
  const auto trained = (*builder)->train(made.view());
  EXPECT_TRUE(trained.ok()) << trained.error().message;
  for (size_t first = 0; first < count; first += 100) {
    const size_t some = std::min<size_t>(100, count - first);
    std::vector<uint32_t> numbers;
    for (size_t i = 0; i < some; ++i) numbers.push_back(made.number_of(first + i));
    const auto added = (*builder)->add(made.view().slice_rows(first, some), numbers);
    EXPECT_TRUE(added.ok()) << added.error().message;
  }
  made.centres.assign((*builder)->centres().begin(), (*builder)->centres().end());
  made.quantiser.assign((*builder)->quantiser().begin(), (*builder)->quantiser().end());
  for (size_t l = 0; l < lists; ++l) {
    const ListBuilder::List list = (*builder)->list(l);
    made.rows.insert(made.rows.end(), list.rows.begin(), list.rows.end());
    made.codes.insert(made.codes.end(), list.codes.begin(), list.codes.end());
    made.offsets.push_back(made.rows.size());
  }
  return made;
}

std::vector<NearRow> search(const Case& c, MatView<const float> queries, size_t probes,
                            size_t nearest, int threads = 1, ListSearchCost* cost = nullptr) {
  auto searcher = make_list_searcher(c.arrays(), threads);
  EXPECT_TRUE(searcher.ok()) << searcher.error().message;
  auto found = (*searcher)->search(queries, probes, nearest);
  EXPECT_TRUE(found.ok()) << found.error().message;
  if (cost != nullptr) *cost = (*searcher)->last_cost();
  return *found;
}

TEST(ListShape, BytesOfACode) {
  EXPECT_EQ((ListShape{KeyCoding::scalar, 24, 1}.code_bytes()), 24u);
  EXPECT_EQ((ListShape{KeyCoding::scalar, 24, 1}.quantiser_floats()), 48u);
  EXPECT_EQ((ListShape{KeyCoding::product, 1024, 1}.code_bytes()), 128u);
  EXPECT_EQ((ListShape{KeyCoding::product, 12, 1}.code_bytes()), 3u);
  EXPECT_EQ((ListShape{KeyCoding::product, 6, 1}.code_bytes()), 3u);
  EXPECT_EQ((ListShape{KeyCoding::product, 7, 1}.code_bytes()), 7u);
  EXPECT_EQ((ListShape{KeyCoding::product, 12, 1}.quantiser_floats()), 256u * 12);
}

TEST(ListIndex, EveryRowIsInOneListWithItsCode) {
  SKIP_WITHOUT_FAISS();
  for (const KeyCoding coding : {KeyCoding::scalar, KeyCoding::product}) {
    const Case c = make_case(coding, 24, 13, 750);
    ASSERT_EQ(c.rows.size(), c.count);
    EXPECT_EQ(c.codes.size(), c.count * c.shape.code_bytes());
    EXPECT_EQ(c.centres.size(), 13u * 24);
    EXPECT_EQ(c.quantiser.size(), c.shape.quantiser_floats());
    const std::set<uint32_t> rows(c.rows.begin(), c.rows.end());
    EXPECT_EQ(rows.size(), c.count);
    for (size_t i = 0; i < c.count; ++i) EXPECT_TRUE(rows.contains(c.number_of(i)));
  }
}

TEST(ListIndex, ScoresAreNearlyInnerProducts) {
  SKIP_WITHOUT_FAISS();
  for (const KeyCoding coding : {KeyCoding::scalar, KeyCoding::product}) {
    const Case c = make_case(coding, 24, 13, 750);
    for (size_t q = 0; q < 20; ++q) {
      const auto found = search(c, c.view().slice_rows(37 * q, 1), 13, c.count);
      ASSERT_EQ(found.size(), c.count);
      double worst = 0;
      for (const NearRow& near : found) {
        const size_t key = (near.row - 7) / 3;
        const float exact = dot(c.view().row(key), c.view().row(37 * q));
        worst = std::max<double>(worst, std::abs(exact - near.score));
      }
      // Keys have a length of about 5 and differences to their centres one of about 1.5.
      EXPECT_LT(worst, coding == KeyCoding::scalar ? 0.3 : 6) << q;
    }
  }
}

TEST(ListIndex, FindsTheNearestInAllListsAndMostOfThemInFew) {
  SKIP_WITHOUT_FAISS();
  const Case c = make_case(KeyCoding::scalar, 32, 25, 2000);
  size_t in_few = 0, wanted = 0;
  for (size_t q = 0; q < 50; ++q) {
    const MatView<const float> query = c.view().slice_rows(31 * q, 1);
    std::vector<std::pair<float, uint32_t>> exact;
    for (size_t i = 0; i < c.count; ++i)
      exact.emplace_back(-dot(c.view().row(i), query.row(0)), c.number_of(i));
    std::sort(exact.begin(), exact.end());
    std::set<uint32_t> best;
    for (size_t i = 0; i < 10; ++i) best.insert(exact[i].second);
    const auto count = [&](const std::vector<NearRow>& found) {
      return static_cast<size_t>(
          std::count_if(found.begin(), found.end(),
                        [&](const NearRow& near) { return best.contains(near.row); }));
    };
    EXPECT_EQ(count(search(c, query, 25, 20)), 10u) << q;
    in_few += count(search(c, query, 3, 20));
    wanted += 10;
  }
  EXPECT_GT(in_few, wanted * 9 / 10);
  EXPECT_LE(in_few, wanted);
}

TEST(ListIndex, SeveralQueriesAndThreadsFindWhatEachFindsAlone) {
  SKIP_WITHOUT_FAISS();
  for (const KeyCoding coding : {KeyCoding::scalar, KeyCoding::product}) {
    const Case c = make_case(coding, 24, 17, 900);
    for (const size_t tokens : {2, 9, 25})
      for (const int threads : {1, 2, 5}) {
        std::multiset<std::pair<uint32_t, float>> alone, together;
        std::set<size_t> lists;
        for (size_t t = 0; t < tokens; ++t)
          for (const NearRow& near : search(c, c.view().slice_rows(t, 1), 4, 11))
            alone.emplace(near.row, near.score);
        ListSearchCost cost;
        const auto found = search(c, c.view().slice_rows(0, tokens), 4, 11, threads, &cost);
        for (const NearRow& near : found) together.emplace(near.row, near.score);
        ASSERT_EQ(alone.size(), together.size());
        size_t same = 0;
        for (auto a = alone.begin(), b = together.begin(); a != alone.end(); ++a, ++b)
          same += a->first == b->first && std::abs(a->second - b->second) < 1e-3;
        EXPECT_EQ(same, alone.size());
        EXPECT_LE(cost.lists, 17u);
      }
  }
}

TEST(ListIndex, CostIsThatOfTheListsLookedInto) {
  SKIP_WITHOUT_FAISS();
  const Case c = make_case(KeyCoding::scalar, 24, 13, 750);
  ListSearchCost cost;
  const uint64_t centres = 13 * 24 * sizeof(float);
  search(c, c.view().slice_rows(0, 5), 13, 1, 1, &cost);
  EXPECT_EQ(cost.lists, 13u);
  EXPECT_EQ(cost.bytes, centres + 750 * (24 + 4));
  search(c, c.view().slice_rows(0, 1), 1, 1, 1, &cost);
  EXPECT_EQ(cost.lists, 1u);
  EXPECT_LT(cost.bytes, centres + 750 * (24 + 4) / 2);
  EXPECT_GT(cost.bytes, centres);
}

TEST(ListIndex, NothingFromNothing) {
  SKIP_WITHOUT_FAISS();
  const Case c = make_case(KeyCoding::scalar, 24, 13, 750);
  EXPECT_TRUE(search(c, c.view().slice_rows(0, 0), 3, 3).empty());
  EXPECT_TRUE(search(c, c.view().slice_rows(0, 1), 0, 3).empty());
  EXPECT_TRUE(search(c, c.view().slice_rows(0, 1), 3, 0).empty());
  EXPECT_EQ(search(c, c.view().slice_rows(0, 1), 1000, 100'000).size(), 750u);
  // Lists without rows.
  Case empty = c;
  empty.offsets.assign(14, 0);
  empty.rows.clear();
  empty.codes.clear();
  EXPECT_TRUE(search(empty, c.view().slice_rows(0, 2), 13, 5).empty());
}

TEST(ListIndex, CentresAndCodesThatAreNoNumbersDoNoHarm) {
  SKIP_WITHOUT_FAISS();
  for (const KeyCoding coding : {KeyCoding::scalar, KeyCoding::product})
    for (const float wild : {std::nanf(""), INFINITY, -INFINITY, 3e38f}) {
      Case c = make_case(coding, 24, 13, 750);
      for (size_t i = 0; i < c.centres.size(); i += 5) c.centres[i] = wild;
      for (size_t i = 0; i < c.quantiser.size(); i += 3) c.quantiser[i] = wild;
      for (const NearRow& near : search(c, c.view().slice_rows(0, 3), 7, 9, 2))
        EXPECT_EQ((near.row - 7) % 3, 0u);
    }
}

TEST(ListIndex, FailuresOfFaissAreErrors) {
  SKIP_WITHOUT_FAISS();
  // Fewer keys than prototypes: FAISS throws.
  auto builder = make_list_builder({KeyCoding::product, 8, 2}, 1, 1);
  ASSERT_TRUE(builder.ok()) << builder.error().message;
  std::vector<float> keys(100 * 8);
  std::iota(keys.begin(), keys.end(), 0.0f);
  const auto trained = (*builder)->train({keys.data(), 100, 8});
  ASSERT_FALSE(trained.ok());
  EXPECT_THAT(trained.error().message, HasSubstr("training the index: FAISS failed"));
  EXPECT_EQ(trained.error().message.find('\n'), std::string::npos);
}

}  // namespace
}  // namespace msa
