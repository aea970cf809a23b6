// How fast a step's batch is made, on one thread: tokens of documents and queries per second.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <cstdlib>
#include <string>
#include <utility>

#include "samples/batch.h"
#include "samples/testing_samples.h"

namespace msa {
namespace {

template <class T>
T value_or_exit(Result<T> result) {
  if (result.ok()) return std::move(result).value();
  fmt::print(stderr, "{}\n", result.error().message);
  std::exit(1);
}

// Four documents of some 70 tokens and two questions of one hop.
Sample encyclopaedia_like(uint64_t index) {
  Random random(1, index);
  Sample sample;
  for (int d = 0; d < 4; ++d)
    sample.documents.push_back(
        {.title = testing::random_words(random, 2, 2),
         .text = fmt::format("{} {}", testing::random_words(random, 25, 35), index),
         .id = {}});
  for (uint32_t q = 0; q < 2; ++q) {
    SampleQuestion question;
    question.question = testing::random_words(random, 8, 12);
    question.answer = testing::random_words(random, 2, 4);
    question.steps = {{q}};
    sample.questions.push_back(std::move(question));
  }
  return sample;
}

void make_batches(benchmark::State& state) {
  BatchOptions options;
  options.tokens = static_cast<size_t>(state.range(0));
  const auto batcher = value_or_exit(
      Batcher::create(testing::shared_qwen(), make_sample_source(encyclopaedia_like), options, 1));
  size_t tokens = 0, documents = 0;
  for (auto _ : state) {
    const Batch batch = value_or_exit(batcher->next());
    tokens += batch.tokens();
    documents += batch.documents();
  }
  state.SetItemsProcessed(static_cast<int64_t>(tokens));
  state.counters["documents"] =
      static_cast<double>(documents) / static_cast<double>(state.iterations());
}
BENCHMARK(make_batches)->Arg(8192)->Arg(20'000)->Arg(131'072)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace msa
