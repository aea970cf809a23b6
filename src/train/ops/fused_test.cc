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
  ASSERT_EQ(actual.defined(), expected.defined()) << what;
  if (!actual.defined()) return;
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
    if (!wanted_leaves.empty())
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
