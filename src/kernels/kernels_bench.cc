// Every operation of the CPU backend with the shapes of a 0.6B model (d 1024, feed-forward 3072, H
// 16, G 8, D 128, vocabulary 151936), and routing with those of a 4B one (H 32). The counter
// "share" is the share of what limits the operation, measured in this run: of the memory bandwidth
// where it says "of_bandwidth", of oneDNN's matrix rate where it says "of_matmul".
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <random>

#include "kernels/backend.h"
#include "kernels/cpu/route_scan.h"
#include "kernels/cpu/route_unfolded.h"
#include "kernels/limits.h"

namespace msa {
namespace {

constexpr size_t kHidden = 1024, kFeedForward = 3072, kQueryHeads = 16, kKvHeads = 8,
                 kHeadDim = 128, kVocabulary = 151936;

Backend& backend() {
  static const auto made = [] {
    auto result = make_cpu_backend(Runtime{});
    if (!result) throw std::runtime_error(result.error().message);
    return std::move(*result);
  }();
  return *made;
}

double bandwidth() {
  static const double measured = measure_read_bandwidth(0);
  return measured;
}

double matmul_rate(DType dtype) {
  static const auto measure = [](DType type) {
    const MatmulShape shapes[] = {{512, 4096, 1024}, {512, 1024, 2048}, {512, 6144, 1024}};
    return measure_matmul_rate(0, shapes, type);
  };
  static const double f32 = measure(DType::f32), bf16_rate = measure(DType::bf16);
  return dtype == DType::f32 ? f32 : bf16_rate;
}

// A matrix of small random numbers.
struct Filled {
  std::unique_ptr<DeviceBuffer> memory;
  AnyMat view;
  Filled(DType dtype, size_t rows, size_t cols)
      : memory(backend().allocate(rows * cols * size_of(dtype))),
        view(memory->data(), dtype, rows, cols) {
    uint32_t state = 1;
    for (size_t i = 0; i < rows * cols; ++i) {
      state = state * 1664525 + 1013904223;
      const float value = static_cast<float>(static_cast<int32_t>(state)) * 0x1p-33f;
      if (dtype == DType::f32)
        reinterpret_cast<float*>(memory->data())[i] = value;
      else
        reinterpret_cast<bf16*>(memory->data())[i].bits =
            static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16);
    }
  }
};

std::unique_ptr<PackedMatrix> packed(DType dtype, size_t outputs, size_t inputs) {
  Filled w(dtype, outputs, inputs);
  const ConstAnyMat parts[] = {w.view};
  return std::move(*backend().pack(parts, dtype));
}

// Runs `work` and keeps the shortest time, for the shares: the machine may be shared.
template <class Work>
double run(benchmark::State& state, const Work& work) {
  double best = std::numeric_limits<double>::infinity();
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    work();
    best = std::min(
        best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

void report_bandwidth(benchmark::State& state, double bytes, double seconds) {
  state.counters["GB/s"] = bytes / seconds * 1e-9;
  state.counters["of_bandwidth"] = bytes / seconds / bandwidth();
}
void report_matmul(benchmark::State& state, double operations, double seconds, DType dtype) {
  state.counters["GFLOP/s"] = operations / seconds * 1e-9;
  state.counters["of_matmul"] = operations / seconds / matmul_rate(dtype);
}

DType dtype_arg(const benchmark::State& state, int i) {
  return state.range(i) == 16 ? DType::bf16 : DType::f32;
}

void BM_Limits(benchmark::State& state) {
  for (auto _ : state) {
    state.counters["read_GB/s"] = bandwidth() * 1e-9;
    state.counters["f32_GFLOP/s"] = matmul_rate(DType::f32) * 1e-9;
    state.counters["bf16_GFLOP/s"] = matmul_rate(DType::bf16) * 1e-9;
  }
  state.SetLabel(backend().describe());
}
BENCHMARK(BM_Limits)->Iterations(1);

// One matrix after the other, as a decode step reads them: none is in the cache when its turn
// comes.
void BM_MatmulFewRows(benchmark::State& state) {
  const DType dtype = dtype_arg(state, 1);
  const auto rows = static_cast<size_t>(state.range(0));
  const auto w = packed(dtype, kVocabulary, kHidden);
  const Filled x(dtype, rows, kHidden);
  Filled y(DType::f32, rows, kVocabulary);
  const double seconds = run(state, [&] { backend().matmul(x.view, *w, y.view, false); });
  report_bandwidth(state, static_cast<double>(w->bytes()), seconds);
}
BENCHMARK(BM_MatmulFewRows)
    ->ArgsProduct({{1, 2, 4, 5, 8}, {16}})
    ->Args({1, 32})
    ->Args({4, 32})
    ->UseRealTime();

void BM_MatmulManyRows(benchmark::State& state) {
  const DType dtype = dtype_arg(state, 1);
  const auto rows = static_cast<size_t>(state.range(0));
  const auto w = packed(dtype, 2 * kFeedForward, kHidden);
  const Filled x(dtype, rows, kHidden);
  Filled y(dtype, rows, 2 * kFeedForward);
  const double seconds = run(state, [&] { backend().matmul(x.view, *w, y.view, false); });
  report_matmul(state, 2.0 * static_cast<double>(rows * kHidden * 2 * kFeedForward), seconds,
                dtype);
}
BENCHMARK(BM_MatmulManyRows)->ArgsProduct({{16, 64, 512, 2048}, {16, 32}})->UseRealTime();

// One token through all 28 layers and the head, without the model around it.
void BM_DecodeStep(benchmark::State& state) {
  const DType act = DType::bf16;
  const size_t q_width = kQueryHeads * kHeadDim, kv_width = kKvHeads * kHeadDim,
               keys = static_cast<size_t>(state.range(0));
  struct Layer {
    std::unique_ptr<PackedMatrix> qkv, output, gate_up, down;
  };
  std::vector<Layer> layers(28);
  double bytes = 0;
  for (Layer& l : layers) {
    l = {packed(act, q_width + 2 * kv_width, kHidden), packed(act, kHidden, q_width),
         packed(act, 2 * kFeedForward, kHidden), packed(act, kHidden, kFeedForward)};
    bytes += static_cast<double>(l.qkv->bytes() + l.output->bytes() + l.gate_up->bytes() +
                                 l.down->bytes());
    bytes += static_cast<double>(2 * keys * kv_width * size_of(act));
  }
  const auto head = packed(act, kVocabulary, kHidden);
  bytes += static_cast<double>(head->bytes());
  std::vector<Filled> cache;
  for (size_t l = 0; l < layers.size(); ++l) cache.emplace_back(act, 2 * keys, kv_width);
  Filled hidden(DType::f32, 1, kHidden), normed(act, 1, kHidden),
      qkv(act, 1, q_width + 2 * kv_width), attention(act, 1, q_width),
      gate_up(act, 1, 2 * kFeedForward), activated(act, 1, kFeedForward),
      logits(DType::f32, 1, kVocabulary);
  const std::vector<float> weight(kHidden, 1.0f), head_weight(kHeadDim, 1.0f);
  const auto table = RotaryTable::make(4096, kHeadDim, 1e6);
  const int32_t position[] = {100};
  const double seconds = run(state, [&] {
    const auto h = hidden.view.as<float>();
    for (size_t i = 0; i < layers.size(); ++i) {
      const Layer& l = layers[i];
      const ConstAnyMat kv = cache[i].view;
      backend().rms_norm(h, weight, 1e-6f, normed.view);
      backend().matmul(normed.view, *l.qkv, qkv.view, false);
      backend().norm_rotary(qkv.view.slice_cols(0, q_width), kQueryHeads, head_weight, 1e-6f,
                            position, table);
      backend().norm_rotary(qkv.view.slice_cols(q_width, kv_width), kKvHeads, head_weight, 1e-6f,
                            position, table);
      backend().context_attention(qkv.view.slice_cols(0, q_width), kv.slice_rows(0, keys),
                                  kv.slice_rows(keys, keys), kKvHeads, kHeadDim, attention.view);
      backend().matmul(attention.view, *l.output, hidden.view, true);
      backend().rms_norm(h, weight, 1e-6f, normed.view);
      backend().matmul(normed.view, *l.gate_up, gate_up.view, false);
      backend().swiglu(gate_up.view, activated.view);
      backend().matmul(activated.view, *l.down, hidden.view, true);
    }
    backend().matmul(normed.view, *head, logits.view, false);
  });
  report_bandwidth(state, bytes, seconds);
  state.counters["tokens/s"] = 1 / seconds;
}
BENCHMARK(BM_DecodeStep)->Arg(256)->Arg(2048)->UseRealTime()->Unit(benchmark::kMillisecond);

void BM_DocumentAttention(benchmark::State& state) {
  const DType act = dtype_arg(state, 1);
  const auto length = static_cast<size_t>(state.range(0));
  constexpr size_t kTokens = 4096;
  const Filled q(act, kTokens, kQueryHeads * kHeadDim), k(act, kTokens, kKvHeads * kHeadDim),
      v(act, kTokens, kKvHeads * kHeadDim);
  Filled out(act, kTokens, kQueryHeads * kHeadDim);
  std::vector<uint32_t> starts;
  for (size_t t = 0; t <= kTokens; t += length) starts.push_back(static_cast<uint32_t>(t));
  const double seconds = run(state, [&] {
    backend().document_attention(q.view, k.view, v.view, starts, kKvHeads, kHeadDim, out.view);
  });
  // What causality leaves of two products of T x T x D per head.
  const double operations =
      4.0 * kTokens * static_cast<double>(length + 1) / 2 * kQueryHeads * kHeadDim;
  report_matmul(state, operations, seconds, act);
  // Time of all products of a layer for as many tokens, at the full rate.
  const double layer = 2.0 * kTokens * kHidden * (2 * 2048 + 2 * 1024 + 3.0 * kFeedForward);
  state.counters["of_layer_time"] = seconds / (layer / matmul_rate(act));
}
BENCHMARK(BM_DocumentAttention)
    ->ArgsProduct({{64, 256, 1024, 2048}, {16, 32}})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

void BM_ContextAttention(benchmark::State& state) {
  const DType act = DType::bf16;
  const auto queries = static_cast<size_t>(state.range(0)),
             keys = static_cast<size_t>(state.range(1));
  const Filled q(act, queries, kQueryHeads * kHeadDim), k(act, keys, kKvHeads * kHeadDim),
      v(act, keys, kKvHeads * kHeadDim);
  Filled out(act, queries, kQueryHeads * kHeadDim);
  const double seconds = run(state, [&] {
    backend().context_attention(q.view, k.view, v.view, kKvHeads, kHeadDim, out.view);
  });
  report_bandwidth(state, 4.0 * static_cast<double>(keys) * kKvHeads * kHeadDim, seconds);
  report_matmul(state, 4.0 * static_cast<double>(queries * keys) * kQueryHeads * kHeadDim, seconds,
                act);
}
BENCHMARK(BM_ContextAttention)
    ->Args({1, 2000})
    ->Args({1, 50000})
    ->Args({4, 50000})
    ->Args({40, 2000})
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

void BM_Rows(benchmark::State& state) {
  const DType act = DType::bf16;
  constexpr size_t kTokens = 2048;
  const Filled x(DType::f32, kTokens, kHidden), gate_up(act, kTokens, 2 * kFeedForward);
  Filled normed(act, kTokens, kHidden), q(act, kTokens, kQueryHeads * kHeadDim),
      activated(act, kTokens, kFeedForward), pooled(act, kTokens / 64, kHidden);
  const std::vector<float> weight(kHidden, 1.0f), head_weight(kHeadDim, 1.0f);
  const auto table = RotaryTable::make(kTokens, kHeadDim, 1e6);
  std::vector<int32_t> positions(kTokens);
  for (size_t t = 0; t < kTokens; ++t) positions[t] = static_cast<int32_t>(t);
  const uint32_t starts[] = {0, kTokens};
  double bytes = 0;
  const double seconds = run(state, [&] {
    switch (state.range(0)) {
      case 0:
        state.SetLabel("rms_norm");
        bytes = 6.0 * kTokens * kHidden;
        return backend().rms_norm(x.view.as<float>(), weight, 1e-6f, normed.view);
      case 1:
        state.SetLabel("norm_rotary");
        bytes = 4.0 * kTokens * kQueryHeads * kHeadDim;
        return backend().norm_rotary(q.view, kQueryHeads, head_weight, 1e-6f, positions, table);
      case 2:
        state.SetLabel("swiglu");
        bytes = 6.0 * kTokens * kFeedForward;
        return backend().swiglu(gate_up.view, activated.view);
      default:
        state.SetLabel("pool_chunks");
        bytes = 2.0 * kTokens * kHidden;
        return backend().pool_chunks(normed.view, starts, 64, kKvHeads, true, pooled.view);
    }
  });
  report_bandwidth(state, bytes, seconds);
}
BENCHMARK(BM_Rows)->DenseRange(0, 3)->UseRealTime()->Unit(benchmark::kMicrosecond);

// Keys of `chunks` chunks in documents of 10, G*D = 1024.
struct Bank {
  static constexpr size_t kWidth = 1024;
  Filled keys;
  std::vector<DocumentSpan> documents;
  RouteRule rule;
  Bank(DType dtype, size_t chunks) : keys(dtype, chunks, kWidth) {
    for (uint32_t c = 0; c + 10 <= chunks; c += 10) documents.push_back({c / 10, c, 10});
    rule.query_heads = 32;
    rule.kv_heads = 8;
    rule.head_dim = 128;
  }
};

void BM_Route(benchmark::State& state) {
  const DType dtype = dtype_arg(state, 1);
  const auto M = static_cast<size_t>(state.range(0));
  constexpr size_t kChunks = 400000;
  const Bank bank(dtype, kChunks);
  const Filled q(DType::f32, M, 32 * 128);
  const KeyBlock blocks[] = {{bank.keys.view, bank.documents}};
  std::vector<RouteHit> hits;
  RouteRule rule = bank.rule;
  rule.heads = state.range(2) == 0 ? RouteRule::Heads::mean : RouteRule::Heads::max;
  const double seconds =
      run(state, [&] { backend().route(rule, AnyMat(q.view).as<float>(), blocks, 16, hits); });
  state.counters["Mchunks/s"] = kChunks / seconds * 1e-6;
  const double products = rule.heads == RouteRule::Heads::mean ? 1024.0 : 32 * 128.0;
  report_bandwidth(state, static_cast<double>(kChunks * Bank::kWidth * size_of(dtype)), seconds);
  report_matmul(state, 2.0 * static_cast<double>(M) * kChunks * products, seconds, dtype);
}
BENCHMARK(BM_Route)
    ->ArgsProduct({{1, 2, 4, 8, 16, 32, 40, 64, 128}, {16}, {0}})
    ->ArgsProduct({{1, 40}, {32}, {0}})
    ->ArgsProduct({{1, 40}, {16}, {1}})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

// The same with oneDNN's products of tiles, which are chosen on processors with AMX only.
void BM_RouteLibrary(benchmark::State& state) {
  const auto M = static_cast<size_t>(state.range(0));
  constexpr size_t kChunks = 400000;
  const Bank bank(DType::bf16, kChunks);
  const Filled q(DType::f32, M, 32 * 128);
  const KeyBlock blocks[] = {{bank.keys.view, bank.documents}};
  const RouteQuery request[] = {{AnyMat(q.view).as<float>(), 16}};
  std::vector<std::vector<RouteHit>> hits;
  cpu::RouteScan scan(backend().threads(), cpu::Bf16Tiles::library);
  const double seconds = run(state, [&] { scan.run(bank.rule, request, blocks, hits); });
  state.counters["Mchunks/s"] = kChunks / seconds * 1e-6;
  report_bandwidth(state, static_cast<double>(kChunks * Bank::kWidth * sizeof(bf16)), seconds);
  report_matmul(state, 2.0 * static_cast<double>(M) * kChunks * 1024, seconds, DType::bf16);
}
BENCHMARK(BM_RouteLibrary)
    ->Arg(16)
    ->Arg(40)
    ->Arg(64)
    ->Arg(128)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

void BM_RouteUnfolded(benchmark::State& state) {
  const auto M = static_cast<size_t>(state.range(0));
  constexpr size_t kChunks = 100000;
  const Bank bank(DType::bf16, kChunks);
  const Filled q(DType::f32, M, 32 * 128);
  const KeyBlock blocks[] = {{bank.keys.view, bank.documents}};
  std::vector<RouteHit> hits;
  UnfoldedRoute route(0);
  bool done = true;
  const double seconds = run(
      state, [&] { done = route.run(bank.rule, AnyMat(q.view).as<float>(), blocks, 16, hits); });
  if (!done) state.SkipWithError("oneDNN has no such product");
  state.counters["Mchunks/s"] = kChunks / seconds * 1e-6;
  state.counters["scratch_MB"] = static_cast<double>(route.peak_scratch_bytes()) * 1e-6;
}
BENCHMARK(BM_RouteUnfolded)->Arg(1)->Arg(8)->Arg(40)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace msa
