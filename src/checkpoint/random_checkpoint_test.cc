#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <omp.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "base/test_folder.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/normal_stream.h"

namespace msa {
namespace {

using ::testing::HasSubstr;

std::vector<float> normals(uint64_t seed, uint64_t block, size_t count) {
  std::vector<float> values(count);
  fill_normal(seed, block, values);
  return values;
}

// The share of a normal distribution below x.
double share_below(double x) {
  return 0.5 * std::erfc(-x / std::sqrt(2));
}

TEST(NormalStream, HasTheMomentsOfTheNormalDistribution) {
  constexpr size_t kCount = 4'000'000;
  const std::vector<float> values = normals(1, 2, kCount);
  double power[5] = {};
  for (const double x : values)
    for (int p = 1; p <= 4; ++p) power[p] += std::pow(x, p);
  // Five standard errors of each mean: the variance of x^p is E x^2p - (E x^p)^2.
  const double root = std::sqrt(static_cast<double>(kCount));
  EXPECT_NEAR(power[1] / kCount, 0, 5 / root);
  EXPECT_NEAR(power[2] / kCount, 1, 5 * std::sqrt(2.0) / root);
  EXPECT_NEAR(power[3] / kCount, 0, 5 * std::sqrt(15.0) / root);
  EXPECT_NEAR(power[4] / kCount, 3, 5 * std::sqrt(96.0) / root);
}

TEST(NormalStream, HasItsShapeEverywhere) {
  constexpr size_t kCount = 2'000'000;
  std::vector<float> values = normals(3, 4, kCount);
  std::sort(values.begin(), values.end());
  // Kolmogorov and Smirnov: 1.95 / sqrt(n) is passed once in a thousand times.
  double distance = 0;
  for (size_t i = 0; i < kCount; ++i)
    distance = std::max(distance, std::abs(share_below(values[i]) - (i + 0.5) / kCount));
  EXPECT_LT(distance, 1.95 / std::sqrt(static_cast<double>(kCount)));
  // The tail, which is made in another way, on both sides: within five deviations of its count.
  for (const double edge : {3.0, 3.6541528853610088, 4.0}) {
    const double expected = kCount * share_below(-edge);
    const auto below =
        std::count_if(values.begin(), values.end(), [&](float x) { return x < -edge; });
    const auto above =
        std::count_if(values.begin(), values.end(), [&](float x) { return x > edge; });
    EXPECT_NEAR(static_cast<double>(below), expected, 5 * std::sqrt(expected)) << edge;
    EXPECT_NEAR(static_cast<double>(above), expected, 5 * std::sqrt(expected)) << edge;
  }
}

TEST(NormalStream, NumbersAreUnrelated) {
  constexpr size_t kCount = 500'000;
  const auto correlation = [](const std::vector<float>& a, const std::vector<float>& b,
                              size_t lag) {
    double sum = 0;
    for (size_t i = lag; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i - lag];
    return std::abs(sum) / std::sqrt(static_cast<double>(a.size()));  // about |N(0, 1)|
  };
  const std::vector<float> base = normals(5, 6, kCount);
  for (const size_t lag : {1, 2, 3, 16, 256}) EXPECT_LT(correlation(base, base, lag), 5) << lag;
  EXPECT_LT(correlation(base, normals(5, 7, kCount), 0), 5);  // the next block
  EXPECT_LT(correlation(base, normals(6, 6, kCount), 0), 5);  // the next seed
  EXPECT_LT(correlation(base, normals(6, 5, kCount), 0), 5);  // both exchanged
  EXPECT_NE(normals(5, 6, 10), normals(6, 6, 10));
}

TEST(NormalStream, ShorterIsTheBeginningOfLonger) {
  const std::vector<float> values = normals(8, 9, 1000);
  for (const size_t count : {0, 1, 17, 999})
    EXPECT_EQ(normals(8, 9, count), std::vector<float>(values.begin(), values.begin() + count));
}

// ---------------------------------------------------------------------------------------------

// Large enough for several blocks and more than one batch of its widest tensor.
ModelConfig test_config() {
  ModelConfig config;
  config.layers = 2;
  config.query_heads = 4;
  config.kv_heads = 2;
  config.head_dim = 32;
  config.hidden = 96;
  config.feed_forward = 512;
  config.vocabulary = 22'001;
  config.max_positions = 4096;
  config.rope_theta = 1e6;
  config.tied_embeddings = true;
  config.msa.router_layers = {1};
  config.note = "random weights";
  return config;
}

std::string weights_of(uint64_t seed, DType dtype, int threads, const ModelConfig& config) {
  const int before = omp_get_max_threads();
  omp_set_num_threads(threads);
  const TestFolder folder;
  const auto written = write_random_checkpoint(folder / "model", config, dtype, seed);
  omp_set_num_threads(before);
  EXPECT_TRUE(written) << written.error().message;
  return TestFolder::get(folder / "model/model.safetensors");
}

TEST(RandomCheckpoint, IsACheckpoint) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const bool tied : {true, false}) {
      ModelConfig config = test_config();
      config.tied_embeddings = tied;
      config.msa.decouple_router = tied;
      const TestFolder folder;
      const auto written = write_random_checkpoint(folder / "a/b", config, dtype, 1);
      ASSERT_TRUE(written) << written.error().message;
      const auto checkpoint = Checkpoint::open(folder / "a/b");
      ASSERT_TRUE(checkpoint) << checkpoint.error().message;
      EXPECT_EQ(checkpoint->dtype(), dtype);
      EXPECT_EQ(checkpoint->config().note, "random weights");
      EXPECT_EQ(checkpoint->config().msa.router_layers, config.msa.router_layers);
      for (const ExpectedTensor& expected : expected_tensors(config))
        EXPECT_TRUE(checkpoint->check_finite(expected.name));
      EXPECT_THAT(TestFolder::get(folder / "a/b/config.json"),
                  HasSubstr(dtype == DType::f32 ? "\"float32\"" : "\"bfloat16\""));
    }
}

TEST(RandomCheckpoint, TensorsHaveTheirDistributions) {
  const TestFolder folder;
  const ModelConfig config = test_config();
  ASSERT_TRUE(write_random_checkpoint(folder / "model", config, DType::f32, 2));
  const auto checkpoint = Checkpoint::open(folder / "model");
  ASSERT_TRUE(checkpoint);
  for (const ExpectedTensor& expected : expected_tensors(config)) {
    const auto values = checkpoint->tensor(expected.name).matrix().as<const float>();
    const size_t count = values.rows * values.cols;
    double sum = 0, squares = 0;
    for (size_t i = 0; i < count; ++i) {
      sum += values.data[i];
      squares += static_cast<double>(values.data[i]) * values.data[i];
    }
    const double n = static_cast<double>(count), mean = sum / n;
    if (expected.shape.size() == 1) {
      EXPECT_EQ(mean, 1) << expected.name;
      EXPECT_EQ(squares / n, 1) << expected.name;
      continue;
    }
    const bool residual =
        expected.name.ends_with("o_proj.weight") || expected.name.ends_with("down_proj.weight");
    const double deviation = residual ? 0.02 / std::sqrt(2.0 * config.layers) : 0.02;
    EXPECT_NEAR(mean, 0, 5 * deviation / std::sqrt(n)) << expected.name;
    EXPECT_NEAR(std::sqrt(squares / n), deviation, 5 * deviation / std::sqrt(2 * n))
        << expected.name;
  }
}

TEST(RandomCheckpoint, NoTwoTensorsAreAlike) {
  const TestFolder folder;
  const ModelConfig config = test_config();
  ASSERT_TRUE(write_random_checkpoint(folder / "model", config, DType::f32, 2));
  const auto checkpoint = Checkpoint::open(folder / "model");
  ASSERT_TRUE(checkpoint);
  std::set<std::vector<float>> beginnings;
  size_t matrices = 0;
  for (const ExpectedTensor& expected : expected_tensors(config))
    if (expected.shape.size() == 2) {
      const auto values = checkpoint->tensor(expected.name).matrix().as<const float>();
      beginnings.insert({values.data, values.data + 4});
      ++matrices;
    }
  EXPECT_EQ(beginnings.size(), matrices);
}

TEST(RandomCheckpoint, IsTheSameForAnyNumberOfThreads) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const std::string one = weights_of(7, dtype, 1, test_config());
    for (const int threads : {2, 3, 8})
      EXPECT_TRUE(weights_of(7, dtype, threads, test_config()) == one) << threads;
    EXPECT_FALSE(weights_of(8, dtype, 2, test_config()) == one);
  }
}

TEST(RandomCheckpoint, Bf16IsTheRoundedF32) {
  const TestFolder folder;
  const ModelConfig config = test_config();
  ASSERT_TRUE(write_random_checkpoint(folder / "wide", config, DType::f32, 3));
  ASSERT_TRUE(write_random_checkpoint(folder / "narrow", config, DType::bf16, 3));
  const auto wide = Checkpoint::open(folder / "wide"), narrow = Checkpoint::open(folder / "narrow");
  ASSERT_TRUE(wide && narrow);
  for (const ExpectedTensor& expected : expected_tensors(config)) {
    const auto a = wide->tensor(expected.name).matrix().as<const float>();
    const auto b = narrow->tensor(expected.name).matrix().as<const bf16>();
    for (size_t i = 0; i < a.rows * a.cols; ++i)
      ASSERT_EQ(bf16::from_float(a.data[i]).bits, b.data[i].bits) << expected.name << " " << i;
  }
}

TEST(RandomCheckpoint, RefusesToOverwrite) {
  const ModelConfig config = test_config();
  for (const char* name : {"config.json", "model.safetensors", "model.safetensors.index.json"}) {
    const TestFolder folder;
    folder.put(name, "precious");
    const auto written = write_random_checkpoint(folder.path(), config, DType::bf16, 1);
    ASSERT_FALSE(written) << name;
    EXPECT_EQ(written.error().code, Code::invalid_argument);
    EXPECT_THAT(written.error().message, HasSubstr((folder / name).string()));
    EXPECT_EQ(folder.entries(), 1u);
    EXPECT_EQ(TestFolder::get(folder / name), "precious");
  }
}

TEST(RandomCheckpoint, RefusesWhatCouldNotBeOpened) {
  const TestFolder folder;
  const auto refuse = [&](ModelConfig config, DType dtype, const std::string& part) {
    const auto written = write_random_checkpoint(folder / "model", config, dtype, 1);
    ASSERT_FALSE(written) << part;
    EXPECT_EQ(written.error().code, Code::invalid_argument) << written.error().message;
    EXPECT_THAT(written.error().message, HasSubstr(part));
    EXPECT_EQ(folder.entries(), 0u);
  };
  refuse(test_config(), DType::f16, "F16");
  refuse(test_config(), DType::i64, "I64");
  ModelConfig config = test_config();
  config.kv_heads = 3;
  refuse(config, DType::f32, "num_attention_heads");
  config = test_config();
  config.msa.router_layers = {2};
  refuse(config, DType::f32, "router_layer_idx");
  config = test_config();
  config.head_dim = 0;
  refuse(config, DType::f32, "head_dim");
  config = test_config();
  config.vocabulary = SIZE_MAX;
  refuse(config, DType::f32, "vocab_size");
}

TEST(RandomCheckpoint, FailsWhereNoFolderCanBe) {
  const TestFolder folder;
  const auto below = folder.put("file", "x") / "model";
  EXPECT_FALSE(write_random_checkpoint(below, test_config(), DType::f32, 1));
}

TEST(RandomCheckpoint, LeavesNothingWhenTheDiskIsFull) {
  const TestFolder folder;
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{1 << 20, before.rlim_max};  // the file would be larger
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  const auto written = write_random_checkpoint(folder.path(), test_config(), DType::f32, 1);
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, handler);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Code::no_space);
  EXPECT_EQ(folder.entries(), 0u);
}

}  // namespace
}  // namespace msa
