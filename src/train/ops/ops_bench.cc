// The differentiable operations, fused and composed, forward and backward, at the shapes of a small
// model's training step: 20,000 tokens, half of them documents of 70, half queries of 150 that see
// a prefix of 3 and 32 chunks; d 256, 4 heads of 64, feed-forward 768, bfloat16.
#include <benchmark/benchmark.h>

#include <functional>

#include "train/ops/ops.h"

namespace msa::train {
namespace {

using torch::Tensor;
using torch::autograd::variable_list;

constexpr int64_t kTokens = 20000, kHidden = 256, kHeads = 4, kHeadDim = 64, kFeedForward = 768;
constexpr double kEps = 1e-6;

Tensor activations(at::IntArrayRef sizes) {
  return torch::randn(sizes).to(torch::kBFloat16).set_requires_grad(true);
}
Tensor floats(at::IntArrayRef sizes) {
  return torch::randn(sizes).set_requires_grad(true);
}

// Times the operation, then its backward pass with the gradients 1, if asked for.
void measure(benchmark::State& state, const std::function<variable_list(OpsMode)>& operation,
             const variable_list& inputs) {
  const OpsMode mode = state.range(0) != 0 ? OpsMode::automatic : OpsMode::composed;
  const bool backward = state.range(1) != 0;
  variable_list gradients;
  for (const Tensor& out : operation(mode)) gradients.push_back(torch::ones_like(out));
  for (auto _ : state) {
    const variable_list outputs = operation(mode);
    if (backward) benchmark::DoNotOptimize(torch::autograd::grad(outputs, inputs, gradients));
  }
}

void add_rms_norm_op(benchmark::State& state) {
  const Tensor hidden = floats({kTokens, kHidden}), weight = floats({kHidden});
  const Tensor delta = activations({kTokens, kHidden});
  measure(state,
          [&](OpsMode mode) {
            const NormOutput out =
                add_rms_norm(hidden, delta, weight, kEps, torch::kBFloat16, mode);
            return variable_list{out.hidden, out.normed};
          },
          {hidden, delta, weight});
}

void head_norm_rotary_op(benchmark::State& state) {
  const Tensor x = activations({kTokens, kHeads, kHeadDim}), weight = floats({kHeadDim});
  const Tensor positions = torch::arange(kTokens).remainder(400).to(torch::kInt32);
  measure(state,
          [&](OpsMode mode) {
            return variable_list{head_norm_rotary(x, weight, kEps, positions, 1e6, mode)};
          },
          {x, weight});
}

void swiglu_op(benchmark::State& state) {
  const Tensor gate_up = activations({kTokens, 2 * kFeedForward});
  measure(state, [&](OpsMode mode) { return variable_list{swiglu(gate_up, mode)}; }, {gate_up});
}

void pool_rows_op(benchmark::State& state) {
  const Tensor x = activations({kTokens, kHeads, kHeadDim});
  std::vector<int32_t> runs;
  for (int32_t t = 0; t <= kTokens; t += 35) runs.push_back(t);
  measure(state, [&](OpsMode mode) { return variable_list{pool_rows(x, runs, mode)}; }, {x});
}

void segment_attention_op(benchmark::State& state) {
  constexpr int32_t kQueries = 67, kDocuments = 142, kChunks = 284, kSeen = 32;
  SegmentLayout layout;
  layout.starts = layout.chunk_starts = {0};
  for (int32_t s = 0; s < kQueries + kDocuments; ++s) {
    const bool query = s < kQueries;
    layout.starts.push_back(layout.starts.back() + (query ? 150 : 70));
    layout.sees_prefix.push_back(query);
    for (int32_t c = 0; query && c < kSeen; ++c) layout.chunks.push_back((s * 3 + c) % kChunks);
    layout.chunk_starts.push_back(static_cast<int32_t>(layout.chunks.size()));
  }
  const int64_t tokens = layout.starts.back();
  variable_list in;
  for (const int64_t rows :
       {tokens, tokens, tokens, int64_t{3}, int64_t{3}, int64_t{kChunks}, int64_t{kChunks}})
    in.push_back(activations({rows, kHeads, kHeadDim}));
  measure(
      state,
      [&](OpsMode mode) {
        return variable_list{
            segment_attention(in[0], in[1], in[2], {in[3], in[4], in[5], in[6]}, layout, mode)};
      },
      in);
}

void modes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"fused", "backward"})->Unit(benchmark::kMillisecond)->UseRealTime();
  for (const int backward : {0, 1})
    for (const int fused : {1, 0}) bench->Args({fused, backward});
}
BENCHMARK(add_rms_norm_op)->Apply(modes);
BENCHMARK(head_norm_rotary_op)->Apply(modes);
BENCHMARK(swiglu_op)->Apply(modes);
BENCHMARK(pool_rows_op)->Apply(modes);
BENCHMARK(segment_attention_op)->Apply(modes);

}  // namespace
}  // namespace msa::train
