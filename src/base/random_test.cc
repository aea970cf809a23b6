#include "base/random.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace msa {
namespace {

using ::testing::ElementsAre;

// The published sequence of SplitMix64 for the state 1234567.
TEST(Random, FollowsTheReference) {
  Random random(0);
  random.set_state(1234567);
  for (const uint64_t expected : {6457827717110365317u, 3203168211198807973u, 9817491932198370423u,
                                  4593380528125082431u, 16408922859458223821u})
    EXPECT_EQ(random.bits(), expected);
}

TEST(Random, GoesOnFromASavedState) {
  Random random(7, 3);
  for (int i = 0; i < 10; ++i) random.bits();
  Random other(0);
  other.set_state(random.state());
  for (int i = 0; i < 10; ++i) EXPECT_EQ(other.bits(), random.bits());
}

TEST(Random, SeedsAndStreamsDiffer) {
  std::set<uint64_t> firsts;
  for (uint64_t seed = 0; seed < 100; ++seed)
    for (uint64_t stream = 0; stream < 100; ++stream) firsts.insert(Random(seed, stream).bits());
  EXPECT_EQ(firsts.size(), 10'000u);
  EXPECT_EQ(Random(5, 6).bits(), Random(5, 6).bits());
  EXPECT_EQ(Random(5).bits(), Random(5, 0).bits());
}

// Chi-squared over cells that share a remainder: 3/4 of 2^64 is where a plain remainder would be
// most biased.
TEST(Random, BelowIsUniform) {
  Random random(1);
  for (const uint64_t bound : {uint64_t{1}, uint64_t{2}, uint64_t{7}, uint64_t{1000}}) {
    std::vector<int> counts(bound);
    constexpr int kPerCell = 200;
    for (uint64_t i = 0; i < bound * kPerCell; ++i) {
      const uint64_t drawn = random.below(bound);
      ASSERT_LT(drawn, bound);
      ++counts[drawn];
    }
    double chi = 0;
    for (const int count : counts) chi += (count - kPerCell) * (count - kPerCell) / 200.0;
    const double freedom = static_cast<double>(bound) - 1;
    EXPECT_LE(chi, freedom + 6 * std::sqrt(2 * freedom) + 6) << bound;
  }
  constexpr uint64_t kBound = 3 * (uint64_t{1} << 62);
  int lower_third = 0;
  for (int i = 0; i < 30'000; ++i)
    if (random.below(kBound) < kBound / 3) ++lower_third;
  EXPECT_NEAR(lower_third, 10'000, 500);  // a plain remainder has half of them there
}

TEST(Random, BetweenHasBothEnds) {
  Random random(2);
  std::set<uint64_t> drawn;
  for (int i = 0; i < 200; ++i) drawn.insert(random.between(5, 8));
  EXPECT_THAT(drawn, ElementsAre(5, 6, 7, 8));
  EXPECT_EQ(random.between(9, 9), 9u);
  random.between(0, UINT64_MAX);  // all of them: no bound to draw below
}

TEST(Random, UniformIsBelowOne) {
  Random random(3);
  double sum = 0;
  for (int i = 0; i < 100'000; ++i) {
    const double drawn = random.uniform();
    ASSERT_GE(drawn, 0);
    ASSERT_LT(drawn, 1);
    sum += drawn;
  }
  EXPECT_NEAR(sum / 100'000, 0.5, 0.005);
  EXPECT_FALSE(random.chance(0));
  EXPECT_TRUE(random.chance(1));
}

TEST(Random, ShufflesEveryOrderAlike) {
  Random random(4);
  std::map<std::string, int> counts;
  for (int i = 0; i < 24'000; ++i) {
    std::vector<char> items = {'a', 'b', 'c', 'd'};
    random.shuffle(items);
    ++counts[{items.begin(), items.end()}];
  }
  EXPECT_EQ(counts.size(), 24u);
  for (const auto& [order, count] : counts) EXPECT_NEAR(count, 1000, 160) << order;
  std::vector<int> none;
  random.shuffle(none);
  const std::array<int, 3> three = {1, 2, 3};
  std::set<int> picked;
  for (int i = 0; i < 100; ++i) picked.insert(random.pick(three));
  EXPECT_THAT(picked, ElementsAre(1, 2, 3));
}

}  // namespace
}  // namespace msa
