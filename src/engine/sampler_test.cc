#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

namespace msa {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

TokenId pick(Sampler& sampler, std::vector<float> logits, std::vector<uint8_t> allowed = {}) {
  return sampler.sample(logits, allowed);
}
TokenId greedy(std::vector<float> logits, std::vector<uint8_t> allowed = {}) {
  Sampler sampler(0, 0.9f, 1);
  return pick(sampler, std::move(logits), std::move(allowed));
}

TEST(SamplerGreedy, HighestLogitTiesToTheLowerId) {
  EXPECT_EQ(greedy({1, 3, 2}), 1);
  EXPECT_EQ(greedy({1, 3, 3, 3}), 1);
  EXPECT_EQ(greedy({-5, -5}), 0);
}

TEST(SamplerGreedy, NeverNan) {
  EXPECT_EQ(greedy({kNan, -1, kNan, 0}), 3);
  EXPECT_EQ(greedy({kNan, kNan}), -1);
  EXPECT_EQ(greedy({}), -1);
}

TEST(SamplerGreedy, Infinities) {
  EXPECT_EQ(greedy({1, kInf, kInf}), 1);
  EXPECT_EQ(greedy({-kInf, -3}), 1);
  EXPECT_EQ(greedy({kNan, -kInf, -kInf}), 1);
}

TEST(SamplerGreedy, AllowedOnly) {
  EXPECT_EQ(greedy({9, 1, 2}, {0, 1, 1}), 2);
  EXPECT_EQ(greedy({9, 1, 2}, {0, 1}), 1) << "ids beyond the mask are not allowed";
  EXPECT_EQ(greedy({9, 1, 2}, {0, 0, 0}), -1);
  EXPECT_EQ(greedy({9, kNan, 2}, {0, 1, 0}), -1);
}

TEST(SamplerTemperature, FollowsTheSoftmax) {
  // Probabilities 0.5, 0.3, 0.2 at temperature 2.
  const std::vector<float> logits = {2 * std::log(0.5f), kNan, 2 * std::log(0.3f), -kInf,
                                     2 * std::log(0.2f)};
  Sampler sampler(2, 1, 7);
  std::vector<int> count(5, 0);
  const int draws = 20000;
  for (int i = 0; i < draws; ++i) ++count[static_cast<size_t>(pick(sampler, logits))];
  EXPECT_NEAR(count[0], 0.5 * draws, 300);
  EXPECT_NEAR(count[2], 0.3 * draws, 300);
  EXPECT_NEAR(count[4], 0.2 * draws, 300);
  EXPECT_EQ(count[1], 0);
  EXPECT_EQ(count[3], 0);
}

TEST(SamplerTemperature, SeedDecidesAndTheStreamIsFixed) {
  std::vector<float> logits(1000);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = std::sin(static_cast<float>(i));
  const auto draw = [&](uint64_t seed) {
    Sampler sampler(1, 0.95f, seed);
    std::vector<TokenId> out;
    for (int i = 0; i < 50; ++i) out.push_back(pick(sampler, logits));
    return out;
  };
  EXPECT_EQ(draw(3), draw(3));
  EXPECT_NE(draw(3), draw(4));
  // The number behind a draw is the top 53 bits of mt19937_64, on every standard library: its first
  // value for seed 5489 is 14514284786278117030, or 0.7868 of the range.
  Sampler sampler(1, 1, 5489);
  EXPECT_EQ(pick(sampler, std::vector<float>(10000, 0.0f)), 7868);
}

TEST(SamplerTemperature, TinyTemperatureIsGreedyAndInfinityWins) {
  Sampler cold(1e-6f, 1, 1), warm(1, 0.9f, 1);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(pick(cold, {0, 1, 0.999f}), 1);
    EXPECT_EQ(pick(warm, {0, 5, kInf, 3}), 2);
    EXPECT_EQ(pick(warm, {kNan, -kInf}), 1);
    EXPECT_EQ(pick(warm, {kNan, kNan}), -1);
    EXPECT_EQ(pick(warm, {9, 0, 1}, {0, 1, 0}), 1);
  }
}

// The nucleus by definition: a full sort, then the shortest front that weighs top_p.
std::set<TokenId> nucleus_of(const std::vector<float>& logits, const std::vector<uint8_t>& allowed,
                             float temperature, float top_p) {
  std::vector<TokenId> order;
  for (size_t i = 0; i < logits.size(); ++i)
    if (!std::isnan(logits[i]) && (allowed.empty() || allowed[i] != 0))
      order.push_back(static_cast<TokenId>(i));
  const auto logit = [&](TokenId t) { return logits[static_cast<size_t>(t)]; };
  std::stable_sort(order.begin(), order.end(),
                   [&](TokenId a, TokenId b) { return logit(a) > logit(b); });
  double mass = 0, sum = 0;
  for (const TokenId t : order)
    mass += std::exp((logit(t) - logit(order[0])) / double{temperature});
  std::set<TokenId> nucleus;
  for (const TokenId t : order) {
    nucleus.insert(t);
    sum += std::exp((logit(t) - logit(order[0])) / double{temperature});
    if (sum >= top_p * mass) break;
  }
  return nucleus;
}

TEST(SamplerTopP, DrawsExactlyTheNucleus) {
  std::mt19937_64 random(11);
  for (int round = 0; round < 60; ++round) {
    const size_t n = 1 + random() % 40;
    std::vector<float> logits(n);
    for (float& l : logits) l = static_cast<float>(random() % 1000) / 500.0f;
    if (n > 3) logits[random() % n] = kNan;
    std::vector<uint8_t> allowed;
    if (round % 2 == 1) {
      allowed.assign(n, 1);
      for (uint8_t& a : allowed) a = random() % 3 != 0;
    }
    const float top_p = static_cast<float>(1 + random() % 99) / 100.0f;
    const std::set<TokenId> expected = nucleus_of(logits, allowed, 0.7f, top_p);
    Sampler sampler(0.7f, top_p, random());
    std::set<TokenId> drawn;
    for (int i = 0; i < 3000; ++i) drawn.insert(pick(sampler, logits, allowed));
    if (expected.empty()) {
      EXPECT_EQ(drawn, std::set<TokenId>{-1});
      continue;
    }
    // Weights differ by less than a factor of 18, so 3000 draws meet each of up to 8 tokens.
    for (const TokenId t : drawn) EXPECT_TRUE(expected.contains(t)) << t;
    if (expected.size() <= 8) {
      EXPECT_EQ(drawn, expected) << "n " << n << " top_p " << top_p;
    }
  }
}

TEST(SamplerTopP, AtLeastOneTokenAndEqualOnesByLowerId) {
  Sampler sampler(1, 1e-6f, 1);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(pick(sampler, {0, 1, 1, 0}), 1);
  // Four equal tokens, half of the mass: the two with the lower ids.
  Sampler half(1, 0.5f, 1);
  std::set<TokenId> drawn;
  for (int i = 0; i < 200; ++i) drawn.insert(pick(half, {2, 2, 2, 2}));
  EXPECT_EQ(drawn, (std::set<TokenId>{0, 1}));
}

}  // namespace
}  // namespace msa
