// The engine against the oracle, over random checkpoints with every option of msa_config.

#include "oracle/oracle.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <random>

#include "kernels/backend.h"
#include "memory/router.h"
#include "model/decoder.h"
#include "model/encoder.h"
#include "model/route_rule.h"
#include "model/weights.h"
#include "snapshot_of_batch.h"

namespace msa {
namespace {

struct Options {
  HeadReduce heads;
  QueryReduce tokens;
  ChunkReduce chunks;
  bool cosine, decoupled, tied;
  std::vector<int> router_layers;
  size_t chunk_size, top_k;
};

std::vector<Options> all_options() {
  std::vector<Options> all;
  const std::vector<std::vector<int>> layer_sets = {{2}, {0, 1, 2}, {1}, {0, 2}};
  size_t i = 0;
  for (const auto heads : {HeadReduce::mean, HeadReduce::max})
    for (const auto tokens : {QueryReduce::max, QueryReduce::mean, QueryReduce::last})
      for (const auto chunks : {ChunkReduce::max, ChunkReduce::mean})
        for (const bool cosine : {true, false})
          for (const bool decoupled : {true, false}) {
            all.push_back({heads, tokens, chunks, cosine, decoupled, i % 3 != 0,
                           layer_sets[i % layer_sets.size()], 1 + i % 7,
                           i % 5 == 4 ? 9u : 1 + i % 3});
            ++i;
          }
  return all;
}

std::string name_of_options(const Options& o) {
  return fmt::format("{}_{}_{}_{}_{}_{}_layers{}_P{}_k{}", name_of(o.heads), name_of(o.tokens),
                     name_of(o.chunks), o.cosine ? "cosine" : "dot",
                     o.decoupled ? "decoupled" : "coupled", o.tied ? "tied" : "untied",
                     fmt::join(o.router_layers, ""), o.chunk_size, o.top_k);
}

class AgainstOracle : public testing::TestWithParam<Options> {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              fmt::format("msa_oracle_{}_{}", ::getpid(), name_of_options(GetParam()));
    std::filesystem::remove_all(folder_);
    const Options& o = GetParam();
    ModelConfig config;
    config.layers = 3;
    config.query_heads = 6;
    config.kv_heads = 2;
    config.head_dim = 8;
    config.hidden = 24;
    config.feed_forward = 40;
    config.vocabulary = 61;
    config.max_positions = 512;
    config.rope_theta = 10000;
    config.tied_embeddings = o.tied;
    config.msa.router_layers = o.router_layers;
    config.msa.chunk_size = o.chunk_size;
    config.msa.top_k = o.top_k;
    config.msa.decouple_router = o.decoupled;
    config.msa.head_reduce = o.heads;
    config.msa.query_reduce = o.tokens;
    config.msa.chunk_reduce = o.chunks;
    ASSERT_TRUE(write_random_checkpoint(folder_, config, DType::f32, 7).ok());
    auto opened = Checkpoint::open(folder_);
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    checkpoint_ = std::make_shared<const Checkpoint>(std::move(*opened));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::vector<int32_t> random_tokens(size_t count) {
    std::vector<int32_t> tokens(count);
    for (int32_t& token : tokens) token = static_cast<int32_t>(random_() % 61);
    return tokens;
  }

  std::filesystem::path folder_;
  std::shared_ptr<const Checkpoint> checkpoint_;
  std::mt19937 random_{3};
};

void expect_close(std::span<const float> got, const oracle::Row& expected,
                  const std::string& what) {
  ASSERT_EQ(got.size(), expected.size()) << what;
  double magnitude = 1e-6;
  for (const double value : expected) magnitude = std::max(magnitude, std::abs(value));
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(got[i], expected[i], 5e-5 * magnitude) << what << " at " << i;
}

TEST_P(AgainstOracle, AllStagesAgree) {
  const Options& o = GetParam();
  Runtime runtime;
  auto backend = make_cpu_backend(runtime);
  ASSERT_TRUE(backend.ok());
  auto weights = load_weights(runtime, **backend, checkpoint_, DType::f32, o.cosine);
  ASSERT_TRUE(weights.ok()) << weights.error().message;
  oracle::Oracle oracle(*checkpoint_, o.cosine);
  const ModelConfig& config = checkpoint_->config();

  const auto prefix_ids = random_tokens(3);
  oracle.set_prefix(prefix_ids);
  Encoder encoder(**backend, *weights);
  auto prefix = encoder.encode_prefix(prefix_ids);
  ASSERT_TRUE(prefix.ok());
  const auto prefix_kv = std::make_shared<const PrefixKv>(std::move(*prefix));

  std::vector<std::vector<int32_t>> documents;
  for (const size_t length : {5, 1, 17, 8, 30, 2}) documents.push_back(random_tokens(length));
  for (const auto& document : documents) oracle.add_document(document);
  const std::vector<std::span<const int32_t>> views(documents.begin(), documents.end());
  EncodedBatch batch;
  ASSERT_TRUE(encoder.encode(views, DType::f32, false, batch).ok());
  for (size_t i = 0; i < o.router_layers.size(); ++i) {
    const auto& chunks = oracle.chunks(o.router_layers[i]);
    ASSERT_EQ(batch.total_chunks, chunks.size());
    for (size_t c = 0; c < chunks.size(); ++c) {
      expect_close(batch.keys(i).as<float>().row(c), chunks[c].routing_key, "routing key");
      expect_close(batch.pooled_keys(i).as<float>().row(c), chunks[c].key, "pooled key");
      expect_close(batch.pooled_values(i).as<float>().row(c), chunks[c].value, "pooled value");
    }
  }

  // A later round's prompt: some tokens route, some are context, some route again.
  const auto question = random_tokens(14);
  std::vector<uint8_t> routes(question.size(), 1);
  for (const size_t t : {5, 6, 7, 13}) routes[t] = 0;
  std::vector<oracle::Routed> routed;
  const auto expected =
      oracle.ask(question, std::vector<bool>(routes.begin(), routes.end()), o.top_k, routed);
  Router router(**backend, snapshot_of_batch(batch, o.router_layers), route_rule(config, o.cosine),
                o.top_k);
  Decoder decoder(**backend, *weights, prefix_kv);
  const auto prefilled = decoder.prefill(question, routes, 3 + o.top_k, &router, true);
  ASSERT_TRUE(prefilled.ok()) << prefilled.error().message;
  ASSERT_EQ(router.choices().size(), routed.size());
  for (size_t i = 0; i < routed.size(); ++i) {
    const LayerChoice& choice = router.choices()[i];
    EXPECT_EQ(choice.layer, routed[i].layer);
    ASSERT_EQ(choice.hits.size(), routed[i].documents.size());
    std::vector<float> scores;
    for (size_t rank = 0; rank < choice.hits.size(); ++rank) {
      EXPECT_EQ(choice.hits[rank].number, routed[i].documents[rank]);
      scores.push_back(choice.hits[rank].score);
    }
    expect_close(scores, routed[i].scores, "scores");
  }
  for (size_t t = 0; t < expected.size(); ++t)
    expect_close(decoder.all_logits().row(t), expected[t], "logits");
  for (const int32_t token : random_tokens(4)) {
    const int32_t tokens[] = {token};
    ASSERT_TRUE(decoder.append(tokens).ok());
    expect_close(decoder.logits(), oracle.append(token), "generated logits");
  }
}

INSTANTIATE_TEST_SUITE_P(EveryOption, AgainstOracle, testing::ValuesIn(all_options()),
                         [](const auto& instance) { return name_of_options(instance.param); });

}  // namespace
}  // namespace msa
