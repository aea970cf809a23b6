#include "train/loop/muon.h"

#include <gtest/gtest.h>

#include <cmath>

#include "train/loop/optimizer.h"

namespace msa::train {
namespace {

using torch::Tensor;

class Orthogonalised : public testing::TestWithParam<std::pair<int64_t, int64_t>> {};

// The singular vectors stay, the values come near 1; those far below the largest are on their way.
TEST_P(Orthogonalised, KeepsDirectionsAndEvensOutSizes) {
  torch::manual_seed(3);
  const auto [rows, columns] = GetParam();
  const Tensor x = torch::randn({rows, columns});
  const auto [u, s, v] = torch::linalg_svd(x, /*full_matrices=*/false);
  const Tensor y = orthogonalised(x, torch::kFloat32);
  ASSERT_EQ(y.sizes(), x.sizes());
  const Tensor among = torch::mm(torch::mm(u.t(), y), v.t());  // y in the directions of x
  const Tensor sizes = among.diagonal();
  for (int64_t i = 0; i < s.size(0); ++i)
    EXPECT_GT(sizes[i].item<double>(), s[i].item<double>() > 0.02 * s[0].item<double>() ? 0.5 : 0)
        << s[i].item<double>() / s[0].item<double>();
  EXPECT_LT(sizes.max().item<double>(), 1.3);
  EXPECT_LT((among - torch::diag(sizes)).abs().max().item<double>(), 1e-3);
  // Size does not matter.
  EXPECT_LT((orthogonalised(x * 1e-6, torch::kFloat32) - y).abs().max().item<double>(), 1e-3);
  const Tensor half = orthogonalised(x, torch::kBFloat16);
  EXPECT_EQ(half.scalar_type(), torch::kFloat32);
  EXPECT_LT((half - y).norm().item<double>(), 0.1 * y.norm().item<double>());
}
INSTANTIATE_TEST_SUITE_P(Shapes, Orthogonalised,
                         testing::Values(std::pair{32, 32}, std::pair{16, 48}, std::pair{48, 16},
                                         std::pair{1, 8}));

TEST(Muon, OneUpdateIsTheFormula) {
  torch::manual_seed(4);
  const Tensor start = torch::randn({12, 20}), before = torch::randn({12, 20}),
               gradient = torch::randn({12, 20});
  const Tensor values = start.clone(), mean = before.clone();
  muon_update(values, gradient, mean,
              {.learning_rate = 0.01, .momentum = 0.9, .weight_decay = 0.5, .gradient_scale = 0.25},
              torch::kFloat32);
  const Tensor expected_mean = before * 0.9 + gradient * 0.25 * 0.1;
  EXPECT_LT((mean - expected_mean).abs().max().item<double>(), 1e-6);
  const Tensor direction = expected_mean * 0.9 + gradient * 0.25 * 0.1;
  const Tensor expected = start * (1 - 0.01 * 0.5) -
                          0.01 * 0.2 * std::sqrt(20.0) * orthogonalised(direction, torch::kFloat32);
  EXPECT_LT((values - expected).abs().max().item<double>(), 1e-5);
}

TEST(Muon, MovesElementsAboutAsFarAsAdamW) {
  torch::manual_seed(5);
  const Tensor values = torch::zeros({64, 200});
  muon_update(values, torch::randn({64, 200}), torch::zeros({64, 200}), {.learning_rate = 1},
              torch::kFloat32);
  EXPECT_NEAR(values.square().mean().sqrt().item<double>(), 0.2, 0.05);
}

TEST(Muon, OfAZeroGradientNothingMoves) {
  const Tensor values = torch::ones({4, 6});
  muon_update(values, torch::zeros({4, 6}), torch::zeros({4, 6}), {.learning_rate = 1},
              torch::kFloat32);
  EXPECT_TRUE(torch::equal(values, torch::ones({4, 6})));
}

// Layers' matrices go by Muon; all others by AdamW, as without it.
TEST(Muon, IsForTheMatricesOfLayers) {
  torch::manual_seed(6);
  const std::vector<std::string> names = {
      "model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight",
      "model.layers.0.self_attn.q_norm.weight", "lm_head.weight"};
  const auto updated = [&](const UpdateRule& rule) {
    torch::manual_seed(7);
    std::vector<std::pair<std::string, Tensor>> parameters;
    for (const std::string& name : names)
      parameters.emplace_back(
          name, (name.find("norm") == std::string::npos ? torch::randn({6, 6}) : torch::ones({6}))
                    .set_requires_grad(true));
    Optimizer optimizer(parameters, {});
    for (auto& [name, values] : parameters) values.mutable_grad() = torch::randn(values.sizes());
    optimizer.update(rule, 1);
    return parameters;
  };
  const auto adamw = updated({.learning_rate = 0.1});
  const auto muon = updated({.learning_rate = 0.1, .kind = OptimizerKind::muon});
  const auto gains = updated({.learning_rate = 0.1, .head_norm_rate = 3});
  const auto embeddings = updated({.learning_rate = 0.1, .embedding_rate = 5});
  for (size_t i = 0; i < names.size(); ++i) {
    const bool embedding = i == 0, matrix = i == 1, gain = i == 2;
    EXPECT_EQ(torch::equal(adamw[i].second, muon[i].second), !matrix) << names[i];
    EXPECT_EQ(torch::equal(adamw[i].second, gains[i].second), !gain) << names[i];
    EXPECT_EQ(torch::equal(adamw[i].second, embeddings[i].second), !embedding) << names[i];
  }
  // Of one step of AdamW each gain moves by the learning rate, here by three.
  EXPECT_NEAR((gains[2].second - 1).abs().mean().item<double>(), 0.3, 1e-4);
  // Embeddings learn faster, and decay as before: each moves by 0.5, or by 0.1.
  EXPECT_NEAR((embeddings[0].second - adamw[0].second).abs().mean().item<double>(), 0.4, 1e-4);
}

// AdamW's first step after many of Muon is one of AdamW: the squares it divides by are those of all
// steps, not of its first alone.
TEST(Muon, AdamWCanFollow) {
  torch::manual_seed(8);
  std::vector<std::pair<std::string, Tensor>> parameters;
  parameters.emplace_back("model.layers.0.mlp.up_proj.weight",
                          torch::randn({32, 32}).set_requires_grad(true));
  Optimizer optimizer(parameters, {});
  Tensor& values = parameters[0].second;
  const auto step = [&](OptimizerKind kind) {
    values.mutable_grad() = 0.01 * torch::randn(values.sizes());
    optimizer.update({.learning_rate = 0.001, .kind = kind}, 0);
  };
  for (int i = 0; i < 300; ++i) step(OptimizerKind::muon);
  const Tensor before = values.detach().clone();
  step(OptimizerKind::adamw);
  EXPECT_LT((values.detach() - before).abs().max().item<double>(), 0.005);
}

}  // namespace
}  // namespace msa::train
