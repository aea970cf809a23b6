#include "memory/given_numbers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

namespace msa {
namespace {

std::set<uint32_t> members(const GivenNumbers& given) {
  std::set<uint32_t> numbers;
  for (uint32_t n = 0; n < given.next() + 3; ++n)
    if (given.contains(n)) numbers.insert(n);
  return numbers;
}

TEST(GivenNumbers, AllBelowTheNextOne) {
  EXPECT_TRUE(GivenNumbers(0).complete());
  EXPECT_FALSE(GivenNumbers(0).contains(0));
  const GivenNumbers given(5);
  EXPECT_EQ(members(given), (std::set<uint32_t>{0, 1, 2, 3, 4}));
  EXPECT_TRUE(given.complete());
  EXPECT_EQ(given.next(), 5u);
}

TEST(GivenNumbers, AShardIsOneRun) {
  GivenNumbers given;
  for (uint32_t n = 1; n <= 401; n += 4) given.add(n);
  EXPECT_EQ(given.to_json(), R"({"next":402,"runs":[[1,4,101]]})");
  EXPECT_FALSE(given.complete());
  EXPECT_TRUE(given.contains(401));
  EXPECT_FALSE(given.contains(400));
  EXPECT_FALSE(given.contains(405));
  // Continued after it was stored.
  GivenNumbers stored = *GivenNumbers::parse(given.to_json());
  stored.add(405);
  stored.add(409);
  EXPECT_TRUE(stored.contains(405) && stored.contains(409));
  EXPECT_EQ(stored.to_json(), R"({"next":410,"runs":[[1,4,103]]})");
}

TEST(GivenNumbers, ShardsTogetherAreComplete) {
  GivenNumbers all;
  for (const uint32_t shard : {2u, 0u, 1u}) {
    GivenNumbers given;
    for (uint32_t n = shard; n < 30; n += 3) given.add(n);
    all.merge(given);
    all.merge(given);  // once more changes nothing
  }
  EXPECT_EQ(members(all), members(GivenNumbers(30)));
  all.extend_to(33);
  EXPECT_EQ(members(all), members(GivenNumbers(33)));
}

// Against a set, over random ways of numbering.
TEST(GivenNumbers, AgreesWithASet) {
  std::mt19937 random(5);
  for (int round = 0; round < 200; ++round) {
    GivenNumbers given;
    std::set<uint32_t> expected;
    const auto below = [&](uint32_t n) { return random() % n; };
    for (uint32_t step = 0, steps = 1 + below(8); step < steps; ++step) {
      if (below(4) == 0) {
        const uint32_t to = given.next() + below(5);
        for (uint32_t n = given.next(); n < to; ++n) expected.insert(n);
        given.extend_to(to);
      } else if (below(3) == 0) {
        GivenNumbers other;
        for (uint32_t n = below(9), stride = 1 + below(5), i = below(20); i > 0; --i, n += stride) {
          other.add(n);
          expected.insert(n);
        }
        given.merge(other);
      } else {
        uint32_t n = given.next() + below(4);
        for (uint32_t stride = 1 + below(4), i = below(12); i > 0; --i, n += stride) {
          given.add(n);
          expected.insert(n);
        }
      }
    }
    ASSERT_EQ(members(given), expected) << "round " << round;
    const auto again = GivenNumbers::parse(given.to_json());
    ASSERT_TRUE(again.has_value());
    ASSERT_EQ(members(*again), expected);
    ASSERT_EQ(again->next(), given.next());
    if (given.complete()) {
      ASSERT_EQ(expected.size(), given.next());
    }
  }
}

TEST(GivenNumbers, WhatWasNotWrittenByUsIsRefused) {
  for (const char* text :
       {"", "{", "[]", "null", R"({"next":5})", R"({"runs":[]})", R"({"next":-1,"runs":[]})",
        R"({"next":4294967296,"runs":[]})", R"({"next":5,"runs":{}})", R"({"next":5,"runs":[1]})",
        R"({"next":5,"runs":[[0,1]]})", R"({"next":5,"runs":[[0,0,1]]})",
        R"({"next":5,"runs":[[0,1,0]]})", R"({"next":5,"runs":[[0,1,6]]})",
        R"({"next":5,"runs":[[0,4294967295,4294967295]]})", R"({"next":5,"runs":[["0",1,1]]})",
        R"({"next":5,"runs":[[0,1.5,1]]})", R"({"next":5,"runs":[[0,1,5]]} x)"})
    EXPECT_FALSE(GivenNumbers::parse(text).has_value()) << text;
  EXPECT_TRUE(GivenNumbers::parse(R"({"next":5,"runs":[[0,1,5]]})").has_value());
}

}  // namespace
}  // namespace msa
