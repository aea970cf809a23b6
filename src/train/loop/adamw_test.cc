#include "train/loop/adamw.h"

#include <gtest/gtest.h>
#include <omp.h>
#include <torch/torch.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "train/loop/optimizer.h"

namespace msa::train {
namespace {

std::vector<float> random_floats(size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

struct Buffers {
  explicit Buffers(size_t count) : values(random_floats(count, 1)), mean(count), square(count) {}
  std::vector<float> values, mean, square;
  void update(const std::vector<float>& gradient, const AdamWStep& step) {
    adamw_update(values, gradient, mean, square, step);
  }
};

// Around the vector and block edges.
TEST(AdamW, EqualsTheFormulaInDouble) {
  for (const size_t count : {1u, 3u, 17u, 16383u, 16385u, 100'000u}) {
    Buffers buffers(count);
    std::vector<double> values(buffers.values.begin(), buffers.values.end()), mean(count),
        square(count);
    AdamWStep step{.learning_rate = 0.01,
                   .beta1 = 0.9,
                   .beta2 = 0.95,
                   .epsilon = 1e-8,
                   .weight_decay = 0.1,
                   .gradient_scale = 0.5};
    for (step.update = 1; step.update <= 4; ++step.update) {
      const std::vector<float> gradient = random_floats(count, 10 + step.update);
      buffers.update(gradient, step);
      const auto n = static_cast<double>(step.update);
      for (size_t i = 0; i < count; ++i) {
        const double g = 0.5 * gradient[i];
        mean[i] = 0.9 * mean[i] + 0.1 * g;
        square[i] = 0.95 * square[i] + 0.05 * g * g;
        const double m = mean[i] / (1 - std::pow(0.9, n)), v = square[i] / (1 - std::pow(0.95, n));
        values[i] = values[i] * (1 - 0.01 * 0.1) - 0.01 * m / (std::sqrt(v) + 1e-8);
      }
    }
    for (size_t i = 0; i < count; ++i)
      ASSERT_NEAR(buffers.values[i], values[i], 3e-6) << i << " of " << count;
  }
}

TEST(AdamW, AgreesWithLibtorch) {
  torch::manual_seed(3);
  const torch::Tensor start = torch::randn({40, 50});
  torch::Tensor theirs = start.clone().set_requires_grad(true);
  torch::optim::AdamW reference(
      {theirs}, torch::optim::AdamWOptions(1e-2).betas({0.9, 0.95}).eps(1e-8).weight_decay(0.05));
  torch::Tensor ours = start.clone().set_requires_grad(true);
  OptimizerOptions options;
  options.weight_decay = 0.05;
  options.clip = 0;
  Optimizer optimizer({{"w", ours}}, options);
  for (int i = 0; i < 20; ++i) {
    const torch::Tensor gradient = torch::randn({40, 50});
    theirs.mutable_grad() = gradient.clone();
    ours.mutable_grad() = gradient.clone();
    reference.step();
    optimizer.update({1e-2}, optimizer.gradient_norm());
  }
  EXPECT_LT((theirs - ours).abs().max().item<double>(), 2e-6);
  EXPECT_EQ(optimizer.updates(), 20u);
}

TEST(AdamW, ThreadsDoNotChangeABit) {
  const std::vector<float> gradient = random_floats(200'001, 5);
  AdamWStep step{.learning_rate = 0.01};
  const int threads = omp_get_max_threads();
  std::vector<Buffers> results;
  std::vector<double> norms;
  for (const int count : {1, 2, 3}) {
    omp_set_num_threads(count);
    results.emplace_back(gradient.size()).update(gradient, step);
    norms.push_back(sum_of_squares(gradient));
  }
  omp_set_num_threads(threads);
  for (size_t i = 1; i < results.size(); ++i) {
    EXPECT_EQ(std::memcmp(results[0].values.data(), results[i].values.data(),
                          gradient.size() * sizeof(float)),
              0);
    EXPECT_EQ(norms[0], norms[i]);
  }
}

TEST(SumOfSquares, IsExactOnSmallWholeNumbersAndNotFiniteIfAValueIsNot) {
  for (const size_t count : {0u, 1u, 7u, 8u, 9u, 16384u, 40'000u}) {
    std::vector<float> values(count);
    double expected = 0;
    for (size_t i = 0; i < count; ++i) {
      values[i] = static_cast<float>(i % 11) - 5;
      expected += values[i] * values[i];
    }
    EXPECT_EQ(sum_of_squares(values), expected) << count;
    for (const float bad : {std::numeric_limits<float>::infinity(), std::nanf("")}) {
      if (count == 0) continue;
      values[count - 1] = bad;
      EXPECT_FALSE(std::isfinite(sum_of_squares(values)));
    }
  }
}

TEST(Optimizer, ClipsToTheNormAndLeavesWhatHasNoGradient) {
  torch::Tensor a = torch::zeros({2}).set_requires_grad(true);
  torch::Tensor b = torch::ones({3, 3}).set_requires_grad(true);
  OptimizerOptions options;
  options.beta1 = options.beta2 = 0;
  options.epsilon = 1;  // so that the step grows with the gradient
  options.clip = 1;
  options.weight_decay = 0.5;
  Optimizer optimizer({{"a", a}, {"b", b}}, options);
  a.mutable_grad() = torch::tensor({3.f, 4.f});
  EXPECT_DOUBLE_EQ(optimizer.gradient_norm(), 5);
  optimizer.update({1}, 5);
  // The gradient as clipped is (0.6, 0.8); a step is g / (|g| + 1); vectors do not decay.
  EXPECT_NEAR(a[0].item<float>(), -0.6 / 1.6, 1e-6);
  EXPECT_NEAR(a[1].item<float>(), -0.8 / 1.8, 1e-6);
  EXPECT_TRUE(torch::equal(b.detach(), torch::ones({3, 3})));
  optimizer.drop_gradients();
  EXPECT_FALSE(a.grad().defined());
  EXPECT_EQ(optimizer.gradient_norm(), 0);
}

TEST(Optimizer, KeepsTheMomentsOfWhatItKnewAndBeginsNewOnes) {
  const torch::Tensor kept = torch::ones({2}).set_requires_grad(true);
  const torch::Tensor gone = torch::ones({2}).set_requires_grad(true);
  const torch::Tensor added = torch::ones({2}).set_requires_grad(true);
  Optimizer optimizer({{"gone", gone}, {"old name", kept}}, OptimizerOptions{});
  kept.mutable_grad() = torch::tensor({0.1f, 0.2f});
  optimizer.update({0.1}, 0.3);
  const torch::Tensor mean = optimizer.slots()[1].mean.clone();
  const torch::Tensor square = optimizer.slots()[1].square.clone();
  ASSERT_GT(square.min().item<float>(), 0);
  optimizer.follow({{"new name", kept}, {"added", added}});
  ASSERT_EQ(optimizer.slots().size(), 2u);
  EXPECT_EQ(optimizer.slots()[0].name, "new name");
  EXPECT_TRUE(torch::equal(optimizer.slots()[0].mean, mean));
  EXPECT_TRUE(torch::equal(optimizer.slots()[0].square, square));
  EXPECT_EQ(optimizer.slots()[1].mean.abs().max().item<float>(), 0);
  EXPECT_EQ(optimizer.updates(), 1u);
}

TEST(Optimizer, MatricesDecay) {
  torch::Tensor matrix = torch::ones({2, 2}).set_requires_grad(true);
  torch::Tensor vector = torch::ones({2}).set_requires_grad(true);
  OptimizerOptions options;
  options.weight_decay = 0.5;
  Optimizer optimizer({{"m", matrix}, {"v", vector}}, options);
  matrix.mutable_grad() = torch::zeros({2, 2});
  vector.mutable_grad() = torch::zeros({2});
  optimizer.update({0.1}, 0);
  EXPECT_NEAR(matrix[0][0].item<float>(), 0.95, 1e-6);
  EXPECT_EQ(vector[0].item<float>(), 1);
}

}  // namespace
}  // namespace msa::train
