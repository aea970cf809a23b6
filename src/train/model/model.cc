#include "train/model/model.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <string>
#include <tuple>
#include <utility>

#include "train/model/forward.h"
#include "train/model/losses.h"
#include "train/model/router_memory.h"
#include "train/model/save.h"
#include "train/model/weights.h"

namespace msa::train {
namespace {

using torch::Tensor;

constexpr std::array<std::pair<std::string_view, AuxLoss>, 5> kAuxLosses = {{
    {"INFONCE", AuxLoss::infonce},
    {"INFONCE_DECOUPLE", AuxLoss::infonce_decouple},
    {"INFONCE_FOCAL", AuxLoss::infonce_focal},
    {"INFONCE_DECOUPLE_FOCAL", AuxLoss::infonce_decouple_focal},
    {"BCE", AuxLoss::bce},
}};

// What libtorch threw, as one line.
Error torch_error(std::string_view doing, const std::exception& thrown) {
  std::string_view what = thrown.what();
  what = what.substr(0, what.find('\n'));
  const bool memory = what.find("out of memory") != std::string_view::npos ||
                      what.find("allocate memory") != std::string_view::npos;
  return Error{memory ? Code::no_space : Code::internal,
               fmt::format("{}: {}; {}", doing, what,
                           memory ? "make the batches smaller" : "report this as a bug")};
}

// Calls `work`, which returns a Result; an exception becomes its error.
template <class Work>
auto guarded(std::string_view doing, const Work& work) -> decltype(work()) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return Error{Code::no_space,
                 fmt::format("{}: memory is full; make the batches smaller", doing)};
  } catch (const std::exception& thrown) {  // c10::Error is one
    return torch_error(doing, thrown);
  }
}

// Sums over rows of one kind.
struct Tally {
  int64_t tokens = 0, correct = 0;
  double loss = 0;
  double mean_loss() const { return tokens == 0 ? 0 : loss / static_cast<double>(tokens); }
  double accuracy() const {
    return tokens == 0 ? 0 : static_cast<double>(correct) / static_cast<double>(tokens);
  }
};

// Which labels count (StepPlan's order): all but the numbers of a document that the query does not
// attend to, though it attends to another that is as right. `first`: the first router layer's
// choice, whose documents are those that a model learns to name.
std::vector<uint8_t> labels_that_count(const StepPlan& plan, const Selection* first) {
  std::vector<uint8_t> counts(plan.labels.size(), 1);
  if (first == nullptr) return counts;
  size_t row = 0;
  for (size_t q = 0; q + 1 < plan.query_starts.size(); ++q) {
    const std::vector<int32_t>& chosen = first->chosen[q];
    const bool reads =
        plan.named[q] < 0 || std::find(chosen.begin(), chosen.end(), plan.named[q]) != chosen.end();
    for (; row < plan.query_labels && plan.label_rows[row] < plan.query_starts[q + 1]; ++row)
      counts[row] = reads || plan.label_kinds[row] != LabelKind::number;
  }
  return counts;
}

void add_token_metrics(StepMetrics& metrics, const TokenLoss& loss, const StepPlan& plan,
                       const std::vector<uint8_t>& counts) {
  const Tensor each = loss.each.to(torch::kCPU).contiguous();
  const Tensor correct = loss.correct.to(torch::kCPU).contiguous();
  std::array<Tally, 3> tallies;
  for (size_t i = 0; i < plan.labels.size(); ++i) {
    if (!counts[i]) continue;
    Tally& tally = tallies[static_cast<size_t>(plan.label_kinds[i])];
    ++tally.tokens;
    tally.correct += correct.data_ptr<bool>()[i];
    tally.loss += static_cast<double>(each.data_ptr<float>()[i]);
  }
  const auto of = [&](LabelKind kind) -> const Tally& {
    return tallies[static_cast<size_t>(kind)];
  };
  metrics.number_loss = of(LabelKind::number).mean_loss();
  metrics.number_accuracy = of(LabelKind::number).accuracy();
  metrics.number_tokens = of(LabelKind::number).tokens;
  metrics.answer_loss = of(LabelKind::answer).mean_loss();
  metrics.answer_accuracy = of(LabelKind::answer).accuracy();
  metrics.answer_tokens = of(LabelKind::answer).tokens;
  metrics.text_loss = of(LabelKind::text).mean_loss();
  metrics.text_tokens = of(LabelKind::text).tokens;
}

// Whole targets: runs of labels of one kind that were all predicted. A query has one, of numbers or
// an answer, or several answers. `<End-of-Retrieve>` is part of the first answer: the first run of
// two or more. The rows of a query follow each other.
void add_target_metrics(StepMetrics& metrics, const TokenLoss& loss, const StepPlan& plan,
                        const std::vector<uint8_t>& counts) {
  const Tensor correct = loss.correct.to(torch::kCPU).contiguous();
  struct Targets {
    int64_t all = 0, right = 0;
    double share() const {
      return all == 0 ? 0 : static_cast<double>(right) / static_cast<double>(all);
    }
  };
  std::array<Targets, 3> targets;
  size_t row = 0;
  for (size_t q = 0; q + 1 < plan.query_starts.size(); ++q) {
    std::array<std::vector<bool>, 3> runs;  // whether all of it was predicted
    for (bool first = true;
         row < plan.query_labels && plan.label_rows[row] < plan.query_starts[q + 1];
         ++row, first = false) {
      if (!counts[row]) continue;
      std::vector<bool>& mine = runs[static_cast<size_t>(plan.label_kinds[row])];
      const bool goes_on = !first && plan.label_kinds[row] == plan.label_kinds[row - 1] &&
                           plan.label_rows[row] == plan.label_rows[row - 1] + 1;
      if (!goes_on) mine.push_back(true);
      if (!correct.data_ptr<bool>()[row]) mine.back() = false;
    }
    if (std::vector<bool>& answers = runs[static_cast<size_t>(LabelKind::answer)];
        answers.size() > 1) {
      answers[1] = answers[0] && answers[1];
      answers.erase(answers.begin());
    }
    for (size_t kind = 0; kind < targets.size(); ++kind) {
      targets[kind].all += static_cast<int64_t>(runs[kind].size());
      targets[kind].right += std::count(runs[kind].begin(), runs[kind].end(), true);
    }
  }
  const Targets& numbers = targets[static_cast<size_t>(LabelKind::number)];
  const Targets& answers = targets[static_cast<size_t>(LabelKind::answer)];
  metrics.numbers_right = numbers.share();
  metrics.number_queries = numbers.all;
  metrics.answers_right = answers.share();
  metrics.answer_queries = answers.all;
}

// Share of the relevant documents, or of as many as fit, among the first `k`. relevant [N].
double recall(const std::vector<int32_t>& ranking, std::span<const uint8_t> relevant, size_t k) {
  const auto all = static_cast<size_t>(std::count(relevant.begin(), relevant.end(), 1));
  size_t found = 0;
  for (size_t i = 0; i < std::min(k, ranking.size()); ++i)
    found += relevant[static_cast<size_t>(ranking[i])];
  return static_cast<double>(found) / static_cast<double>(std::min(all, k));
}

void add_recall(StepMetrics& metrics, const std::vector<const RouterLayer*>& routers,
                const StepPlan& plan, size_t top_k) {
  const size_t documents = plan.documents();
  int64_t counted = 0;
  for (const RouterLayer* router : routers)
    for (size_t r = 0; r < plan.routed.size(); ++r) {
      const auto relevant = std::span(plan.is_relevant).subspan(r * documents, documents);
      if (std::count(relevant.begin(), relevant.end(), 1) == 0) continue;
      const std::vector<int32_t>& ranking = router->selection.ranking[r];
      metrics.recall_at_1 += recall(ranking, relevant, 1);
      metrics.recall_at_5 += recall(ranking, relevant, 5);
      metrics.recall_at_k += recall(ranking, relevant, top_k);
      ++counted;
    }
  if (counted == 0) return;
  for (double* sum : {&metrics.recall_at_1, &metrics.recall_at_5, &metrics.recall_at_k})
    *sum /= static_cast<double>(counted);
  metrics.routed_queries = counted / static_cast<int64_t>(routers.size());
}

// The subjects of a step's chunks.
std::vector<uint64_t> chunk_subjects(const StepPlan& plan) {
  std::vector<uint64_t> subjects;
  for (size_t n = 0; n < plan.documents(); ++n)
    subjects.insert(subjects.end(),
                    static_cast<size_t>(plan.doc_chunks[n + 1] - plan.doc_chunks[n]),
                    plan.doc_subject[n]);
  return subjects;
}

class TorchModel final : public Model {
 public:
  TorchModel(ModelConfig config, Parameters parameters)
      : config_(std::move(config)), parameters_(std::move(parameters)) {}

  const ModelConfig& config() const override { return config_; }
  const std::vector<std::pair<std::string, Tensor>>& parameters() const override {
    return parameters_.all();
  }
  void to(torch::Device device) override { parameters_.to(device); }
  Result<void> insert_layers(std::span<const size_t> places) override {
    return guarded("new layers", [&] { return become(parameters_.with_layers(config_, places)); });
  }

  Result<void> keep_routers(std::span<const size_t> layers) override {
    return guarded("router layers",
                   [&] { return become(parameters_.with_routers(config_, layers)); });
  }
  void pool_by(size_t chunk_size) override { config_.msa.chunk_size = chunk_size; }

  Result<StepResult> step(const Batch& batch, const StepOptions& options) override {
    return guarded("training step", [&] { return run_step(batch, options); });
  }
  Result<Trace> trace(const Batch& batch, const StepOptions& options) override {
    return guarded("forward pass", [&]() -> Result<Trace> {
      const torch::NoGradGuard no_gradient;
      return run_trace(batch, options);
    });
  }
  Result<void> save(const std::filesystem::path& folder,
                    const std::filesystem::path& tokenizer_file, DType dtype,
                    std::string_view note) const override {
    return guarded(folder.string(), [&]() -> Result<void> {
      const torch::NoGradGuard no_gradient;
      return save_checkpoint(folder, tokenizer_file, config_, parameters_, dtype, note);
    });
  }

 private:
  Result<void> become(Result<std::pair<Parameters, ModelConfig>> other) {
    MSA_TRY(other);
    std::tie(parameters_, config_) = *std::move(other);
    return {};
  }

  torch::Device device() const { return parameters_.all().front().second.device(); }

  Result<void> check(const StepOptions& options) const {
    if (options.compute == torch::kBFloat16 || options.compute == torch::kFloat32) return {};
    return Error{Code::unsupported, fmt::format("compute type {}: is neither BFloat16 nor Float; "
                                                "choose one of them",
                                                c10::toString(options.compute))};
  }

  // The final norm's output for some rows of the step.
  Tensor last_hidden(const ForwardOutput& out, const Tensor& rows, const StepWeights& weights,
                     const StepOptions& options) const {
    return add_rms_norm(out.hidden.index_select(0, rows), out.delta.index_select(0, rows),
                        weights.norm, config_.rms_norm_eps, options.compute, options.ops)
        .normed;
  }

  // Each row's share of the loss. Of the queries' labels: the weighted mean. The documents' labels
  // are many more, so theirs is a term of its own: the mean over them of weight * cross-entropy.
  static std::vector<float> row_weights(const StepPlan& plan, const std::vector<uint8_t>& counts) {
    double sum = 0;
    for (size_t i = 0; i < plan.query_labels; ++i)
      if (counts[i]) sum += static_cast<double>(plan.label_weights[i]);
    if (sum == 0) sum = 1;
    const auto others = static_cast<double>(plan.labels.size() - plan.query_labels);
    std::vector<float> weights;
    for (size_t i = 0; i < plan.labels.size(); ++i)
      weights.push_back(counts[i] ? static_cast<float>(static_cast<double>(plan.label_weights[i]) /
                                                       (i < plan.query_labels ? sum : others))
                                  : 0.0f);
    return weights;
  }

  Result<StepResult> run_step(const Batch& batch, const StepOptions& options) {
    MSA_TRY(check(options));
    if (options.negatives && batch.doc_subject.size() != batch.documents())
      return Error{
          Code::invalid_argument,
          fmt::format("batch: has subjects of {} of its {} documents; give all of them, or "
                      "keep no negatives",
                      batch.doc_subject.size(), batch.documents())};
    MSA_ASSIGN(StepPlan made, make_plan(batch, config_, options.top_k));
    const auto plan = std::make_shared<const StepPlan>(std::move(made));
    const StepWeights weights = step_weights(parameters_, config_, options.compute);
    const ForwardOutput out = forward(plan, config_, weights, options, device());

    StepResult result;
    StepMetrics& metrics = result.metrics;
    result.loss = torch::zeros({}, torch::dtype(torch::kFloat32).device(device()));
    if (!plan->labels.empty()) {
      const auto tensor = [&](const auto& values, torch::Dtype type) {
        using T = typename std::decay_t<decltype(values)>::value_type;
        return torch::tensor(at::ArrayRef<T>(values), torch::dtype(type)).to(device());
      };
      const std::vector<uint8_t> counts =
          labels_that_count(*plan, out.routers.empty() ? nullptr : &out.routers.front().selection);
      const TokenLoss loss = token_loss(
          last_hidden(out, tensor(plan->label_rows, torch::kInt64), weights, options), weights.head,
          tensor(plan->labels, torch::kInt64), tensor(row_weights(*plan, counts), torch::kFloat32));
      result.loss = result.loss + options.lm_weight * loss.total;
      metrics.lm_loss = loss.total.item<double>();
      add_token_metrics(metrics, loss, *plan, counts);
      add_target_metrics(metrics, loss, *plan, counts);
    }
    std::vector<const RouterLayer*> counted;
    std::vector<Tensor> terms;
    const double temperature = std::clamp(options.temperature, 0.001, 0.5);
    for (const RouterLayer& router : out.routers) {
      if (router.layer < config_.layers / 2) continue;
      const Tensor term =
          routing_loss(router.scores, *plan, options.aux_loss, temperature, router.hard);
      if (!term.defined()) continue;
      counted.push_back(&router);
      terms.push_back(term);
    }
    if (!terms.empty()) {
      const Tensor aux = torch::stack(terms).mean();
      result.loss = result.loss + options.aux_weight * aux;
      metrics.aux_loss = aux.item<double>();
      add_recall(metrics, counted, *plan, options.top_k);
    }
    metrics.loss = result.loss.item<double>();
    // Keys of a step that went wrong would stay in the way of many others.
    if (options.negatives && !out.routers.empty() && std::isfinite(metrics.loss)) {
      std::vector<Tensor> keys;
      for (const RouterLayer& router : out.routers) keys.push_back(router.keys);
      options.negatives->add(chunk_subjects(*plan), keys);
    }
    // Of a batch that asks for nothing the loss is zero, and still has a (zero) gradient.
    if (!result.loss.requires_grad()) result.loss = result.loss + 0 * weights.norm.sum();
    return result;
  }

  Result<Trace> run_trace(const Batch& batch, const StepOptions& options) {
    MSA_TRY(check(options));
    MSA_ASSIGN(StepPlan made, make_plan(batch, config_, options.top_k));
    const auto plan = std::make_shared<const StepPlan>(std::move(made));
    const StepWeights weights = step_weights(parameters_, config_, options.compute);
    ForwardOutput out = forward(plan, config_, weights, options, device());
    Trace trace;
    const Tensor rows =
        torch::arange(plan->prefix, plan->context, torch::dtype(torch::kInt64).device(device()));
    trace.logits =
        torch::linear(last_hidden(out, rows, weights, options), weights.head.to(options.compute))
            .to(torch::kFloat32);
    for (RouterLayer& router : out.routers) {
      Trace::Layer layer;
      layer.layer = static_cast<int>(router.layer);
      layer.documents.resize(batch.queries());
      layer.scores.resize(batch.queries());
      for (size_t r = 0; r < plan->routed.size(); ++r) {
        std::vector<int32_t>& documents = router.selection.ranking[r];
        std::vector<float>& scores = router.selection.ranking_scores[r];
        const size_t count = std::min(options.top_k, documents.size());
        documents.resize(count);
        scores.resize(count);
        const auto q = static_cast<size_t>(plan->routed[r]);
        layer.documents[q] = std::move(documents);
        layer.scores[q] = std::move(scores);
      }
      trace.layers.push_back(std::move(layer));
    }
    return trace;
  }

  ModelConfig config_;
  Parameters parameters_;
};

}  // namespace

Result<AuxLoss> parse_aux_loss(std::string_view name) {
  std::string known;
  for (const auto& [of, loss] : kAuxLosses) {
    if (of == name) return loss;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", of);
  }
  return Error{Code::invalid_argument,
               fmt::format("auxiliary loss '{}': is not known; choose one of {}", name, known)};
}

std::string_view name_of(AuxLoss loss) {
  for (const auto& [name, of] : kAuxLosses)
    if (of == loss) return name;
  return "?";
}

Result<std::unique_ptr<Model>> Model::create(const ModelConfig& config, uint64_t seed) {
  return guarded("new model", [&]() -> Result<std::unique_ptr<Model>> {
    MSA_ASSIGN(Parameters parameters, Parameters::random(config, seed));
    return std::make_unique<TorchModel>(config, std::move(parameters));
  });
}

Result<std::unique_ptr<Model>> Model::load(const std::filesystem::path& folder) {
  return guarded(folder.string(), [&]() -> Result<std::unique_ptr<Model>> {
    MSA_ASSIGN(auto read, Parameters::read(folder));
    return std::make_unique<TorchModel>(std::move(read.second), std::move(read.first));
  });
}

}  // namespace msa::train
