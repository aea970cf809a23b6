#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "samples/sample_source.h"

namespace msa {
namespace {

std::unique_ptr<SampleSource> counting(std::string name) {
  return make_sample_source([name = std::move(name)](uint64_t index) {
    Sample sample;
    sample.where = fmt::format("{}:{}", name, index);
    return sample;
  });
}

std::unique_ptr<SampleSource> mixed(uint64_t seed, std::vector<double> weights) {
  std::vector<WeightedSource> sources;
  for (size_t i = 0; i < weights.size(); ++i)
    sources.push_back({counting(std::string(1, static_cast<char>('a' + i))), weights[i]});
  return mix_sources(std::move(sources), seed);
}

std::vector<std::string> take(SampleSource& source, size_t count) {
  std::vector<std::string> out;
  for (size_t i = 0; i < count; ++i) out.push_back(source.next().value().where);
  return out;
}

class Failing final : public SampleSource {
 public:
  Result<Sample> next() override {
    if (++calls_ == 2) return Error{Code::io, "no more"};
    return Sample{};
  }
  uint64_t position() const override { return 0; }
  Result<void> skip_to(uint64_t) override { return Error{Code::io, "cannot"}; }

 private:
  int calls_ = 0;
};

TEST(MadeSamples, InOrderFromAnywhere) {
  const auto source = counting("x");
  EXPECT_THAT(take(*source, 2), ::testing::ElementsAre("x:0", "x:1"));
  ASSERT_TRUE(source->skip_to(uint64_t{1} << 60));
  EXPECT_EQ(take(*source, 1)[0], "x:1152921504606846976");
  EXPECT_EQ(source->position(), (uint64_t{1} << 60) + 1);
}

TEST(Mix, FollowsTheWeights) {
  const auto source = mixed(1, {1, 0, 2.5, 0.5, 0});
  std::map<char, size_t> counts;
  for (const std::string& where : take(*source, 40'000)) {
    // Each source is read in its own order, without gaps.
    EXPECT_EQ(where.substr(2), std::to_string(counts[where[0]]++));
  }
  EXPECT_NEAR(static_cast<double>(counts['a']), 10'000, 400);
  EXPECT_NEAR(static_cast<double>(counts['c']), 25'000, 400);
  EXPECT_NEAR(static_cast<double>(counts['d']), 5'000, 400);
  EXPECT_EQ(counts['b'] + counts['e'], 0u);
}

TEST(Mix, SeedsDiffer) {
  EXPECT_EQ(take(*mixed(1, {1, 1}), 100), take(*mixed(1, {1, 1}), 100));
  EXPECT_NE(take(*mixed(1, {1, 1}), 100), take(*mixed(2, {1, 1}), 100));
}

TEST(Mix, ContinuesAnywhere) {
  const auto all = take(*mixed(5, {3, 1, 2}), 300);
  for (const size_t at : {0u, 1u, 7u, 150u, 299u}) {
    const auto source = mixed(5, {3, 1, 2});
    take(*source, 100);
    ASSERT_TRUE(source->skip_to(at));
    EXPECT_EQ(source->position(), at);
    EXPECT_EQ(take(*source, 300 - at), std::vector<std::string>(all.begin() + at, all.end()));
  }
}

TEST(Mix, MixesOfMixes) {
  const auto nested = [] {
    std::vector<WeightedSource> sources;
    sources.push_back({mixed(1, {1, 1}), 1});
    sources.push_back({counting("z"), 1});
    return mix_sources(std::move(sources), 1);
  };
  const auto all = take(*nested(), 200);
  const auto source = nested();
  ASSERT_TRUE(source->skip_to(77));
  EXPECT_EQ(take(*source, 123), std::vector<std::string>(all.begin() + 77, all.end()));
  // The same seed above and below must not tie the choices together: all three occur.
  std::map<char, size_t> counts;
  for (const std::string& where : all) ++counts[where[0]];
  EXPECT_GT(counts['a'], 20u);
  EXPECT_GT(counts['b'], 20u);
  EXPECT_GT(counts['z'], 60u);
}

TEST(Mix, SourcesMaySayHowManyOfTheirSamplesAreReadingExercises) {
  std::vector<WeightedSource> sources;
  sources.push_back({counting("a"), 1});
  sources.push_back({counting("b"), 1, 0.25});
  const auto source = mix_sources(std::move(sources), 1);
  for (int i = 0; i < 50; ++i) {
    const Sample sample = source->next().value();
    EXPECT_EQ(sample.reading_share,
              sample.where[0] == 'b' ? std::optional<double>(0.25) : std::nullopt);
  }
}

TEST(Mix, PassesErrorsOn) {
  std::vector<WeightedSource> sources;
  sources.push_back({std::make_unique<Failing>(), 1});
  const auto source = mix_sources(std::move(sources), 1);
  EXPECT_TRUE(source->next());
  const auto failed = source->next();
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message, "no more");
  EXPECT_EQ(source->position(), 1u);  // nothing was given out
  EXPECT_FALSE(source->skip_to(3));
}

}  // namespace
}  // namespace msa
