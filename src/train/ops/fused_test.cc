// The fused operations against the composed ones.
#include <gtest/gtest.h>

#include "base/random.h"
#include "train/ops/composed.h"
#include "train/ops/ops.h"

namespace msa::train {
namespace {

using torch::Tensor;
using torch::autograd::variable_list;

// What a comparison allows, relative to the largest element of a tensor.
double tolerance(torch::Dtype dtype) {
  return dtype == torch::kFloat32 ? 1e-5 : 1.0 / 128;
}

void expect_near(const Tensor& actual, const Tensor& expected, double close,
                 const std::string& what) {
  // No gradient is one of zero.
  if (!actual.defined() && !expected.defined()) return;
  if (!actual.defined()) return expect_near(torch::zeros_like(expected), expected, close, what);
  if (!expected.defined()) return expect_near(actual, torch::zeros_like(actual), close, what);
  ASSERT_EQ(actual.sizes(), expected.sizes()) << what;
  ASSERT_EQ(actual.scalar_type(), expected.scalar_type()) << what;
  if (expected.numel() == 0) return;
  const Tensor right = expected.to(torch::kFloat64);
  const double largest = right.abs().max().item<double>();
  const double off = (actual.to(torch::kFloat64) - right).abs().max().item<double>();
  EXPECT_LE(off, close * std::max(largest, 1e-3)) << what;
}

using Operation = std::function<variable_list(const variable_list&, OpsMode)>;

// Values and gradients of every input that is wanted, with the same random weights of outputs.
void expect_same(const Operation& operation, const variable_list& inputs, torch::Dtype dtype,
                 unsigned wanted = ~0u) {
  std::array<variable_list, 2> outputs, gradients;
  for (const int fused : {0, 1}) {
    variable_list leaves, wanted_leaves;
    for (size_t i = 0; i < inputs.size(); ++i) {
      Tensor leaf = inputs[i].defined() ? inputs[i].detach() : Tensor();
      if (leaf.defined() && leaf.is_floating_point() && (wanted >> i & 1)) {
        leaf.set_requires_grad(true);
        wanted_leaves.push_back(leaf);
      }
      leaves.push_back(leaf);
    }
    outputs[fused] = operation(leaves, fused ? OpsMode::automatic : OpsMode::composed);
    torch::manual_seed(17);
    Tensor sum = torch::zeros({});
    for (const Tensor& out : outputs[fused])
      sum = sum + (out.to(torch::kFloat32) * torch::randn(out.sizes())).sum();
    gradients[fused].resize(wanted_leaves.size());
    if (sum.requires_grad())
      gradients[fused] = torch::autograd::grad({sum}, wanted_leaves, {}, {}, false, true);
  }
  ASSERT_EQ(outputs[0].size(), outputs[1].size());
  for (size_t i = 0; i < outputs[0].size(); ++i)
    expect_near(outputs[1][i], outputs[0][i], tolerance(dtype), "output " + std::to_string(i));
  for (size_t i = 0; i < gradients[0].size(); ++i)
    expect_near(gradients[1][i], gradients[0][i], tolerance(dtype),
                "gradient " + std::to_string(i));
}

class FusedOps : public testing::TestWithParam<torch::Dtype> {
 protected:
  Tensor random(at::IntArrayRef sizes) const { return torch::randn(sizes).to(GetParam()); }
  void SetUp() override { torch::manual_seed(3); }
};
INSTANTIATE_TEST_SUITE_P(Types, FusedOps, testing::Values(torch::kFloat32, torch::kBFloat16),
                         [](const auto& instance) {
                           return instance.param == torch::kFloat32 ? "f32" : "bf16";
                         });

SegmentLayout layout_of(Random& random, size_t segments, size_t most_tokens, size_t chunks,
                        bool prefix) {
  SegmentLayout layout;
  layout.starts = {0};
  layout.chunk_starts = {0};
  for (size_t s = 0; s < segments; ++s) {
    layout.starts.push_back(layout.starts.back() +
                            static_cast<int32_t>(random.between(1, most_tokens)));
    layout.sees_prefix.push_back(prefix && random.chance(0.5));
    for (size_t c = 0; c < chunks; ++c)
      if (random.chance(0.5)) layout.chunks.push_back(static_cast<int32_t>(c));
    layout.chunk_starts.push_back(static_cast<int32_t>(layout.chunks.size()));
  }
  return layout;
}

TEST_P(FusedOps, SegmentAttention) {
  Random draw(1);
  for (const int64_t D : {32, 64, 6})
    for (const bool prefix : {false, true})
      for (const bool chunks : {false, true})
        for (const unsigned wanted : {~0u, 1u, 2u, 4u, 0x60u, 0u}) {
          const SegmentLayout layout = layout_of(draw, 5, 70, chunks ? 12 : 0, prefix);
          const int64_t tokens = layout.starts.back(), G = 2, H = 4;
          // Queries and values as slices of wider rows.
          variable_list inputs = {random({tokens, H + 1, D}).slice(1, 1), random({tokens, G, D}),
                                  random({tokens, G + 3, D}).slice(1, 2, 2 + G)};
          inputs.resize(7);
          if (prefix) inputs[3] = random({3, G, D}), inputs[4] = random({3, G, D});
          if (chunks) inputs[5] = random({12, G, D}), inputs[6] = random({12, G, D});
          expect_same(
              [&](const variable_list& in, OpsMode mode) {
                return variable_list{segment_attention(in[0], in[1], in[2],
                                                       {in[3], in[4], in[5], in[6]}, layout, mode)};
              },
              inputs, GetParam(), wanted);
        }
}

TEST_P(FusedOps, AddRmsNorm) {
  for (const torch::Dtype out : {torch::kFloat32, torch::kBFloat16})
    for (const bool adds : {false, true})
      for (const unsigned wanted : {~0u, 1u, 2u, 4u, 0u}) {
        if (!adds && wanted == 4u) continue;
        variable_list inputs = {torch::randn({300, 41}), torch::randn({40}), Tensor()};
        inputs[0] = inputs[0].slice(1, 1);
        if (adds) inputs[2] = random({300, 40});
        const auto type = out == torch::kBFloat16 ? out : GetParam();
        expect_same(
            [&](const variable_list& in, OpsMode mode) {
              const NormOutput made = add_rms_norm(in[0], in[2], in[1], 1e-6, out, mode);
              return variable_list{made.hidden, made.normed};
            },
            inputs, type, wanted);
        for (const bool hidden : {false, true})  // only one of the outputs goes on
          expect_same(
              [&](const variable_list& in, OpsMode mode) {
                const NormOutput made = add_rms_norm(in[0], in[2], in[1], 1e-6, out, mode);
                return variable_list{hidden ? made.hidden : made.normed};
              },
              inputs, type, wanted);
      }
}

TEST_P(FusedOps, HeadNormRotary) {
  for (const int64_t D : {6, 32, 64})
    for (const unsigned wanted : {~0u, 1u, 2u, 0u}) {
      const Tensor positions = torch::randint(0, 300, {77}, torch::kInt32);
      expect_same(
          [&](const variable_list& in, OpsMode mode) {
            return variable_list{head_norm_rotary(in[0], in[1], 1e-6, positions, 10000.0, mode)};
          },
          {random({77, 9, D}).slice(1, 2, 6), torch::randn({D})}, GetParam(), wanted);
    }
}

TEST_P(FusedOps, Swiglu) {
  for (const int64_t F : {1, 24, 100})
    expect_same(
        [&](const variable_list& in, OpsMode mode) { return variable_list{swiglu(in[0], mode)}; },
        {random({50, 2 * F + 3}).slice(1, 1, 2 * F + 1)}, GetParam());
}

TEST_P(FusedOps, PoolRows) {
  for (const std::vector<int32_t>& runs :
       std::vector<std::vector<int32_t>>{{}, {4}, {2, 10}, {0, 64, 64, 70, 90}, {5, 6, 7}})
    expect_same([&](const variable_list& in,
                    OpsMode mode) { return variable_list{pool_rows(in[0], runs, mode)}; },
                {random({90, 7, 6}).slice(1, 1, 5)}, GetParam());
}

// Finite differences in float64: the composed operations, which the fused ones are compared with,
// are right themselves.
void expect_right_gradients(const std::function<Tensor(const variable_list&)>& function,
                            const variable_list& given) {
  variable_list inputs;
  for (const Tensor& input : given)
    inputs.push_back(input.to(torch::kFloat64).clone().set_requires_grad(true));
  const Tensor weights = torch::randn_like(function(inputs));
  const auto loss = [&] { return (function(inputs) * weights).sum(); };
  const variable_list gradients = torch::autograd::grad({loss()}, inputs);
  const torch::NoGradGuard no_gradient;
  for (size_t i = 0; i < inputs.size(); ++i)
    for (int64_t e = 0; e < inputs[i].numel(); ++e) {
      constexpr double kStep = 1e-5;
      Tensor element = inputs[i].view({-1})[e];
      const double before = element.item<double>();
      element.fill_(before + kStep);
      const double above = loss().item<double>();
      element.fill_(before - kStep);
      const double below = loss().item<double>();
      element.fill_(before);
      const double found = gradients[i].reshape({-1})[e].item<double>();
      ASSERT_NEAR(found, (above - below) / (2 * kStep), 1e-6 * std::max(1.0, std::abs(found)))
          << "input " << i << ", element " << e;
    }
}

TEST(ComposedOps, GradientsAreThoseOfFiniteDifferences) {
  torch::manual_seed(5);
  expect_right_gradients(
      [](const variable_list& in) {
        const NormOutput out = add_rms_norm(in[0], in[1], in[2], 1e-3, torch::kFloat64);
        return torch::cat({out.hidden, out.normed});
      },
      {torch::randn({3, 5}), torch::randn({3, 5}), torch::randn({5})});
  const Tensor positions = torch::tensor({0, 7, 30}, torch::kInt32);
  expect_right_gradients(
      [&](const variable_list& in) {
        return head_norm_rotary(in[0], in[1], 1e-3, positions, 100.0);
      },
      {torch::randn({3, 2, 4}), torch::randn({4})});
  expect_right_gradients([](const variable_list& in) { return swiglu(in[0]); },
                         {torch::randn({3, 8})});
  expect_right_gradients(
      [](const variable_list& in) {
        return pool_rows(in[0], {1, 3, 3, 6});
      },
      {torch::randn({7, 2, 2})});
  const SegmentLayout layout = {{0, 4, 7, 9}, {1, 0, 1}, {0, 2, 3, 3}, {2, 0, 2}};
  expect_right_gradients(
      [&](const variable_list& in) {
        return segment_attention(in[0], in[1], in[2], {in[3], in[4], in[5], in[6]}, layout);
      },
      {torch::randn({9, 4, 4}), torch::randn({9, 2, 4}), torch::randn({9, 2, 4}),
       torch::randn({2, 2, 4}), torch::randn({2, 2, 4}), torch::randn({3, 2, 4}),
       torch::randn({3, 2, 4})});
}

TEST(FusedOpsRefuse, ShapesThatDoNotFit) {
  const Tensor x = torch::randn({5, 8});
  EXPECT_THROW(add_rms_norm(x, {}, torch::randn({7}), 1e-6, torch::kFloat32), c10::Error);
  EXPECT_THROW(add_rms_norm(x, x.slice(0, 1), torch::randn({8}), 1e-6, torch::kFloat32),
               c10::Error);
  EXPECT_THROW(swiglu(x.slice(1, 1)), c10::Error);
  const Tensor heads = x.view({5, 2, 4}), weight = torch::ones({4});
  const Tensor positions = torch::zeros({5}, torch::kInt32);
  EXPECT_NO_THROW(head_norm_rotary(heads, weight, 1e-6, positions, 1e4));
  EXPECT_THROW(head_norm_rotary(heads, weight, 1e-6, positions.slice(0, 1), 1e4), c10::Error);
  EXPECT_THROW(head_norm_rotary(heads, weight, 1e-6, positions.to(torch::kInt64), 1e4), c10::Error);
  EXPECT_THROW(head_norm_rotary(x.view({8, 5, 1}), torch::ones({1}), 1e-6, positions, 1e4),
               c10::Error);
  Tensor far = positions.clone();
  far[0] = 1 << 30;
  EXPECT_THROW(head_norm_rotary(heads, weight, 1e-6, far, 1e4), c10::Error);
  EXPECT_THROW(pool_rows(heads, {0, 6}), c10::Error);
  EXPECT_THROW(pool_rows(heads, {3, 2}), c10::Error);
  EXPECT_THROW(pool_rows(heads, {-1, 2}), c10::Error);
}

TEST(SegmentAttentionOp, RefusesWhatDoesNotFit) {
  const Tensor q = torch::randn({5, 4, 8}), k = torch::randn({5, 2, 8});
  const SegmentLayout good = {{0, 2, 5}, {0, 0}, {0, 0, 0}, {}};
  EXPECT_NO_THROW(segment_attention(q, k, k, {}, good));
  EXPECT_THROW(segment_attention(q, torch::randn({5, 3, 8}), k, {}, good), c10::Error);
  EXPECT_THROW(segment_attention(q, k, k.slice(0, 1), {}, good), c10::Error);
  EXPECT_THROW(segment_attention(q, k, k.to(torch::kBFloat16), {}, good), c10::Error);
  EXPECT_THROW(segment_attention(q, k, k, {k, {}, {}, {}}, good), c10::Error);
  for (const SegmentLayout& bad : {SegmentLayout{{0, 2, 6}, {0, 0}, {0, 0, 0}, {}},
                                   SegmentLayout{{0, 4, 2}, {0, 0}, {0, 0, 0}, {}},
                                   SegmentLayout{{0, 5}, {0, 0}, {0, 0, 0}, {}},
                                   SegmentLayout{{0, 2, 5}, {0, 0}, {0, 0, 1}, {0}},
                                   SegmentLayout{{0, 2, 5}, {0, 0}, {0, 1}, {}}})
    EXPECT_THROW(segment_attention(q, k, k, {}, bad), c10::Error);
}

}  // namespace
}  // namespace msa::train
