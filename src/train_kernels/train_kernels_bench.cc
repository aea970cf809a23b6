// The kernels at the shapes of a small model's training step: 20,000 tokens, half of them documents
// of 70, half queries of 150 that see a prefix of 3 and 32 chunks; d 256, 4 heads of 64.
#include <benchmark/benchmark.h>

#include <numeric>

#include "train_kernels/attention.h"
#include "train_kernels/test_matrix.h"

namespace msa::train_kernels {
namespace {

DType dtype_of(const benchmark::State& state) {
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
  AttentionCase test(dtype_of(state), static_cast<size_t>(state.range(2)),
                     static_cast<size_t>(state.range(3)));
  for (auto _ : state)
    segment_attention(threads_of(state), test.inputs(), test.out.view(), test.log_sums.f32());
  count(state, "GFLOP/s", 2 * test.product());
}

void attention_backward(benchmark::State& state) {
  AttentionCase test(dtype_of(state), static_cast<size_t>(state.range(2)),
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

}  // namespace
}  // namespace msa::train_kernels
