// How fast text becomes tokens and tokens text, on one thread.
#include "text/tokenizer.h"

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "base/files.h"

namespace msa {
namespace {

constexpr std::string_view kFolder = MSA_TESTDATA "/qwen3-tokenizer";

template <class T>
T value_or_exit(Result<T> result) {
  if (result.ok()) return std::move(result).value();
  fmt::print(stderr, "{}\n", result.error().message);
  std::exit(1);
}

const Tokenizer& tokenizer() {
  static const auto loaded =
      value_or_exit(Tokenizer::load(fmt::format("{}/tokenizer.json", kFolder)));
  return *loaded;
}

// A megabyte of words with the punctuation of prose. Words are drawn by Zipf's law from the
// tokenizer's English-looking tokens (early tokens are frequent ones); one in twelve is two of them
// joined, and so mostly not a token itself.
std::string prose() {
  std::vector<std::string> words;
  for (TokenId id = 0; words.size() < 20'000 && static_cast<size_t>(id) < 100'000; ++id) {
    const std::string_view bytes = tokenizer().token_bytes(id);
    const auto is_lower = [](char c) { return c >= 'a' && c <= 'z'; };
    if (bytes.size() > 2 && bytes[0] == ' ' &&
        std::all_of(bytes.begin() + 1, bytes.end(), is_lower))
      words.emplace_back(bytes);
  }
  std::mt19937 random(1);
  const auto draw = [&]() -> const std::string& {
    const double uniform = std::uniform_real_distribution<>(0, 1)(random);
    const auto rank = static_cast<size_t>(std::pow(static_cast<double>(words.size()), uniform));
    return words[std::min(rank, words.size()) - 1];
  };
  std::string text;
  while (text.size() < size_t{1} << 20) {
    text += draw();
    if (random() % 12 == 0) text += draw().substr(1);
    if (random() % 10 == 0) text += ",";
    if (random() % 16 == 0) text += ". The";
    if (random() % 100 == 0) text += fmt::format(" {}", random() % 3000);
    if (random() % 400 == 0) text += ".\n\n";
  }
  return text;
}

// The 449 texts of the tests, joined: many scripts, much white space, no long words.
std::string mixed() {
  const std::string file =
      value_or_exit(read_file(fmt::format("{}/expected_ids.json", kFolder), size_t{16} << 20));
  std::string text;
  for (const auto& item : nlohmann::json::parse(file)) text += item["text"].get<std::string>();
  return text;
}

void encode(benchmark::State& state, const std::string& text) {
  size_t tokens = 0;
  for (auto _ : state) tokens = tokenizer().encode(text).size();
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
  state.counters["bytes/token"] = static_cast<double>(text.size()) / static_cast<double>(tokens);
}

void BM_Load(benchmark::State& state) {
  for (auto _ : state)
    benchmark::DoNotOptimize(
        value_or_exit(Tokenizer::load(fmt::format("{}/tokenizer.json", kFolder))));
}
BENCHMARK(BM_Load)->Unit(benchmark::kMillisecond);

void BM_EncodeProse(benchmark::State& state) {
  encode(state, prose());
}
BENCHMARK(BM_EncodeProse)->Unit(benchmark::kMillisecond);

void BM_EncodeMixedScripts(benchmark::State& state) {
  encode(state, mixed());
}
BENCHMARK(BM_EncodeMixedScripts)->Unit(benchmark::kMillisecond);

void BM_EncodeOneLetter(benchmark::State& state) {
  encode(state, std::string(static_cast<size_t>(state.range(0)), 'a'));
}
BENCHMARK(BM_EncodeOneLetter)->Range(1 << 10, 1 << 20)->Unit(benchmark::kMillisecond);

void BM_Decode(benchmark::State& state) {
  const std::vector<TokenId> tokens = tokenizer().encode(prose());
  size_t bytes = 0;
  for (auto _ : state) bytes = tokenizer().decode(tokens).size();
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * bytes));
}
BENCHMARK(BM_Decode)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace msa
