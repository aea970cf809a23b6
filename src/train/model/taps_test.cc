#include "train/model/taps.h"

#include <gtest/gtest.h>

namespace msa::train {
namespace {

using torch::Tensor;

// Gradients by libtorch's own slicing.
TEST(Taps, GradientsAddUp) {
  torch::manual_seed(1);
  const Pooling pooling = make_pooling({4, 7, 8, 10}, torch::kCPU);
  const Tensor rows = torch::tensor({1, 5, 9}, torch::kInt64);
  const Tensor a = torch::randn({10, 2, 3}), b = torch::randn({2, 2, 3}),
               c = torch::randn({3, 2, 3}), d = torch::randn({3, 2, 3});
  for (const auto type : {torch::kFloat32, torch::kBFloat16})
    for (const int used : {15, 1, 14, 2, 4, 8}) {  // which of the four are read
      const Tensor x = torch::randn({10, 2, 3}).to(type).set_requires_grad(true);
      const Taps taps = tap(x, 2, &rows, &pooling, OpsMode::automatic);
      const Tensor y = x.detach().to(torch::kFloat32).set_requires_grad(true);
      const Tensor pooled =
          torch::stack({y.slice(0, 4, 7).mean(0), y[7], y.slice(0, 8, 10).mean(0)});
      Tensor got = torch::zeros({}), wanted = torch::zeros({});
      const auto read = [&](int bit, const Tensor& tapped, const Tensor& own, const Tensor& by) {
        EXPECT_TRUE(torch::allclose(tapped.to(torch::kFloat32), own, 1e-6, 1e-6));
        if ((used & bit) == 0) return;
        got = got + (tapped.to(torch::kFloat32) * by).sum();
        wanted = wanted + (own * by).sum();
      };
      read(1, taps.all, y, a);
      read(2, taps.prefix, y.slice(0, 0, 2), b);
      read(4, taps.picked, y.index_select(0, rows), c);
      read(8, taps.pooled, pooled, d);
      got.backward();
      wanted.backward();
      const double tolerance = type == torch::kFloat32 ? 1e-6 : 3e-2;
      EXPECT_TRUE(torch::allclose(x.grad().to(torch::kFloat32), y.grad(), tolerance, tolerance))
          << used;
    }
}

TEST(Taps, AGradientThatOthersReadIsLeftAlone) {
  const Tensor x = torch::ones({4, 1, 1}).set_requires_grad(true);
  const Taps taps = tap(x, 1, nullptr, nullptr, OpsMode::automatic);
  const Tensor gradient = torch::ones({4, 1, 1});
  torch::autograd::backward({taps.all, taps.prefix}, {gradient, torch::ones({1, 1, 1})});
  EXPECT_TRUE(torch::equal(gradient, torch::ones({4, 1, 1})));
  EXPECT_EQ(x.grad()[0].item<float>(), 2);
  EXPECT_EQ(x.grad()[1].item<float>(), 1);
  EXPECT_FALSE(taps.picked.defined() || taps.pooled.defined());
}

}  // namespace
}  // namespace msa::train
