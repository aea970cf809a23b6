#include "train/model/golden.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <string_view>

#include "checkpoint/safetensors.h"
#include "train/model/model.h"

namespace msa::train {
namespace {

using torch::Tensor;

constexpr size_t kQuestions = 2;  // of every golden case

// The expected numbers of a folder.
class Expected {
 public:
  static Result<Expected> open(const std::filesystem::path& folder) {
    MSA_ASSIGN(SafetensorsFile file, SafetensorsFile::open(folder / "expected.safetensors"));
    return Expected(std::move(file));
  }

  bool has(const std::string& name) const { return file_.tensors().contains(name); }
  const auto& tensors() const { return file_.tensors(); }

  Result<Tensor> floats(const std::string& name) const { return load(name, DType::f32); }
  Result<std::vector<int64_t>> integers(const std::string& name) const {
    MSA_ASSIGN(const Tensor values, load(name, DType::i64));
    return std::vector<int64_t>(values.data_ptr<int64_t>(),
                                values.data_ptr<int64_t>() + values.numel());
  }

 private:
  explicit Expected(SafetensorsFile file) : file_(std::move(file)) {}

  Result<Tensor> load(const std::string& name, DType dtype) const {
    MSA_ASSIGN(const TensorView view, file_.find(name));
    if (view.dtype != dtype)
      return Error{Code::corrupt,
                   fmt::format("{}: tensor '{}' is of dtype {}, golden cases have {} there; make "
                               "the case again",
                               file_.path().string(), name, name_of(view.dtype), name_of(dtype))};
    const std::vector<int64_t> shape(view.shape.begin(), view.shape.end());
    const Tensor values =
        torch::empty(shape, dtype == DType::f32 ? torch::kFloat32 : torch::kInt64);
    std::memcpy(values.data_ptr(), view.bytes.data(), view.bytes.size());
    return values;
  }

  SafetensorsFile file_;
};

std::vector<TokenId> tokens_of(const std::vector<int64_t>& values) {
  return {values.begin(), values.end()};
}

Error malformed(const std::filesystem::path& folder, const std::string& what) {
  return Error{Code::corrupt, fmt::format("{}: {}; make the case again", folder.string(), what)};
}

void add_query(Batch& batch, const std::vector<TokenId>& tokens, size_t routing) {
  if (batch.query_starts.empty()) batch.query_starts = {0};
  batch.query_tokens.insert(batch.query_tokens.end(), tokens.begin(), tokens.end());
  batch.query_starts.push_back(static_cast<int32_t>(batch.query_tokens.size()));
  batch.query_group.push_back(0);
  for (size_t i = 0; i < tokens.size(); ++i) {
    batch.routes.push_back(i < routing);
    batch.labels.push_back(-1);
    batch.label_weights.push_back(0);
    batch.label_kinds.push_back(LabelKind::text);
  }
  if (batch.relevant_starts.empty()) batch.relevant_starts = {0};
  batch.relevant_starts.push_back(static_cast<int32_t>(batch.relevant.size()));
}

void add_document(Batch& batch, const TokenId* tokens, size_t count) {
  if (batch.doc_starts.empty()) batch.doc_starts = {0};
  batch.doc_number.push_back(static_cast<uint32_t>(batch.doc_group.size()));
  batch.doc_group.push_back(0);
  batch.doc_tokens.insert(batch.doc_tokens.end(), tokens, tokens + count);
  batch.doc_starts.push_back(static_cast<int32_t>(batch.doc_tokens.size()));
}

// The training sequence: prefix (-2), documents (1..n), routing tokens (0) and response (-1).
Result<Batch> training_batch(const Expected& expected, const std::filesystem::path& folder) {
  MSA_ASSIGN(const auto ids, expected.integers("train.ids"));
  MSA_ASSIGN(const auto of, expected.integers("train.doc_ids"));
  MSA_ASSIGN(const auto labels, expected.integers("train.labels"));
  MSA_ASSIGN(const auto relevance, expected.integers("train.doc_relevance"));
  if (of.size() != ids.size() || labels.size() != ids.size())
    return malformed(folder, "train.ids, train.doc_ids and train.labels are of different lengths");
  const std::vector<TokenId> tokens = tokens_of(ids);
  Batch batch;
  size_t begin = 0;
  const auto run = [&](int64_t id) {  // the end of the run of tokens of `id` that starts at `begin`
    size_t end = begin;
    while (end < of.size() && of[end] == id) ++end;
    return end;
  };
  const size_t prefix = run(-2);
  batch.prefix.assign(tokens.begin(), tokens.begin() + static_cast<ptrdiff_t>(prefix));
  begin = prefix;
  for (size_t n = 0; n < relevance.size(); ++n) {
    const size_t end = run(static_cast<int64_t>(n) + 1);
    if (end == begin) return malformed(folder, fmt::format("document {} has no tokens", n + 1));
    add_document(batch, tokens.data() + begin, end - begin);
    if (relevance[n] != 0) batch.relevant.push_back(static_cast<int32_t>(n));
    begin = end;
  }
  const size_t query = begin, routing = run(0) - query;
  add_query(batch, {tokens.begin() + static_cast<ptrdiff_t>(query), tokens.end()}, routing);
  batch.relevant_starts = {0, static_cast<int32_t>(batch.relevant.size())};
  for (size_t t = query; t + 1 < tokens.size(); ++t)
    if (labels[t + 1] >= 0) {
      batch.labels[t - query] = static_cast<TokenId>(labels[t + 1]);
      batch.label_weights[t - query] = 1;
    }
  return batch;
}

// The two questions, with the three tokens that follow them.
Result<Batch> question_batch(const Expected& expected, const std::filesystem::path& folder) {
  Batch batch;
  MSA_ASSIGN(const auto prefix, expected.integers("prefix_ids"));
  MSA_ASSIGN(const auto documents, expected.integers("doc_tokens"));
  MSA_ASSIGN(const auto lengths, expected.integers("doc_lengths"));
  MSA_ASSIGN(const auto tail, expected.integers("tail_ids"));
  batch.prefix = tokens_of(prefix);
  const std::vector<TokenId> all = tokens_of(documents);
  size_t begin = 0;
  for (const int64_t length : lengths) {
    if (length <= 0 || static_cast<size_t>(length) > all.size() - begin)
      return malformed(folder, "doc_lengths do not fit doc_tokens");
    add_document(batch, all.data() + begin, static_cast<size_t>(length));
    begin += static_cast<size_t>(length);
  }
  for (size_t b = 0; b < kQuestions; ++b) {
    MSA_ASSIGN(const auto question, expected.integers(fmt::format("query{}_ids", b)));
    std::vector<TokenId> tokens = tokens_of(question);
    tokens.insert(tokens.end(), tail.begin(), tail.end());
    add_query(batch, tokens, question.size());
  }
  return batch;
}

double relative_error(const Tensor& got, const Tensor& expected) {
  if (got.numel() != expected.numel()) return 1;
  const double difference =
      (got.detach().flatten() - expected.flatten()).abs().max().item<double>();
  const double error = difference / std::max(1e-6, expected.abs().max().item<double>());
  return std::isnan(error) ? 1 : error;
}

class Check {
 public:
  Check(const std::filesystem::path& folder, const Expected& expected, Model& model)
      : folder_(folder), expected_(expected), model_(model) {}

  Result<void> run(OpsMode mode) {
    mode_ = mode == OpsMode::composed ? "composed" : "fused";
    options_.ops = mode;
    options_.compute = torch::kFloat32;
    options_.top_k = model_.config().msa.top_k;
    options_.lm_weight = model_.config().msa.lm_loss_weight;
    options_.aux_weight = model_.config().msa.aux_loss_weight;
    options_.temperature = model_.config().msa.infonce_temperature;
    MSA_TRY(questions());
    for (const AuxLoss loss : {AuxLoss::infonce, AuxLoss::infonce_decouple, AuxLoss::infonce_focal,
                               AuxLoss::infonce_decouple_focal})
      if (expected_.has(fmt::format("train.{}.loss", name_of(loss)))) MSA_TRY(training(loss));
    return {};
  }

  GoldenReport report;

 private:
  void add(const std::string& what, double error) {
    report.lines.push_back({fmt::format("{} {}", mode_, what), error});
  }

  Result<void> training(AuxLoss loss) {
    MSA_ASSIGN(const Batch batch, training_batch(expected_, folder_));
    options_.aux_loss = loss;
    options_.cosine = true;  // in training, every method of this family
    for (const auto& [name, parameter] : model_.parameters()) parameter.mutable_grad() = Tensor();
    MSA_ASSIGN(const StepResult result, model_.step(batch, options_));
    try {
      result.loss.backward();
    } catch (const std::exception& thrown) {
      const std::string_view what = thrown.what();
      return Error{Code::internal, fmt::format("{}: backward pass: {}; report this as a bug",
                                               folder_.string(), what.substr(0, what.find('\n')))};
    }
    const std::string method = fmt::format("train.{}.", name_of(loss));
    const std::array<std::pair<const char*, double>, 3> losses = {
        {{"loss", result.metrics.loss},
         {"lm_loss", result.metrics.lm_loss},
         {"aux_loss", result.metrics.aux_loss}}};
    for (const auto& [name, value] : losses) {
      MSA_ASSIGN(const Tensor wanted, expected_.floats(method + name));
      add(fmt::format("{}: {}", name_of(loss), name),
          relative_error(torch::tensor({value}, torch::kFloat64), wanted));
    }
    const std::string prefix = method + "grad.";
    std::map<std::string, Tensor, std::less<>> gradients;
    for (const auto& [name, parameter] : model_.parameters())
      gradients[name] =
          parameter.grad().defined() ? parameter.grad() : torch::zeros_like(parameter);
    for (const auto& [name, view] : expected_.tensors()) {
      if (!name.starts_with(prefix)) continue;
      const std::string parameter = name.substr(prefix.size());
      MSA_ASSIGN(const Tensor wanted, expected_.floats(name));
      const auto found = gradients.find(parameter);
      if (found == gradients.end())
        return malformed(folder_, fmt::format("'{}' is a gradient of no parameter", name));
      add(fmt::format("{}: gradient of {}", name_of(loss), parameter),
          relative_error(found->second, wanted));
    }
    return {};
  }

  Result<void> questions() {
    MSA_ASSIGN(const Batch batch, question_batch(expected_, folder_));
    options_.cosine = model_.config().msa.cosine_by_default();
    MSA_ASSIGN(const Model::Trace trace, model_.trace(batch, options_));
    for (size_t b = 0; b < batch.queries(); ++b) {
      MSA_ASSIGN(const Tensor wanted, expected_.floats(fmt::format("stage2.query{}.logits", b)));
      add(fmt::format("question {}: logits", b),
          relative_error(trace.logits.slice(0, batch.query_starts[b], batch.query_starts[b + 1]),
                         wanted));
    }
    for (const Model::Trace::Layer& layer : trace.layers) {
      const std::string name = fmt::format("stage2.layer{}.", layer.layer);
      MSA_ASSIGN(const auto documents, expected_.integers(name + "selected_docs"));
      MSA_ASSIGN(const Tensor scores, expected_.floats(name + "scores"));
      const size_t k = documents.size() / batch.queries();
      for (size_t b = 0; b < batch.queries(); ++b) {
        std::vector<int32_t> wanted;
        for (size_t j = 0; j < k; ++j)
          if (documents[b * k + j] >= 0)
            wanted.push_back(static_cast<int32_t>(documents[b * k + j]));
        const std::string what = fmt::format("question {}: layer {}", b, layer.layer);
        add(what + " documents", layer.documents[b] == wanted ? 0 : 1);
        add(what + " scores",
            relative_error(
                torch::tensor(at::ArrayRef<float>(layer.scores[b])),
                scores.view({static_cast<int64_t>(batch.queries()), -1})[static_cast<int64_t>(b)]
                    .slice(0, 0, static_cast<int64_t>(wanted.size()))));
      }
    }
    return {};
  }

  std::filesystem::path folder_;
  const Expected& expected_;
  Model& model_;
  StepOptions options_;
  std::string mode_;
};

}  // namespace

bool GoldenReport::ok() const {
  return std::all_of(lines.begin(), lines.end(),
                     [&](const Line& line) { return line.error <= tolerance; });
}

const GoldenReport::Line& GoldenReport::worst() const {
  return *std::max_element(lines.begin(), lines.end(),
                           [](const Line& a, const Line& b) { return a.error < b.error; });
}

Result<GoldenReport> check_golden(const std::filesystem::path& folder) {
  MSA_ASSIGN(const Expected expected, Expected::open(folder));
  MSA_ASSIGN(const auto model, Model::load(folder));
  Check check(folder, expected, *model);
  MSA_TRY(check.run(OpsMode::composed));
  MSA_TRY(check.run(OpsMode::automatic));
  return std::move(check.report);
}

}  // namespace msa::train
