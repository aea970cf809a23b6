#include "train/model/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/test_folder.h"
#include "checkpoint/checkpoint.h"
#include "train/model/test_batch.h"

namespace msa::train {
namespace {

using testing::HasSubstr;
using torch::Tensor;

const std::filesystem::path kTokenizer =
    std::filesystem::path(MSA_TESTDATA) / "qwen3-tokenizer" / "tokenizer.json";

std::unique_ptr<Model> small_model(const ModelConfig& config = small_config()) {
  auto model = Model::create(config, 7);
  EXPECT_TRUE(model.ok()) << model.error().message;
  // Larger weights than a fresh model's, so that everything has an effect that can be seen.
  const torch::NoGradGuard no_gradient;
  for (const auto& [name, tensor] : (*model)->parameters())
    if (tensor.dim() == 2) tensor.mul_(8);
  return std::move(model).value();
}

StepOptions exact(OpsMode ops = OpsMode::automatic) {
  StepOptions options;
  options.compute = torch::kFloat32;
  options.top_k = 2;
  options.ops = ops;
  return options;
}

std::map<std::string, Tensor> gradients(Model& model, const Batch& batch,
                                        const StepOptions& options, double* loss = nullptr) {
  for (const auto& [name, tensor] : model.parameters()) tensor.mutable_grad() = Tensor();
  const auto result = model.step(batch, options);
  EXPECT_TRUE(result.ok()) << result.error().message;
  result->loss.backward();
  if (loss) *loss = result->metrics.loss;
  std::map<std::string, Tensor> found;
  for (const auto& [name, tensor] : model.parameters())
    found[name] = tensor.grad().defined() ? tensor.grad().clone() : torch::zeros_like(tensor);
  return found;
}

double difference(const Tensor& a, const Tensor& b) {
  return ((a - b).abs().max() / b.abs().max().clamp_min(1e-6)).item<double>();
}

void expect_equal(const std::map<std::string, Tensor>& got,
                  const std::map<std::string, Tensor>& wanted, double tolerance) {
  for (const auto& [name, tensor] : wanted)
    EXPECT_LE(difference(got.at(name), tensor), tolerance) << name;
}

TEST(Model, NewOnesHaveTheTensorsOfACheckpoint) {
  const auto model = Model::create(small_config(), 7);
  ASSERT_TRUE(model.ok()) << model.error().message;
  const auto expected = expected_tensors(small_config());
  const auto& parameters = (*model)->parameters();
  ASSERT_EQ(parameters.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    const auto& [name, tensor] = parameters[i];
    EXPECT_EQ(name, expected[i].name);
    EXPECT_EQ(std::vector<size_t>(tensor.sizes().begin(), tensor.sizes().end()), expected[i].shape);
    EXPECT_TRUE(tensor.requires_grad() && tensor.is_leaf());
  }
  const std::map<std::string, Tensor> named(parameters.begin(), parameters.end());
  const Tensor q = named.at("model.layers.2.self_attn.router_q_proj.0.weight");
  const Tensor k = named.at("model.layers.2.self_attn.router_k_proj.0.weight");
  for (int64_t h = 0; h < 4; ++h)
    EXPECT_TRUE(
        torch::equal(q.slice(0, 16 * h, 16 * h + 16), k.slice(0, 16 * (h / 2), 16 * (h / 2) + 16)));
  const auto expect_deviation = [&](const std::string& name, double wanted) {
    EXPECT_NEAR(named.at(name).std().item<double>(), wanted, 0.1 * wanted) << name;
  };
  const Tensor up = named.at("model.layers.0.mlp.up_proj.weight");
  const Tensor down = named.at("model.layers.0.mlp.down_proj.weight");
  expect_deviation("model.layers.0.mlp.up_proj.weight",
                   1 / std::sqrt(static_cast<double>(up.size(1))));
  expect_deviation("model.layers.0.mlp.down_proj.weight",
                   1 / std::sqrt(10. * static_cast<double>(down.size(1))));
  EXPECT_TRUE(named.at("model.norm.weight").eq(1).all().item<bool>());
}

TEST(Model, SeedDecides) {
  const auto a = Model::create(small_config(), 1), b = Model::create(small_config(), 1),
             c = Model::create(small_config(), 2);
  EXPECT_TRUE(torch::equal((*a)->parameters()[0].second, (*b)->parameters()[0].second));
  EXPECT_FALSE(torch::equal((*a)->parameters()[0].second, (*c)->parameters()[0].second));
}

TEST(Model, ImpossibleShapesAreErrors) {
  ModelConfig config = small_config();
  config.query_heads = 3;
  EXPECT_FALSE(Model::create(config, 1).ok());
  config = small_config();
  config.msa.router_layers = {5};
  EXPECT_FALSE(Model::create(config, 1).ok());
}

// What a query gives depends on its own group only, however the batch is packed.
TEST(Model, QueriesAndGroupsDoNotSeeEachOther) {
  for (const uint64_t seed : {1, 2, 3}) {
    BatchShape shape;
    shape.groups = 3;
    shape.documents = 9;
    shape.queries = 6;
    const Batch batch = random_batch(shape, seed);
    const auto model = small_model();
    const auto all = model->trace(batch, exact());
    ASSERT_TRUE(all.ok()) << all.error().message;
    for (size_t q = 0; q < batch.queries(); ++q) {
      Batch one;
      one.prefix = batch.prefix;
      one.doc_starts = {0};
      std::vector<int32_t> number;  // in the batch
      for (size_t n = 0; n < batch.documents(); ++n) {
        if (batch.doc_group[n] != batch.query_group[q]) continue;
        number.push_back(static_cast<int32_t>(n));
        one.doc_tokens.insert(one.doc_tokens.end(), batch.doc_tokens.begin() + batch.doc_starts[n],
                              batch.doc_tokens.begin() + batch.doc_starts[n + 1]);
        one.doc_starts.push_back(static_cast<int32_t>(one.doc_tokens.size()));
        one.doc_group.push_back(0);
      }
      const auto begin = batch.query_starts[q], end = batch.query_starts[q + 1];
      one.query_tokens = {batch.query_tokens.begin() + begin, batch.query_tokens.begin() + end};
      one.routes = {batch.routes.begin() + begin, batch.routes.begin() + end};
      one.query_starts = {0, end - begin};
      one.query_group = {0};
      one.labels.assign(one.query_tokens.size(), -1);
      one.label_weights.assign(one.query_tokens.size(), 0);
      one.label_kinds.assign(one.query_tokens.size(), LabelKind::text);
      one.relevant_starts = {0, 0};
      const auto alone = model->trace(one, exact());
      ASSERT_TRUE(alone.ok()) << alone.error().message;
      EXPECT_LE(difference(all->logits.slice(0, begin, end), alone->logits), 2e-5);
      ASSERT_EQ(alone->layers.size(), 2u);
      for (size_t i = 0; i < alone->layers.size(); ++i) {
        std::vector<int32_t> documents;
        for (const int32_t n : alone->layers[i].documents[0])
          documents.push_back(number[static_cast<size_t>(n)]);
        EXPECT_EQ(all->layers[i].documents[q], documents);
      }
    }
  }
}

// Everything computed by hand-made gradients against everything by libtorch's own.
TEST(Model, FusedAndComposedAgree) {
  for (const bool document_labels : {false, true}) {
    BatchShape shape;
    shape.groups = 2;
    shape.max_document = 40;
    shape.document_labels = document_labels;
    const Batch batch = random_batch(shape, 11);
    const auto model = small_model();
    double fused_loss = 0, composed_loss = 0;
    const auto fused = gradients(*model, batch, exact(), &fused_loss);
    const auto composed = gradients(*model, batch, exact(OpsMode::composed), &composed_loss);
    EXPECT_NEAR(fused_loss, composed_loss, 1e-5 * composed_loss);
    expect_equal(fused, composed, 1e-4);
  }
}

TEST(Model, RecomputedLayersGiveTheSame) {
  for (const bool decoupled : {false, true})
    for (const bool document_labels : {false, true}) {
      ModelConfig config = small_config();
      config.msa.decouple_router = decoupled;
      BatchShape shape;
      shape.document_labels = document_labels;
      const Batch batch = random_batch(shape, 12);
      const auto model = small_model(config);
      StepOptions options = exact();
      double kept_loss = 0, recomputed_loss = 0;
      const auto kept = gradients(*model, batch, options, &kept_loss);
      options.checkpoint_activations = true;
      const auto recomputed = gradients(*model, batch, options, &recomputed_loss);
      EXPECT_EQ(kept_loss, recomputed_loss);
      expect_equal(recomputed, kept, 1e-6);
    }
}

TEST(Model, TheSameStepTwiceGivesTheSame) {
  BatchShape shape;
  shape.documents = 40;
  shape.queries = 30;
  const Batch batch = random_batch(shape, 23);
  const auto model = small_model();
  for (const auto compute : {torch::kFloat32, torch::kBFloat16}) {
    StepOptions options = exact();
    options.compute = compute;
    const auto first = gradients(*model, batch, options);
    const auto second = gradients(*model, batch, options);
    for (const auto& [name, gradient] : first)
      EXPECT_TRUE(torch::equal(gradient, second.at(name))) << name;
  }
}

TEST(Model, EveryParameterLearns) {
  const Batch batch = random_batch({}, 13);
  const auto model = small_model();
  for (const auto& [name, gradient] : gradients(*model, batch, exact()))
    EXPECT_GT(gradient.abs().max().item<double>(), 0) << name;
}

TEST(Model, InsertedLayersChangeNothingAndLearn) {
  const Batch batch = random_batch({}, 15);
  const ModelConfig config = small_config();
  const std::vector<size_t> places = {0, 3, 3, config.layers};
  const auto model = small_model();
  const auto before = model->trace(batch, exact());
  ASSERT_TRUE(before.ok()) << before.error().message;
  std::map<std::string, Tensor> known(model->parameters().begin(), model->parameters().end());
  const Result<void> inserted = model->insert_layers(places);
  ASSERT_TRUE(inserted.ok()) << inserted.error().message;

  // Where each layer of before is now.
  const auto now = [&](size_t layer) {
    return layer + static_cast<size_t>(std::count_if(places.begin(), places.end(),
                                                     [&](size_t p) { return p <= layer; }));
  };
  EXPECT_EQ(model->config().layers, config.layers + places.size());
  for (size_t i = 0, r = 0; i < config.layers; ++i)
    if (config.msa.is_router_layer(i)) {
      EXPECT_EQ(model->config().msa.router_layers.at(r++), static_cast<int>(now(i)));
    }
  EXPECT_EQ(model->config().msa.router_layers.size(), config.msa.router_layers.size());
  const std::map<std::string, Tensor> named(model->parameters().begin(), model->parameters().end());
  for (size_t i = 0; i < config.layers; ++i) {
    const auto name = [](size_t layer) { return "model.layers." + std::to_string(layer); };
    EXPECT_TRUE(known.at(name(i) + ".mlp.up_proj.weight")
                    .is_same(named.at(name(now(i)) + ".mlp.up_proj.weight")));
  }
  EXPECT_TRUE(torch::equal(named.at("model.layers.0.self_attn.q_proj.weight"),
                           known.at("model.layers.0.self_attn.q_proj.weight")));

  const auto after = model->trace(batch, exact());
  ASSERT_TRUE(after.ok()) << after.error().message;
  EXPECT_TRUE(torch::equal(after->logits, before->logits));
  ASSERT_EQ(after->layers.size(), before->layers.size());
  for (size_t r = 0; r < before->layers.size(); ++r) {
    EXPECT_EQ(after->layers[r].layer, model->config().msa.router_layers[r]);
    EXPECT_EQ(after->layers[r].documents, before->layers[r].documents);
  }
  for (const auto& [name, gradient] : gradients(*model, batch, exact()))
    if (name.ends_with(".o_proj.weight") || name.ends_with(".down_proj.weight")) {
      EXPECT_GT(gradient.abs().max().item<double>(), 0) << name;
    }

  // What cannot be done changes nothing.
  for (const std::vector<size_t>& wrong : {std::vector<size_t>{config.layers + 5}, {2, 1}})
    EXPECT_FALSE(model->insert_layers(wrong).ok());
  EXPECT_EQ(model->config().layers, config.layers + places.size());
}

TEST(Model, DroppedRoutersRouteNoMore) {
  const Batch batch = random_batch({}, 15);
  const auto model = small_model();
  const std::vector<int> routers = model->config().msa.router_layers;
  ASSERT_GE(routers.size(), 2u);
  const auto before = model->trace(batch, exact());
  ASSERT_TRUE(before.ok()) << before.error().message;
  const std::map<std::string, Tensor> known(model->parameters().begin(), model->parameters().end());

  // What cannot be done changes nothing.
  for (const std::vector<size_t>& wrong :
       {std::vector<size_t>{}, {model->config().layers}, {static_cast<size_t>(routers[0]) + 100}})
    EXPECT_FALSE(model->keep_routers(wrong).ok());
  EXPECT_EQ(model->config().msa.router_layers, routers);

  const std::vector<size_t> last = {static_cast<size_t>(routers.back())};
  const Result<void> kept = model->keep_routers(last);
  ASSERT_TRUE(kept.ok()) << kept.error().message;
  EXPECT_EQ(model->config().msa.router_layers, std::vector<int>{routers.back()});
  size_t left = 0;
  for (const auto& [name, tensor] : model->parameters()) {
    EXPECT_TRUE(tensor.is_same(known.at(name))) << name;
    left += name.find("router_") != std::string::npos;
  }
  EXPECT_EQ(left, 2u);
  EXPECT_EQ(model->parameters().size(), known.size() - 2 * (routers.size() - 1));
  const auto after = model->trace(batch, exact());
  ASSERT_TRUE(after.ok()) << after.error().message;
  ASSERT_EQ(after->layers.size(), 1u);
  EXPECT_EQ(after->layers[0].layer, routers.back());
  EXPECT_FALSE(torch::equal(after->logits, before->logits));
  ASSERT_TRUE(model->insert_layers(std::vector<size_t>{0}).ok());
  EXPECT_EQ(model->config().msa.router_layers, std::vector<int>{routers.back() + 1});
}

// As a model of that chunk size from the start.
TEST(Model, PoolsByAnotherSizeFromThenOn) {
  const Batch batch = random_batch({}, 15);
  const auto model = small_model();
  const auto before = model->trace(batch, exact());
  ASSERT_TRUE(before.ok()) << before.error().message;
  model->pool_by(3);
  EXPECT_EQ(model->config().msa.chunk_size, 3u);
  ModelConfig config = small_model()->config();
  config.msa.chunk_size = 3;
  const auto other = small_model(config);
  const auto after = model->trace(batch, exact()), expected = other->trace(batch, exact());
  ASSERT_TRUE(after.ok() && expected.ok());
  EXPECT_TRUE(torch::equal(after->logits, expected->logits));
  EXPECT_FALSE(torch::equal(after->logits, before->logits));
}

// The router learns from the auxiliary loss only.
TEST(Model, RouterLearnsFromTheAuxiliaryLossOnly) {
  const Batch batch = random_batch({}, 14);
  const auto model = small_model();
  StepOptions options = exact();
  options.aux_weight = 0;
  for (const auto& [name, gradient] : gradients(*model, batch, options)) {
    if (name.find("router_") == std::string::npos) continue;
    EXPECT_EQ(gradient.abs().max().item<double>(), 0) << name;
  }
}

TEST(Model, DocumentLossIsATermOfItsOwn) {
  BatchShape shape;
  shape.document_labels = true;
  Batch batch = random_batch(shape, 15);
  const auto model = small_model();
  StepOptions options = exact();
  options.aux_weight = 0;
  const auto both = model->step(batch, options);
  Batch queries_only = batch;
  queries_only.doc_label_weights.clear();
  const auto queries = model->step(queries_only, options);
  Batch documents_only = batch;
  documents_only.labels.assign(batch.labels.size(), -1);
  const auto documents = model->step(documents_only, options);
  ASSERT_TRUE(both.ok() && queries.ok() && documents.ok());
  EXPECT_GT(documents->metrics.lm_loss, 0.1);
  EXPECT_NEAR(both->metrics.lm_loss, queries->metrics.lm_loss + documents->metrics.lm_loss, 1e-4);
  EXPECT_GT(both->metrics.text_tokens, queries->metrics.text_tokens);
  EXPECT_EQ(both->metrics.number_tokens, queries->metrics.number_tokens);
}

TEST(Model, LossIsTheWeightedMeanAndMetricsArePerKind) {
  const Batch batch = random_batch({}, 16);
  const auto model = small_model();
  StepOptions options = exact();
  const auto result = model->step(batch, options);
  const auto trace = model->trace(batch, options);
  ASSERT_TRUE(result.ok() && trace.ok());
  const Tensor log_p = trace->logits.to(torch::kFloat64).log_softmax(-1);
  double sum = 0, weight = 0, numbers = 0, right = 0;
  int64_t count = 0;
  for (size_t t = 0; t < batch.labels.size(); ++t) {
    if (batch.labels[t] < 0) continue;
    const auto row = static_cast<int64_t>(t);
    const double loss = -log_p[row][batch.labels[t]].item<double>();
    sum += static_cast<double>(batch.label_weights[t]) * loss;
    weight += static_cast<double>(batch.label_weights[t]);
    if (batch.label_kinds[t] != LabelKind::number) continue;
    ++count;
    numbers += loss;
    right += log_p[row].argmax().item<int64_t>() == batch.labels[t];
  }
  const StepMetrics& metrics = result->metrics;
  EXPECT_NEAR(metrics.lm_loss, sum / weight, 1e-4);
  EXPECT_EQ(metrics.number_tokens, count);
  EXPECT_NEAR(metrics.number_loss, numbers / static_cast<double>(count), 1e-4);
  EXPECT_NEAR(metrics.number_accuracy, right / static_cast<double>(count), 1e-9);
  EXPECT_NEAR(metrics.loss, metrics.lm_loss + metrics.aux_loss, 1e-4);

  // Whole targets: runs of labels of the kind, query by query.
  int64_t targets = 0, whole = 0;
  for (size_t q = 0; q < batch.queries(); ++q) {
    bool within = false, wrong = false;
    for (int32_t t = batch.query_starts[q]; t < batch.query_starts[q + 1]; ++t) {
      const auto i = static_cast<size_t>(t);
      const bool labelled = batch.labels[i] >= 0 && batch.label_kinds[i] == LabelKind::number;
      if (within && !labelled) whole += !wrong;
      if (labelled && !within) {
        ++targets;
        wrong = false;
      }
      if (labelled) wrong = wrong || log_p[t].argmax().item<int64_t>() != batch.labels[i];
      within = labelled;
    }
    whole += within && !wrong;
  }
  EXPECT_EQ(metrics.number_queries, targets);
  EXPECT_NEAR(metrics.numbers_right,
              static_cast<double>(whole) / static_cast<double>(std::max<int64_t>(targets, 1)),
              1e-9);

  // Router recall, from the traced documents of both router layers.
  double found_at_1 = 0;
  int64_t queries = 0;
  for (size_t q = 0; q < batch.queries(); ++q) {
    const auto begin = batch.relevant.begin() + batch.relevant_starts[q];
    const auto end = batch.relevant.begin() + batch.relevant_starts[q + 1];
    if (begin == end) continue;
    ++queries;
    for (const Model::Trace::Layer& layer : trace->layers)
      found_at_1 += std::find(begin, end, layer.documents[q][0]) != end ? 0.5 : 0;
  }
  EXPECT_EQ(metrics.routed_queries, queries);
  EXPECT_NEAR(metrics.recall_at_1, found_at_1 / static_cast<double>(queries), 1e-9);
  EXPECT_GE(metrics.recall_at_5, metrics.recall_at_1);
}

// Where one of several documents that are as right is to be named, the number is learned only if
// that one is attended to.
TEST(Model, NumbersOfDocumentsThatAreNotReadAreNotLearned) {
  Batch batch = random_batch({}, 19);
  for (LabelKind& kind : batch.label_kinds) kind = LabelKind::number;
  batch.label_kinds.front() = LabelKind::text;  // a label of another kind stays
  batch.labels.front() = 1;
  batch.label_weights.front() = 0.5f;
  const auto model = small_model();
  StepOptions options = exact();
  const auto trace = model->trace(batch, options);
  ASSERT_TRUE(trace.ok());
  const auto number_labels = [&](size_t q) {
    int64_t count = 0;
    for (auto t = static_cast<size_t>(batch.query_starts[q]);
         t < static_cast<size_t>(batch.query_starts[q + 1]); ++t)
      count += batch.labels[t] >= 0 && batch.label_kinds[t] == LabelKind::number;
    return count;
  };
  const auto all = model->step(batch, options);
  ASSERT_TRUE(all.ok());
  batch.named.assign(batch.queries(), -1);
  for (size_t q = 0; q < batch.queries(); ++q) {
    const std::vector<int32_t>& read = trace->layers.front().documents[q];
    for (int32_t n = 0; n < static_cast<int32_t>(batch.documents()); ++n) {
      batch.named[q] = n;
      const bool is_read = std::find(read.begin(), read.end(), n) != read.end();
      const auto step = model->step(batch, options);
      ASSERT_TRUE(step.ok());
      EXPECT_EQ(step->metrics.number_tokens,
                all->metrics.number_tokens - (is_read ? 0 : number_labels(q)));
      EXPECT_EQ(step->metrics.text_tokens, all->metrics.text_tokens);
      if (is_read) {
        EXPECT_EQ(step->metrics.lm_loss, all->metrics.lm_loss);
      } else {
        EXPECT_NE(step->metrics.lm_loss, all->metrics.lm_loss);
      }
    }
    batch.named[q] = -1;
  }
}

TEST(Model, HalfPrecisionIsCloseToExact) {
  const Batch batch = random_batch({}, 17);
  const auto model = Model::create(small_config(), 7);
  // Smaller weights: what rounding adds is not blown up from layer to layer, and whether gradients
  // are rounded or wrong can be told apart.
  {
    const torch::NoGradGuard no_gradient;
    for (const auto& [name, tensor] : (*model)->parameters())
      if (tensor.dim() == 2) torch::Tensor(tensor).mul_(0.2);
  }
  StepOptions options = exact();
  const auto wanted = gradients(**model, batch, options);
  options.compute = torch::kBFloat16;
  for (const bool recompute : {false, true}) {
    options.checkpoint_activations = recompute;
    const auto got = gradients(**model, batch, options);
    for (const auto& [name, tensor] : wanted) {
      EXPECT_EQ(got.at(name).scalar_type(), torch::kFloat32);
      const double cosine = torch::nn::functional::cosine_similarity(
                                got.at(name).flatten(), tensor.flatten(),
                                torch::nn::functional::CosineSimilarityFuncOptions().dim(0))
                                .item<double>();
      EXPECT_GT(cosine, 0.95) << name;
    }
  }
}

TEST(Model, BatchesWithoutDocumentsLabelsOrPrefix) {
  Batch batch = random_batch({}, 18);
  const auto model = small_model();
  Batch bare = batch;
  bare.doc_tokens.clear();
  bare.doc_starts.clear();
  bare.doc_group.clear();
  bare.prefix.clear();
  bare.relevant.clear();
  bare.relevant_starts.assign(batch.queries() + 1, 0);
  const auto without_documents = model->step(bare, exact());
  ASSERT_TRUE(without_documents.ok()) << without_documents.error().message;
  EXPECT_EQ(without_documents->metrics.aux_loss, 0);
  without_documents->loss.backward();

  batch.labels.assign(batch.labels.size(), -1);
  const auto without_labels = model->step(batch, exact());
  ASSERT_TRUE(without_labels.ok());
  EXPECT_EQ(without_labels->metrics.lm_loss, 0);
  EXPECT_GT(without_labels->metrics.aux_loss, 0);
  without_labels->loss.backward();

  batch.relevant.clear();
  batch.relevant_starts.assign(batch.queries() + 1, 0);
  const auto asks_nothing = model->step(batch, exact());
  ASSERT_TRUE(asks_nothing.ok());
  EXPECT_EQ(asks_nothing->metrics.loss, 0);
  asks_nothing->loss.backward();
}

TEST(Model, BadBatchesAndOptionsAreErrors) {
  const auto model = small_model();
  Batch batch = random_batch({}, 19);
  batch.query_tokens[0] = 64;
  const auto result = model->step(batch, exact());
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error().message, HasSubstr("query_tokens[0] is 64"));
  StepOptions options = exact();
  options.compute = torch::kFloat16;
  EXPECT_FALSE(model->step(random_batch({}, 19), options).ok());
}

// A few documents and one question, learnt by heart within seconds.
TEST(Model, LearnsATinySampleByHeart) {
  BatchShape shape;
  shape.documents = 4;
  shape.queries = 1;
  Batch batch = random_batch(shape, 20);
  batch.relevant_starts = {0, 1};
  batch.relevant = {2};
  const auto model = Model::create(small_config(), 21);
  std::vector<Tensor> parameters;
  for (const auto& [name, tensor] : (*model)->parameters()) parameters.push_back(tensor);
  torch::optim::AdamW optimiser(parameters, torch::optim::AdamWOptions(1e-2).weight_decay(0));
  StepOptions options = exact();
  StepMetrics last;
  for (int i = 0; i < 150; ++i) {
    optimiser.zero_grad();
    const auto result = (*model)->step(batch, options);
    ASSERT_TRUE(result.ok()) << result.error().message;
    result->loss.backward();
    optimiser.step();
    last = result->metrics;
  }
  EXPECT_LT(last.lm_loss, 0.02);
  EXPECT_LT(last.aux_loss, 0.1);
  EXPECT_EQ(last.recall_at_1, 1);
  if (last.number_queries > 0) {
    EXPECT_EQ(last.numbers_right, 1);
  }
  if (last.answer_queries > 0) {
    EXPECT_EQ(last.answers_right, 1);
  }
  EXPECT_GT(last.number_queries + last.answer_queries, 0);
}

TEST(Save, RoundTripInBothPrecisions) {
  ModelConfig config = small_config();
  config.vocabulary = 151936;  // of the tokenizer that is saved with it
  config.hidden = 8;
  const auto made = Model::create(config, 5);
  ASSERT_TRUE(made.ok()) << made.error().message;
  const TestFolder folder;
  const auto target = folder / "model";
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const auto saved = (*made)->save(target, kTokenizer, dtype, "trained by a test");
    ASSERT_TRUE(saved.ok()) << saved.error().message;
    EXPECT_EQ(folder.entries(), 1u);  // nothing is left beside it
    const auto loaded = Model::load(target);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    EXPECT_EQ((*loaded)->config().note, "trained by a test");
    for (size_t i = 0; i < (*made)->parameters().size(); ++i) {
      const Tensor before = (*made)->parameters()[i].second,
                   after = (*loaded)->parameters()[i].second;
      EXPECT_TRUE(torch::equal(
          dtype == DType::f32 ? before : before.to(torch::kBFloat16).to(torch::kFloat32), after));
    }
    EXPECT_EQ(TestFolder::get(target / "tokenizer.json"), TestFolder::get(kTokenizer));
    const auto generation = read_generation_config(target);
    ASSERT_TRUE(generation.ok());
    EXPECT_EQ(generation->eos_token_ids, std::vector<int64_t>{151645});
  }
}

TEST(Save, FailureLeavesTheOlderOneWhole) {
  const auto model = Model::create(small_config(), 5);
  const TestFolder folder;
  std::filesystem::create_directory(folder / "model");
  folder.put("model/config.json", "older");
  const auto missing = (*model)->save(folder / "model", folder / "none.json", DType::f32, "");
  ASSERT_FALSE(missing.ok());
  EXPECT_THAT(missing.error().message, HasSubstr("none.json"));
  const auto small = (*model)->save(folder / "model", kTokenizer, DType::f32, "");
  ASSERT_FALSE(small.ok());
  EXPECT_THAT(small.error().message, HasSubstr("more than the model's vocabulary of 64"));
  const auto dtype = (*model)->save(folder / "model", kTokenizer, DType::f16, "");
  ASSERT_FALSE(dtype.ok());
  {
    const torch::NoGradGuard no_gradient;
    (*model)->parameters()[3].second.fill_(std::nan(""));
  }
  const auto diverged = (*model)->save(folder / "model", kTokenizer, DType::f32, "");
  ASSERT_FALSE(diverged.ok());
  EXPECT_THAT(diverged.error().message, HasSubstr((*model)->parameters()[3].first));
  EXPECT_EQ(TestFolder::get(folder / "model/config.json"), "older");
  EXPECT_EQ(folder.entries(), 1u);
}

TEST(Load, ErrorsNameTheFolder) {
  const TestFolder folder;
  const auto loaded = Model::load(folder.path());
  ASSERT_FALSE(loaded.ok());
  EXPECT_THAT(loaded.error().message, HasSubstr(folder.path().string()));
}

}  // namespace
}  // namespace msa::train
