// The trainer and the engine are two implementations of one model: what one saves, the other must
// read the same way, down to the logits and the documents that are routed to.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "base/test_folder.h"
#include "kernels/backend.h"
#include "memory/router.h"
#include "model/decoder.h"
#include "model/encoder.h"
#include "model/route_rule.h"
#include "model/weights.h"
#include "snapshot_of_batch.h"
#include "text/prompt.h"
#include "text/tokenizer.h"
#include "train/model/model.h"

namespace msa {
namespace {

const std::filesystem::path kTokenizer =
    std::filesystem::path(MSA_TESTDATA) / "qwen3-tokenizer" / "tokenizer.json";
using testing::Contains;
using testing::Not;

constexpr size_t kTopK = 3;

struct Options {
  const char* name;
  HeadReduce heads;
  QueryReduce tokens;
  ChunkReduce chunks;
  bool cosine, decoupled, tied;
  DType saved;
  bool skip_handed_over = false;
};

ModelConfig config_of(const Options& options) {
  ModelConfig config;
  config.layers = 4;
  config.query_heads = 4;
  config.kv_heads = 2;
  config.head_dim = 16;
  config.hidden = 32;
  config.feed_forward = 48;
  config.vocabulary = 151936;  // of the tokenizer
  config.max_positions = 2048;
  config.rope_theta = 1e6;
  config.tied_embeddings = options.tied;
  config.msa.router_layers = {1, 2};  // one layer above them, where nobody sees documents
  config.msa.chunk_size = 8;
  config.msa.top_k = kTopK;
  config.msa.decouple_router = options.decoupled;
  config.msa.head_reduce = options.heads;
  config.msa.query_reduce = options.tokens;
  config.msa.chunk_reduce = options.chunks;
  config.msa.skip_handed_over = options.skip_handed_over;
  return config;
}

// The texts of the test, as tokens.
struct Texts {
  std::vector<TokenId> prefix;
  std::vector<std::vector<TokenId>> documents;
  struct Question {
    std::vector<TokenId> tokens;
    std::vector<uint8_t> routes;
    std::vector<uint32_t> handed_over;  // documents by their place
  };
  std::vector<Question> questions;
};

Texts make_texts() {
  const auto tokenizer = Tokenizer::load(kTokenizer).value();
  Texts texts;
  texts.prefix = prefix_tokens(*tokenizer);
  const std::vector<std::string> stories = {
      "Rivers carry sand to the sea.",
      "The lighthouse on Farrow Point was built in 1881 and rebuilt after the storm of 1903, when "
      "half of the tower fell; its lamp could be seen from twenty miles away.",
      "Ada keeps nine bees. She counts them every evening, and every evening one is missing.",
      "A clock.",
      "Copper turns green with age because its surface takes up oxygen, water and carbon from the "
      "air. Roofs that were bright when they were laid are green forty years later.",
      "The train to Merlin leaves at seven, the one to Oban at eight.",
      "Nobody has climbed the north face in winter."};
  for (size_t n = 0; n < stories.size(); ++n)
    texts.documents.push_back(
        document_tokens(*tokenizer, static_cast<uint32_t>(17 * n), stories[n]));
  for (const char* text : {"When was the lighthouse rebuilt?", "Who counts bees in the evening?"}) {
    const QuestionTokens question = question_tokens(*tokenizer, text);
    texts.questions.push_back(
        {question.tokens, std::vector<uint8_t>(question.tokens.size(), 0), {}});
    std::fill_n(texts.questions.back().routes.begin(), question.routing, uint8_t{1});
  }
  // A later round: the text that was handed over routes too, what stands between does not.
  Texts::Question later = texts.questions.front();
  const auto tail = tokenizer->encode("[17]<|object_ref_end|>");
  later.tokens.insert(later.tokens.end(), tail.begin(), tail.end());
  later.routes.resize(later.tokens.size(), 0);
  const InjectedTokens injected =
      injected_tokens(*tokenizer, std::vector<InjectedDocument>{{17, stories[1]}});
  later.tokens.insert(later.tokens.end(), injected.tokens.begin(), injected.tokens.end());
  later.routes.resize(later.routes.size() + injected.routing, 1);
  later.routes.resize(later.tokens.size(), 0);
  later.handed_over = {1, 4};  // more than stand in it, which changes nothing here
  texts.questions.push_back(std::move(later));
  return texts;
}

Batch as_batch(const Texts& texts) {
  Batch batch;
  batch.prefix = texts.prefix;
  batch.doc_starts = {0};
  for (const auto& tokens : texts.documents) {
    batch.doc_tokens.insert(batch.doc_tokens.end(), tokens.begin(), tokens.end());
    batch.doc_starts.push_back(static_cast<int32_t>(batch.doc_tokens.size()));
    batch.doc_group.push_back(0);
  }
  batch.query_starts = {0};
  batch.handed_over_starts = {0};
  for (const Texts::Question& question : texts.questions) {
    batch.handed_over.insert(batch.handed_over.end(), question.handed_over.begin(),
                             question.handed_over.end());
    batch.handed_over_starts.push_back(static_cast<int32_t>(batch.handed_over.size()));
    batch.query_tokens.insert(batch.query_tokens.end(), question.tokens.begin(),
                              question.tokens.end());
    batch.routes.insert(batch.routes.end(), question.routes.begin(), question.routes.end());
    batch.query_starts.push_back(static_cast<int32_t>(batch.query_tokens.size()));
    batch.query_group.push_back(0);
  }
  batch.labels.assign(batch.query_tokens.size(), -1);
  batch.label_weights.assign(batch.query_tokens.size(), 0);
  batch.label_kinds.assign(batch.query_tokens.size(), LabelKind::text);
  batch.relevant_starts.assign(texts.questions.size() + 1, 0);
  return batch;
}

class TrainerAndEngine : public testing::TestWithParam<Options> {
 protected:
  // Saves a model whose weights are large enough for attention and routing to be sharp.
  void SetUp() override {
    auto made = train::Model::create(config_of(GetParam()), 3);
    ASSERT_TRUE(made.ok()) << made.error().message;
    {
      const torch::NoGradGuard no_gradient;
      for (const auto& [name, tensor] : (*made)->parameters())
        if (tensor.dim() == 2) tensor.mul_(6);
    }
    const auto saved =
        (*made)->save(folder_ / "model", kTokenizer, GetParam().saved, "random, for a test");
    ASSERT_TRUE(saved.ok()) << saved.error().message;
    auto loaded = train::Model::load(folder_ / "model");
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    model_ = std::move(*loaded);
  }

  TestFolder folder_;
  std::unique_ptr<train::Model> model_;
};

TEST_P(TrainerAndEngine, AgreeOnLogitsAndRoutes) {
  const Texts texts = make_texts();
  train::StepOptions step;
  step.compute = torch::kFloat32;
  step.top_k = kTopK;
  step.cosine = GetParam().cosine;
  const auto trace = model_->trace(as_batch(texts), step);
  ASSERT_TRUE(trace.ok()) << trace.error().message;

  auto checkpoint = Checkpoint::open(folder_ / "model");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  const Runtime runtime;
  const auto backend = make_cpu_backend(runtime);
  ASSERT_TRUE(backend.ok()) << backend.error().message;
  const auto weights =
      load_weights(runtime, **backend, std::make_shared<const Checkpoint>(std::move(*checkpoint)),
                   DType::f32, GetParam().cosine);
  ASSERT_TRUE(weights.ok()) << weights.error().message;
  Encoder encoder(**backend, *weights);
  auto prefix = encoder.encode_prefix(texts.prefix);
  ASSERT_TRUE(prefix.ok()) << prefix.error().message;
  EncodedBatch encoded;
  const std::vector<std::span<const int32_t>> documents(texts.documents.begin(),
                                                        texts.documents.end());
  ASSERT_TRUE(encoder.encode(documents, DType::f32, false, encoded).ok());
  const ModelConfig& config = (*weights)->config();
  Router router(**backend, snapshot_of_batch(encoded, config.msa.router_layers),
                route_rule(config, GetParam().cosine), kTopK);
  Decoder decoder(**backend, *weights, std::make_shared<const PrefixKv>(std::move(*prefix)));

  int64_t row = 0;
  for (size_t q = 0; q < texts.questions.size(); ++q) {
    const Texts::Question& question = texts.questions[q];
    router.reset();
    if (config.msa.skip_handed_over) router.pass_over(question.handed_over);
    const auto asked = decoder.prefill(question.tokens, question.routes,
                                       texts.prefix.size() + kTopK, &router, true);
    ASSERT_TRUE(asked.ok()) << asked.error().message;
    const auto logits = decoder.all_logits();
    const auto rows = static_cast<int64_t>(question.tokens.size());
    const torch::Tensor engine = torch::from_blob(const_cast<float*>(logits.data),
                                                  {rows, static_cast<int64_t>(logits.cols)});
    const torch::Tensor trainer = trace->logits.slice(0, row, row + rows);
    EXPECT_LE(((engine - trainer).abs().max() / engine.abs().max()).item<double>(), 1e-4);
    EXPECT_GT(engine.std().item<double>(), 0.1);  // there is something to agree about
    row += rows;

    ASSERT_EQ(trace->layers.size(), router.choices().size());
    for (size_t i = 0; i < trace->layers.size(); ++i) {
      const LayerChoice& choice = router.choices()[i];
      EXPECT_EQ(trace->layers[i].layer, choice.layer);
      ASSERT_EQ(trace->layers[i].documents[q].size(), choice.hits.size());
      for (size_t j = 0; j < choice.hits.size(); ++j) {
        EXPECT_EQ(trace->layers[i].documents[q][j], static_cast<int32_t>(choice.hits[j].number));
        if (config.msa.skip_handed_over) {
          EXPECT_THAT(question.handed_over, Not(Contains(choice.hits[j].number)));
        }
        EXPECT_NEAR(trace->layers[i].scores[q][j], choice.hits[j].score,
                    1e-4f * std::max(1.f, std::abs(choice.hits[j].score)));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Options, TrainerAndEngine,
    testing::Values(Options{"mean_max_max_cosine", HeadReduce::mean, QueryReduce::max,
                            ChunkReduce::max, true, true, true, DType::f32},
                    Options{"mean_max_max_cosine_skipping", HeadReduce::mean, QueryReduce::max,
                            ChunkReduce::max, true, true, true, DType::f32, true},
                    Options{"mean_max_max_dot", HeadReduce::mean, QueryReduce::max,
                            ChunkReduce::max, false, true, false, DType::f32},
                    Options{"max_mean_mean_cosine", HeadReduce::max, QueryReduce::mean,
                            ChunkReduce::mean, true, true, true, DType::bf16},
                    Options{"max_last_max_dot_coupled", HeadReduce::max, QueryReduce::last,
                            ChunkReduce::max, false, false, true, DType::f32},
                    Options{"mean_last_mean_cosine_coupled", HeadReduce::mean, QueryReduce::last,
                            ChunkReduce::mean, true, false, true, DType::f32}),
    [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace msa
