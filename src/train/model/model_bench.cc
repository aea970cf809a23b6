// Speed of one training step (forward, losses, backward) of a 6M-parameter model: half of the
// tokens are documents of 70, half queries of 150.
#include <benchmark/benchmark.h>

#include "train/model/model.h"
#include "train/model/test_batch.h"

namespace msa::train {
namespace {

ModelConfig bench_config() {
  ModelConfig config = small_config();
  config.layers = 6;
  config.query_heads = 4;
  config.kv_heads = 4;
  config.head_dim = 64;
  config.hidden = 256;
  config.feed_forward = 768;
  config.vocabulary = 4096;
  config.max_positions = 4096;
  config.msa.router_layers = {3, 4, 5};
  config.msa.chunk_size = 64;
  config.msa.top_k = 4;
  return config;
}

// Labels on the last 20 tokens of each query, as number and answer have.
Batch bench_batch(size_t tokens) {
  BatchShape shape;
  shape.vocabulary = 4096;
  shape.documents = tokens / 2 / 70;
  shape.queries = tokens / 2 / 150;
  shape.min_document = shape.max_document = 70;
  shape.min_query = shape.max_query = 150;
  Batch batch = random_batch(shape, 1);
  for (size_t t = 0; t < batch.labels.size(); ++t)
    if (t % 150 < 130) {
      batch.labels[t] = -1;
      batch.label_weights[t] = 0;
    }
  return batch;
}

void step(benchmark::State& state, bool backward) {
  torch::manual_seed(1);
  const auto model = Model::create(bench_config(), 1);
  const Batch batch = bench_batch(static_cast<size_t>(state.range(0)));
  StepOptions options;
  options.top_k = 4;
  options.compute = state.range(1) != 0 ? torch::kBFloat16 : torch::kFloat32;
  options.ops = state.range(2) != 0 ? OpsMode::automatic : OpsMode::composed;
  options.checkpoint_activations = state.range(3) != 0;
  for (auto _ : state) {
    const auto result = (*model)->step(batch, options);
    if (!result) {
      state.SkipWithError(result.error().message.c_str());
      return;
    }
    if (backward) result->loss.backward();
  }
  state.counters["tokens/s"] = benchmark::Counter(static_cast<double>(batch.tokens()),
                                                  benchmark::Counter::kIsIterationInvariantRate);
}

BENCHMARK_CAPTURE(step, forward, false)
    ->ArgNames({"tokens", "bf16", "fused", "recompute"})
    ->Args({20000, 1, 1, 0})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(step, forward_backward, true)
    ->ArgNames({"tokens", "bf16", "fused", "recompute"})
    ->Args({20000, 1, 1, 0})
    ->Args({20000, 1, 1, 1})
    ->Args({20000, 0, 1, 0})
    ->Args({20000, 1, 0, 0})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace msa::train
