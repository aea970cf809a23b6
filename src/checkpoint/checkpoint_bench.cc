// How fast weights are checked and random ones are written, per byte and per number.
#include <benchmark/benchmark.h>

#include <cstring>
#include <filesystem>
#include <vector>

#include "base/test_folder.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/normal_stream.h"

namespace msa {
namespace {

ModelConfig bench_config() {
  ModelConfig config;
  config.layers = 2;
  config.query_heads = 16;
  config.kv_heads = 8;
  config.head_dim = 128;
  config.hidden = 1024;
  config.feed_forward = 3072;
  config.vocabulary = 65'536;
  config.max_positions = 40'960;
  config.rope_theta = 5e6;
  config.tied_embeddings = true;
  config.msa.router_layers = {1};
  return config;
}

// The embedding table, 128 MiB in bf16, from the page cache. Compare with memcpy below.
void check_finite(benchmark::State& state) {
  const TestFolder folder;
  const DType dtype = static_cast<DType>(state.range(0));
  if (!write_random_checkpoint(folder / "model", bench_config(), dtype, 1))
    return state.SkipWithError("cannot write the checkpoint");
  const auto checkpoint = Checkpoint::open(folder / "model");
  if (!checkpoint) return state.SkipWithError(checkpoint.error().message.c_str());
  const std::string name = "model.embed_tokens.weight";
  for (auto _ : state) {
    const auto finite = checkpoint->check_finite(name);
    benchmark::DoNotOptimize(finite.ok());
  }
  state.SetBytesProcessed(
      static_cast<int64_t>(state.iterations() * checkpoint->tensor(name).bytes.size()));
}
BENCHMARK(check_finite)
    ->Arg(static_cast<int>(DType::bf16))
    ->Arg(static_cast<int>(DType::f32))
    ->Unit(benchmark::kMillisecond);

void read_memory(benchmark::State& state) {
  const std::vector<uint64_t> words((128u << 20) / 8, 1);
  for (auto _ : state) {
    uint64_t sum = 0;
    for (const uint64_t word : words) sum += word;
    benchmark::DoNotOptimize(sum);
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * words.size() * 8));
}
BENCHMARK(read_memory)->Unit(benchmark::kMillisecond);

void normal_numbers(benchmark::State& state) {
  std::vector<float> values(1 << 20);
  uint64_t block = 0;
  for (auto _ : state) {
    fill_normal(1, block++, values);
    benchmark::DoNotOptimize(values.data());
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * values.size()));
}
BENCHMARK(normal_numbers);

}  // namespace
}  // namespace msa
