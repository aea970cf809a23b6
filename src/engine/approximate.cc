#include "engine/approximate.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "approximate/index_builder.h"
#include "engine/bank_handle.h"
#include "engine/guard.h"
#include "kernels/cpu/fold.h"
#include "memory/router.h"
#include "model/decoder.h"
#include "model/route_rule.h"
#include "text/prompt.h"

namespace msa {
namespace {

// More tell little more, and what they ask for is held in memory.
constexpr size_t kMostQuestions = 200;

// Attends to what the router chooses, and keeps what it was asked, folded.
class QuestionRecorder final : public ContextSource {
 public:
  QuestionRecorder(Router& router, const RouteRule& rule, std::span<const int> layers)
      : router_(router), rule_(rule), layers_(layers) {
    questions.resize(layers.size());
    for (FoldedQuestions& of_layer : questions) of_layer.width = width();
  }

  Result<std::vector<ContextBlock>> select(int layer, MatView<const float> router_q) override {
    const auto found = std::find(layers_.begin(), layers_.end(), layer);
    if (found != layers_.end() && router_q.rows > 0) {
      std::vector<float> folded(router_q.rows * width());
      cpu::fold_heads(rule_, router_q, {folded.data(), router_q.rows, width()});
      questions[static_cast<size_t>(found - layers_.begin())].questions.push_back(
          std::move(folded));
    }
    return router_.select(layer, router_q);
  }

  std::vector<FoldedQuestions> questions;  // per layer

 private:
  size_t width() const { return rule_.kv_heads * rule_.head_dim; }

  Router& router_;
  RouteRule rule_;
  std::span<const int> layers_;
};

Result<std::vector<FoldedQuestions>> ask_all(
    const Model::Impl& model, const BankManifest& manifest,
    const std::shared_ptr<const Snapshot>& snapshot, const std::vector<std::string>& questions,
    const std::function<void(const IndexProgress&)>& progress, std::stop_token stop) {
  const RouteRule rule = route_rule(model.config(), manifest.cosine);
  Router router(*model.backend, snapshot, rule, model.config().msa.top_k);
  QuestionRecorder recorder(router, rule, manifest.router_layers);
  Decoder decoder(*model.backend, model.weights, model.prefix);
  const size_t count = std::min(questions.size(), kMostQuestions);
  for (size_t i = 0; i < count; ++i) {
    if (stop.stop_requested())
      return Error{Code::cancelled, "memory index: stopped; the bank is as it was"};
    // Evenly spread over all of them.
    const QuestionTokens prompt =
        question_tokens(*model.tokenizer, questions[i * questions.size() / count]);
    std::vector<uint8_t> routes(prompt.tokens.size(), 0);
    std::fill_n(routes.begin(), prompt.routing, uint8_t{1});
    const std::lock_guard lock(model.busy);
    router.reset();
    MSA_TRY(
        decoder.prefill(prompt.tokens, routes, model.prefix->tokens + router.top_k(), &recorder));
    if (progress) progress({IndexProgress::Stage::asking, i + 1, count});
  }
  return std::move(recorder.questions);
}

IndexReport report_of(const IndexMeasure& measure, bool real_questions) {
  IndexReport report;
  report.lists = measure.catalogue.lists;
  report.documents = measure.catalogue.documents;
  report.chunks = measure.catalogue.rows;
  report.left_out = measure.left_out;
  report.real_questions = real_questions;
  report.questions = measure.questions;
  report.question_tokens = measure.question_tokens;
  report.build_seconds = measure.build_seconds;
  report.measure_seconds = measure.measure_seconds;
  for (const LayerMeasure& layer : measure.layers) {
    report.layers.push_back({layer.file.layer, layer.file.probes, layer.file.candidates,
                             layer.file.recall, layer.question_bytes, layer.exact_bytes,
                             layer.file.bytes});
    report.recall += layer.file.recall / static_cast<double>(measure.layers.size());
    report.question_bytes += layer.question_bytes;
    report.exact_bytes += layer.exact_bytes;
    report.bytes += layer.file.bytes;
  }
  return report;
}

Result<IndexReport> index_bank(const Bank& bank, const IndexOptions& options,
                               const std::function<void(const IndexProgress&)>& progress,
                               std::stop_token stop) {
  MSA_TRY(check_list_index_support());
  const BankReader& reader = *bank.impl().reader;
  const BankManifest& manifest = reader.manifest();
  if (!options.questions.empty() && !options.model)
    return Error{Code::invalid_argument,
                 "index: questions need a model to be asked with; give it, or no questions"};
  if (options.questions.size() == 1)
    return Error{Code::invalid_argument,
                 "index: one question is not enough, since one half chooses the effort that the "
                 "other measures; give at least two"};
  std::shared_ptr<const Snapshot> snapshot;
  {
    const std::lock_guard lock(bank.impl().busy);
    MSA_ASSIGN(snapshot, bank.impl().reader->snapshot());
  }
  IndexSettings settings;
  settings.coding = options.type == IndexType::ivf ? KeyCoding::scalar : KeyCoding::product;
  settings.lists = options.lists;
  settings.recall = options.recall;
  settings.seed = options.seed;
  Runtime runtime;
  runtime.threads = options.threads;
  if (options.model) {
    const Model::Impl& model = options.model->impl();
    runtime.threads = model.backend->threads();
    MSA_TRY(model.check_bank(manifest, reader.folder()));
    MSA_TRY(check_approximate_routing(model, manifest.cosine));
    if (!options.questions.empty()) {
      MSA_ASSIGN(settings.questions,
                 ask_all(model, manifest, snapshot, options.questions, progress, stop));
    }
  }
  MSA_ASSIGN(const auto backend, make_cpu_backend(runtime));
  MSA_ASSIGN(const IndexMeasure measure,
             build_bank_index(
                 reader.folder(), *backend, std::move(snapshot), manifest.head_dim, settings,
                 [&](IndexStage stage, uint64_t done, uint64_t all) {
                   using Stage = IndexProgress::Stage;
                   if (progress)
                     progress({stage == IndexStage::building ? Stage::building : Stage::measuring,
                               done, all});
                 },
                 stop));
  return report_of(measure, !options.questions.empty());
}

}  // namespace

Result<void> check_approximate_routing(const Model::Impl& model, bool cosine) {
  MSA_TRY(check_list_index_support());
  if (is_inner_product(route_rule(model.config(), cosine))) return {};
  const MsaConfig& config = model.config().msa;
  return Error{
      Code::unsupported,
      fmt::format("{}: approximate routing needs heads reduced by mean, tokens and chunks "
                  "by max, this model reduces them by {}, {} and {}; use exact routing",
                  model.weights->checkpoint->folder().string(), name_of(config.head_reduce),
                  name_of(config.query_reduce), name_of(config.chunk_reduce))};
}

std::shared_ptr<BankIndex> open_index(const Model::Impl& model, const BankReader& reader,
                                      const Snapshot& snapshot) {
  const BankManifest& manifest = reader.manifest();
  Result<std::unique_ptr<BankIndex>> opened =
      BankIndex::open(reader.folder(), manifest.router_layers,
                      manifest.kv_heads * manifest.head_dim, model.backend->threads());
  if (!opened) {
    model.runtime.log.warning(fmt::format("{}; routing is exact", opened.error().message));
    return nullptr;
  }
  const uint64_t known = (*opened)->known_chunks(snapshot);
  if (known == 0) {
    model.runtime.log.warning(
        fmt::format("{}: the index is stale, it knows none of the {} chunks; build it again with "
                    "`msa memory index`; routing is exact",
                    reader.folder().string(), snapshot.chunks));
    return nullptr;
  }
  if (known < snapshot.chunks)
    model.runtime.log.info(
        fmt::format("{}: the index knows {} of {} chunks, the others are scanned",
                    reader.folder().string(), known, snapshot.chunks));
  return std::move(*opened);
}

Result<IndexReport> build_index(const Bank& bank, const IndexOptions& options,
                                std::function<void(const IndexProgress&)> progress,
                                std::stop_token stop) {
  return guarded("indexing the bank", [&] { return index_bank(bank, options, progress, stop); });
}

}  // namespace msa
