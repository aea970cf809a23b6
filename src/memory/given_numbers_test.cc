#include "memory/given_numbers.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>
#include <string>

#include "base/test_folder.h"
#include "memory/catalogue.h"
#include "memory/catalogue_schema.h"

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

// Stored runs of any steps, short and long, that overlap; and what is added to them.
TEST(GivenNumbers, StoredRunsAgreeWithASet) {
  std::mt19937 random(6);
  for (int round = 0; round < 200; ++round) {
    std::set<uint32_t> expected;
    std::string runs;
    for (uint32_t i = 0, count = 1 + random() % 40; i < count; ++i) {
      const uint32_t first = random() % 200, step = 1 + random() % 12, numbers = 1 + random() % 30;
      runs += fmt::format("{}[{},{},{}]", i == 0 ? "" : ",", first, step, numbers);
      for (uint32_t n = 0; n < numbers; ++n) expected.insert(first + n * step);
    }
    auto given = GivenNumbers::parse(
        fmt::format(R"({{"next":{},"runs":[{}]}})", *expected.rbegin() + 1, runs));
    ASSERT_TRUE(given.has_value()) << runs;
    ASSERT_EQ(members(*given), expected) << runs;
    const uint32_t stride = 1 + random() % 9;
    for (uint32_t i = random() % 20; i > 0; --i) {
      const uint32_t number = given->next() + (random() % 4 == 0 ? 0 : stride - 1);
      given->add(number);
      expected.insert(number);
    }
    ASSERT_EQ(members(*given), expected) << runs;
    ASSERT_EQ(members(*GivenNumbers::parse(given->to_json())), expected) << runs;
  }
}

// Verifying a bank asks for each document's number.
TEST(GivenNumbers, OfManyRunsAreFoundQuickly) {
  constexpr uint32_t kRuns = 60'000;
  GivenNumbers added;
  for (uint32_t n = 0; n < kRuns * 10; ++n)
    if (n % 10 != 9) added.add(n);
  const GivenNumbers& given = added;
  const auto stored = GivenNumbers::parse(given.to_json());
  ASSERT_TRUE(stored.has_value());
  for (const GivenNumbers* each : {&given, &*stored}) {
    uint32_t wrong = 0;
    for (uint32_t n = 0; n < kRuns * 10; ++n) wrong += each->contains(n) != (n % 10 != 9);
    EXPECT_EQ(wrong, 0u);
  }
}

// So that no file makes contains() slow.
TEST(GivenNumbers, LongRunsOfTooManyStepsAreRefused) {
  const auto text_of = [](uint32_t steps, uint32_t count) {
    std::string runs;
    for (uint32_t step = 1; step <= steps; ++step)
      runs += fmt::format("{}[{},{},{}]", step == 1 ? "" : ",", step, step, count);
    return fmt::format(R"({{"next":{},"runs":[{}]}})", steps * count + 1, runs);
  };
  EXPECT_TRUE(GivenNumbers::parse(text_of(256, 9)).has_value());
  EXPECT_FALSE(GivenNumbers::parse(text_of(257, 9)).has_value());
  EXPECT_TRUE(GivenNumbers::parse(text_of(5000, 8)).has_value());
}

TEST(GivenNumbers, WhatCouldNotBeReadAgainIsNotWritten) {
  const TestFolder folder;
  ASSERT_TRUE(Catalogue::create(folder / "catalogue.sqlite", "{}").ok());
  const auto opened =
      open_catalogue_database(folder / "catalogue.sqlite", Catalogue::Access::write);
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  GivenNumbers given;
  for (uint32_t step = 1; step <= 300; ++step) {
    const uint32_t first = given.next() + 1000;
    for (uint32_t i = 0; i < 9; ++i) given.add(first + i * step);
    if (step == 200) {
      EXPECT_TRUE(write_given_numbers(opened->database, given).ok());
    }
  }
  const auto written = write_given_numbers(opened->database, given);
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().code, Code::unsupported);
  EXPECT_THAT(written.error().message, testing::HasSubstr("catalogue.sqlite"));
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
