// msa-golden DIR...: runs stages 1 to 3 on golden folders and compares every number with the
// published reference's. Exit status: 0 all agree, 1 something differs, 2 a folder cannot be read.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <set>

#include "golden/golden_case.h"
#include "kernels/backend.h"
#include "memory/router.h"
#include "model/decoder.h"
#include "model/encoder.h"
#include "model/route_rule.h"
#include "model/weights.h"
#include "snapshot_of_batch.h"

namespace msa {
namespace {

// Compares groups of numbers and prints a line for each.
class Comparison {
 public:
  explicit Comparison(double tolerance) : tolerance_(tolerance) {}

  // The relative error of a group is its largest absolute error over its largest expected
  // magnitude.
  void close(const std::string& name, std::span<const float> got, std::span<const float> expected) {
    if (got.size() != expected.size())
      return report(name, fmt::format("{} values, expected {}", got.size(), expected.size()),
                    false);
    double error = 0, magnitude = 0;
    for (size_t i = 0; i < got.size(); ++i) {
      const double difference = std::abs(double{got[i]} - expected[i]);
      error = std::isnan(difference) ? INFINITY : std::max(error, difference);
      magnitude = std::max(magnitude, std::abs(double{expected[i]}));
    }
    const double relative = error / std::max(magnitude, 1e-6);
    report(name, fmt::format("abs {:.2e}  rel {:.2e}", error, relative), relative <= tolerance_);
  }
  template <class T>
  void same(const std::string& name, const std::vector<T>& got, const std::vector<T>& expected) {
    if (got == expected) return report(name, fmt::format("{} equal", got.size()), true);
    report(name, fmt::format("[{}], expected [{}]", fmt::join(got, " "), fmt::join(expected, " ")),
           false);
  }
  bool all_ok() const { return ok_; }

 private:
  void report(const std::string& name, const std::string& detail, bool ok) {
    fmt::print("{:34} {:44} {}\n", name, detail, ok ? "OK" : "FAIL");
    ok_ &= ok;
  }
  double tolerance_;
  bool ok_ = true;
};

// [C, G*D] rows become [G, C, D], as the reference stores them.
std::vector<float> by_head(Backend& backend, ConstAnyMat rows, size_t heads) {
  std::vector<float> plain(rows.rows * rows.cols), out(plain.size());
  backend.copy_rows(rows, MatView<float>(plain.data(), rows.rows, rows.cols));
  const size_t dim = rows.cols / heads;
  for (size_t g = 0; g < heads; ++g)
    for (size_t c = 0; c < rows.rows; ++c)
      std::copy_n(&plain[c * rows.cols + g * dim], dim, &out[(g * rows.rows + c) * dim]);
  return out;
}

Result<void> compare_stage1(const GoldenCase& golden, Backend& backend, const PrefixKv& prefix,
                            const EncodedBatch& batch, Comparison& compare) {
  const ModelConfig& config = golden.checkpoint->config();
  std::vector<float> hidden = prefix.last_hidden;
  hidden.insert(hidden.end(), batch.last_hidden.begin(), batch.last_hidden.end());
  MSA_ASSIGN(const auto expected_hidden, golden.floats("stage1.last_hidden"));
  compare.close("stage1.last_hidden", hidden, expected_hidden);

  const auto check = [&](const std::string& name, ConstAnyMat rows) -> Result<void> {
    MSA_ASSIGN(const auto expected, golden.floats(name));
    compare.close(name, by_head(backend, rows, config.kv_heads), expected);
    return {};
  };
  for (size_t layer = 0; layer < config.layers; ++layer) {
    MSA_TRY(check(fmt::format("stage1.layer{}.prefix_k", layer), prefix.keys(layer)));
    MSA_TRY(check(fmt::format("stage1.layer{}.prefix_v", layer), prefix.values(layer)));
  }
  for (size_t i = 0; i < config.msa.router_layers.size(); ++i) {
    const std::string at = fmt::format("stage1.layer{}.", config.msa.router_layers[i]);
    MSA_TRY(check(at + "pooled_k", batch.pooled_keys(i)));
    MSA_TRY(check(at + "pooled_v", batch.pooled_values(i)));
    MSA_TRY(check(at + "router_k", batch.keys(i)));
  }
  std::vector<int64_t> owners;
  for (size_t n = 0; n < batch.chunks.size(); ++n)
    owners.insert(owners.end(), batch.chunks[n], static_cast<int64_t>(n));
  MSA_ASSIGN(const auto expected_owners, golden.integers("stage1.chunk_doc_ids"));
  compare.same("stage1.chunk_doc_ids", owners, expected_owners);
  return {};
}

// The documents chosen for one query, and their scores in the reference's order.
Result<void> compare_choice(const GoldenCase& golden, size_t query, const LayerChoice& choice,
                            Comparison& compare) {
  const std::string at = fmt::format("stage2.layer{}.", choice.layer);
  MSA_ASSIGN(const auto documents, golden.integers(at + "selected_docs"));
  MSA_ASSIGN(const auto scores, golden.floats(at + "scores"));
  const size_t k = documents.size() / golden.queries.size();
  if (documents.size() != scores.size() || documents.size() != k * golden.queries.size())
    return Error{Code::corrupt,
                 fmt::format("{}: {}selected_docs and scores do not fit {} queries",
                             golden.expected.path().string(), at, golden.queries.size())};
  std::set<int64_t> expected, got;
  std::vector<float> expected_scores, got_scores;
  for (const RouteHit& hit : choice.hits) got.insert(hit.number);
  for (size_t i = query * k; i < (query + 1) * k; ++i) {
    if (documents[i] < 0) continue;
    expected.insert(documents[i]);
    const auto hit = std::find_if(choice.hits.begin(), choice.hits.end(), [&](const RouteHit& h) {
      return static_cast<int64_t>(h.number) == documents[i];
    });
    expected_scores.push_back(scores[i]);
    got_scores.push_back(hit == choice.hits.end() ? NAN : hit->score);
  }
  const std::string name = fmt::format("stage2.query{}.layer{}.", query, choice.layer);
  compare.same(name + "selected_docs", std::vector(got.begin(), got.end()),
               std::vector(expected.begin(), expected.end()));
  compare.close(name + "scores", got_scores, expected_scores);
  return {};
}

Result<void> compare_query(const GoldenCase& golden, size_t query, Router& router, Decoder& decoder,
                           size_t first_position, Comparison& compare) {
  std::vector<int32_t> tokens = golden.queries[query];
  std::vector<uint8_t> routes(tokens.size(), 1);
  tokens.insert(tokens.end(), golden.tail.begin(), golden.tail.end());
  routes.resize(tokens.size(), 0);
  router.reset();
  MSA_TRY(decoder.prefill(tokens, routes, first_position, &router, true));
  for (const LayerChoice& choice : router.choices())
    MSA_TRY(compare_choice(golden, query, choice, compare));
  const std::string name = fmt::format("stage2.query{}.logits", query);
  MSA_ASSIGN(const auto expected_logits, golden.floats(name));
  const auto logits = decoder.all_logits();
  compare.close(name, {logits.data, logits.rows * logits.cols}, expected_logits);

  MSA_ASSIGN(const auto all_tokens, golden.integers("stage3.tokens"));
  MSA_ASSIGN(const auto all_logits, golden.floats("stage3.logits"));
  const size_t steps = all_tokens.size() / golden.queries.size(), vocabulary = logits.cols;
  if (all_logits.size() != steps * golden.queries.size() * vocabulary)
    return Error{Code::corrupt, fmt::format("{}: stage3.tokens and stage3.logits do not fit",
                                            golden.expected.path().string())};
  std::vector<int64_t> generated;
  std::vector<float> generated_logits;
  for (size_t step = 0; step < steps; ++step) {
    const auto last = decoder.logits();
    const auto best = std::max_element(last.begin(), last.end()) - last.begin();
    generated.push_back(best);
    const int32_t token[] = {static_cast<int32_t>(best)};
    MSA_TRY(decoder.append(token));
    const auto next = decoder.logits();
    generated_logits.insert(generated_logits.end(), next.begin(), next.end());
  }
  const auto part = [&](const auto& all, size_t width) {
    using T = typename std::remove_cvref_t<decltype(all)>::value_type;
    return std::vector<T>(all.begin() + static_cast<ptrdiff_t>(query * steps * width),
                          all.begin() + static_cast<ptrdiff_t>((query + 1) * steps * width));
  };
  compare.same(fmt::format("stage3.query{}.tokens", query), generated, part(all_tokens, 1));
  compare.close(fmt::format("stage3.query{}.logits", query), generated_logits,
                part(all_logits, vocabulary));
  return {};
}

Result<bool> run(const std::filesystem::path& folder, Backend& backend, double tolerance) {
  MSA_ASSIGN(const GoldenCase golden, GoldenCase::open(folder));
  const ModelConfig& config = golden.checkpoint->config();
  const bool cosine = config.msa.cosine_by_default();
  MSA_ASSIGN(const auto weights,
             load_weights(Runtime{}, backend, golden.checkpoint, DType::f32, cosine));

  fmt::print("{}: {} layers, {} documents, {} queries, {} routing; {}\n", folder.string(),
             config.layers, golden.documents.size(), golden.queries.size(),
             cosine ? "cosine" : "dot", backend.describe());
  Comparison compare(tolerance);
  Encoder encoder(backend, weights);
  MSA_ASSIGN(PrefixKv prefix_kv, encoder.encode_prefix(golden.prefix));
  const auto prefix = std::make_shared<const PrefixKv>(std::move(prefix_kv));
  std::vector<std::span<const int32_t>> documents(golden.documents.begin(), golden.documents.end());
  EncodedBatch batch;
  MSA_TRY(encoder.encode(documents, DType::f32, true, batch));
  MSA_TRY(compare_stage1(golden, backend, *prefix, batch, compare));

  Router router(backend, snapshot_of_batch(batch, config.msa.router_layers),
                route_rule(config, cosine), config.msa.top_k);
  Decoder decoder(backend, weights, prefix);
  for (size_t query = 0; query < golden.queries.size(); ++query)
    MSA_TRY(
        compare_query(golden, query, router, decoder, prefix->tokens + config.msa.top_k, compare));
  fmt::print("{}: {}\n", folder.string(), compare.all_ok() ? "agrees" : "DIFFERS");
  return compare.all_ok();
}

int run_all(int argc, char** argv) {
  CLI::App app("Compares the engine with golden folders (float32)");
  std::vector<std::string> folders;
  double tolerance = 1e-4;
  std::string backend_name = "cpu";
  Runtime runtime;
  app.add_option("DIR", folders,
                 "folders with config.json, model.safetensors, expected.safetensors")
      ->required();
  app.add_option("--tolerance", tolerance, "largest relative error of a tensor group")
      ->capture_default_str();
  app.add_option("--backend", backend_name, "cpu, or reference: plain scalar loops")
      ->check(CLI::IsMember({"cpu", "reference"}))
      ->capture_default_str();
  app.add_option("--threads", runtime.threads, "0: one per core")->check(CLI::Range(0, 4096));
  CLI11_PARSE(app, argc, argv);

  std::unique_ptr<Backend> backend;
  if (backend_name == "reference") {
    backend = make_reference_backend();
  } else if (auto made = make_cpu_backend(runtime)) {
    backend = std::move(*made);
  } else {
    fmt::print(stderr, "msa-golden: {}\n", made.error().message);
    return 2;
  }
  int status = 0;
  for (const std::string& folder : folders) {
    const auto agrees = run(folder, *backend, tolerance);
    if (!agrees) {
      fmt::print(stderr, "msa-golden: {}\n", agrees.error().message);
      status = 2;
    } else if (!*agrees) {
      status = std::max(status, 1);
    }
  }
  return status;
}

}  // namespace
}  // namespace msa

int main(int argc, char** argv) {
  try {
    return msa::run_all(argc, argv);
  } catch (const std::exception& e) {
    fmt::print(stderr, "msa-golden: {}\n", e.what());
    return 2;
  }
}
