// The kernels at the shapes of a small model's training step: 20,000 tokens, half of them documents
// of 70, half queries of 150 that see a prefix of 3 and 32 chunks; d 256, 4 heads of 64.
#include <benchmark/benchmark.h>

#include <array>
#include <deque>
#include <span>
#include <vector>

#include "train_kernels/attention.h"
#include "train_kernels/rows.h"
#include "train_kernels/test_matrix.h"

namespace msa::train_kernels {
namespace {

DType type_of(const benchmark::State& state) {
  return state.range(0) != 0 ? DType::bf16 : DType::f32;
}
int threads_of(const benchmark::State& state) {
  return static_cast<int>(state.range(1));
}

struct AttentionCase {
  static constexpr size_t kDocuments = 142, kDocument = 70, kQueries = 67, kQuery = 150;
  static constexpr size_t kPrefix = 3, kChunks = 284, kSeen = 32;
  size_t heads, head_dim;
  TestMatrix q, k, v, prefix_k, prefix_v, chunk_k, chunk_v, grad_out, out, log_sums;
  std::array<TestMatrix, 7> gradients;
  std::vector<int32_t> starts{0}, chunk_starts{0}, chunks;
  std::vector<uint8_t> sees;
  double scores = 0;  // pairs of a query and a key that it sees, per head

  AttentionCase(DType dtype, size_t head_count, size_t head_size)
      : heads(head_count), head_dim(head_size) {
    Random random(1);
    for (size_t s = 0; s < kDocuments + kQueries; ++s) {
      const bool query = s < kQueries;
      const size_t tokens = query ? kQuery : kDocument;
      starts.push_back(starts.back() + static_cast<int32_t>(tokens));
      sees.push_back(query);
      const size_t seen = query ? kSeen : 0;
      const size_t first = random.below(kChunks - kSeen);
      for (size_t c = 0; c < seen; ++c) chunks.push_back(static_cast<int32_t>(first + c));
      chunk_starts.push_back(static_cast<int32_t>(chunks.size()));
      scores += static_cast<double>(tokens) * (static_cast<double>(seen + (query ? kPrefix : 0)) +
                                               (static_cast<double>(tokens) + 1) / 2);
    }
    const size_t rows = static_cast<size_t>(starts.back()), width = heads * head_dim;
    for (TestMatrix* m : {&q, &k, &v, &grad_out})
      *m = TestMatrix::random(random, dtype, rows, width);
    for (TestMatrix* m : {&prefix_k, &prefix_v})
      *m = TestMatrix::random(random, dtype, kPrefix, width);
    for (TestMatrix* m : {&chunk_k, &chunk_v})
      *m = TestMatrix::random(random, dtype, kChunks, width);
    out = TestMatrix(dtype, rows, width);
    log_sums = TestMatrix(DType::f32, rows, heads);
    const TestMatrix* like[] = {&q, &k, &v, &prefix_k, &prefix_v, &chunk_k, &chunk_v};
    for (size_t i = 0; i < gradients.size(); ++i)
      gradients[i] = TestMatrix(dtype, like[i]->rows(), width);
  }
  AttentionInputs inputs() const {
    return {q.view(),       k.view(),       v.view(),     prefix_k.view(), prefix_v.view(),
            chunk_k.view(), chunk_v.view(), heads,        heads,           head_dim,
            starts,         sees,           chunk_starts, chunks};
  }
  // Of one product of the queries with what they see.
  double product() const {
    return 2 * scores * static_cast<double>(heads) * static_cast<double>(head_dim);
  }
};

void count(benchmark::State& state, const char* name, double amount) {
  state.counters[name] =
      benchmark::Counter(amount * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

void attention(benchmark::State& state) {
  AttentionCase test(type_of(state), static_cast<size_t>(state.range(2)),
                     static_cast<size_t>(state.range(3)));
  for (auto _ : state)
    segment_attention(threads_of(state), test.inputs(), test.out.view(), test.log_sums.f32());
  count(state, "GFLOP/s", 2 * test.product());
}

void attention_backward(benchmark::State& state) {
  AttentionCase test(type_of(state), static_cast<size_t>(state.range(2)),
                     static_cast<size_t>(state.range(3)));
  segment_attention(threads_of(state), test.inputs(), test.out.view(), test.log_sums.f32());
  auto& g = test.gradients;
  for (auto _ : state)
    segment_attention_backward(threads_of(state), test.inputs(), test.grad_out.view(),
                               test.log_sums.f32(),
                               {g[0].view(), g[1].view(), g[2].view(), g[3].view(), g[4].view(),
                                g[5].view(), g[6].view()});
  count(state, "GFLOP/s", 5 * test.product());
}

void attention_shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"bf16", "threads", "H", "D"})->Unit(benchmark::kMillisecond)->UseRealTime();
  for (const int threads : {1, 2})
    for (const int type : {1, 0}) bench->Args({type, threads, 4, 64});
  bench->Args({1, 2, 8, 32});
}
BENCHMARK(attention)->Apply(attention_shapes);
BENCHMARK(attention_backward)->Apply(attention_shapes);

// --- Row by row: what counts is memory ---

constexpr size_t kTokens = 20000, kHidden = 256, kHeadDim = 64, kFeedForward = 768;

// Matrices of a benchmark, and the bytes that it reads and writes.
class RowsCase {
 public:
  explicit RowsCase(benchmark::State& state) : state_(state), type_(type_of(state)) {}
  TestMatrix& activations(size_t cols) { return make(type_, cols); }
  TestMatrix& stream() { return make(DType::f32, kHidden); }
  std::span<float> vector(size_t n) {
    vectors_.emplace_back(n, 0.5f);
    return vectors_.back();
  }
  template <class Body>
  void run(const Body& body) {
    for (auto _ : state_) body(threads_of(state_));
    count(state_, "GB/s", bytes_);
  }

 private:
  TestMatrix& make(DType dtype, size_t cols) {
    matrices_.push_back(TestMatrix::random(random_, dtype, kTokens, cols));
    bytes_ += static_cast<double>(matrices_.back().bytes().size());
    return matrices_.back();
  }

  benchmark::State& state_;
  DType type_;
  Random random_{1};
  std::deque<TestMatrix> matrices_;
  std::deque<std::vector<float>> vectors_;
  double bytes_ = 0;
};

void add_norm(benchmark::State& state) {
  RowsCase test(state);
  auto &hidden = test.stream(), &sum = test.stream();
  auto &delta = test.activations(kHidden), &normed = test.activations(kHidden);
  const auto weight = test.vector(kHidden), inverse_rms = test.vector(kTokens);
  test.run([&](int threads) {
    add_rms_norm(threads, hidden.f32(), delta.view(), weight, 1e-6f, sum.f32(), normed.view(),
                 inverse_rms);
  });
}

void add_norm_backward(benchmark::State& state) {
  RowsCase test(state);
  auto &sum = test.stream(), &grad_sum = test.stream(), &grad_hidden = test.stream();
  auto &grad_normed = test.activations(kHidden), &grad_delta = test.activations(kHidden);
  const auto weight = test.vector(kHidden), inverse_rms = test.vector(kTokens);
  const auto grad_weight = test.vector(kHidden);
  test.run([&](int threads) {
    add_rms_norm_backward(threads, sum.f32(), weight, inverse_rms, grad_normed.view(),
                          grad_sum.f32(), {grad_hidden.f32(), grad_delta.view(), grad_weight});
  });
}

struct Positions {
  std::vector<int32_t> positions;
  RotaryTable table;
  Positions() : positions(make()), table(positions, kHeadDim, 1e6) {}
  static std::vector<int32_t> make() {
    std::vector<int32_t> all(kTokens);
    for (size_t t = 0; t < kTokens; ++t) all[t] = static_cast<int32_t>(t % 400);
    return all;
  }
};

void rotary(benchmark::State& state) {
  RowsCase test(state);
  const Positions at;
  auto &x = test.activations(kHidden), &y = test.activations(kHidden);
  const auto weight = test.vector(kHeadDim);
  test.run([&](int threads) {
    head_norm_rotary(threads, x.view(), weight, 1e-6f, at.positions, at.table, y.view());
  });
}

void rotary_backward(benchmark::State& state) {
  RowsCase test(state);
  const Positions at;
  auto& x = test.activations(kHidden);
  auto &grad_y = test.activations(kHidden), &grad_x = test.activations(kHidden);
  const auto weight = test.vector(kHeadDim), grad_weight = test.vector(kHeadDim);
  test.run([&](int threads) {
    head_norm_rotary_backward(threads, x.view(), weight, 1e-6f, at.positions, at.table,
                              grad_y.view(), grad_x.view(), grad_weight);
  });
}

void gated(benchmark::State& state) {
  RowsCase test(state);
  auto &gate_up = test.activations(2 * kFeedForward), &y = test.activations(kFeedForward);
  test.run([&](int threads) { swiglu(threads, gate_up.view(), y.view()); });
}

void gated_backward(benchmark::State& state) {
  RowsCase test(state);
  auto& gate_up = test.activations(2 * kFeedForward);
  auto &grad_y = test.activations(kFeedForward), &back = test.activations(2 * kFeedForward);
  test.run(
      [&](int threads) { swiglu_backward(threads, gate_up.view(), grad_y.view(), back.view()); });
}

std::vector<int32_t> runs_of_35() {
  std::vector<int32_t> runs;
  for (size_t t = 0; t <= kTokens; t += 35) runs.push_back(static_cast<int32_t>(t));
  return runs;
}

void pool(benchmark::State& state) {
  RowsCase test(state);
  const std::vector<int32_t> runs = runs_of_35();
  auto& x = test.activations(kHidden);
  TestMatrix means(DType::f32, runs.size() - 1, kHidden);
  test.run([&](int threads) { pool_rows(threads, x.view(), runs, means.f32()); });
}

void pool_backward(benchmark::State& state) {
  RowsCase test(state);
  const std::vector<int32_t> runs = runs_of_35();
  auto& grad_x = test.activations(kHidden);
  Random random(1);
  const auto grad = TestMatrix::random(random, DType::f32, runs.size() - 1, kHidden);
  test.run([&](int threads) { pool_rows_backward(threads, grad.f32(), runs, grad_x.view()); });
}

void rows_shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"bf16", "threads"})->Unit(benchmark::kMillisecond)->UseRealTime();
  bench->Args({1, 1})->Args({1, 2})->Args({0, 1});
}
BENCHMARK(add_norm)->Apply(rows_shapes);
BENCHMARK(add_norm_backward)->Apply(rows_shapes);
BENCHMARK(rotary)->Apply(rows_shapes);
BENCHMARK(rotary_backward)->Apply(rows_shapes);
BENCHMARK(gated)->Apply(rows_shapes);
BENCHMARK(gated_backward)->Apply(rows_shapes);
BENCHMARK(pool)->Apply(rows_shapes);
BENCHMARK(pool_backward)->Apply(rows_shapes);

}  // namespace
}  // namespace msa::train_kernels
