// How far a model's logits move when its memory holds pooled keys and values as int8: the same
// documents in two banks, the same question to both.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <random>

#include "base/test_folder.h"
#include "kernels/backend.h"
#include "memory/bank.h"
#include "memory/router.h"
#include "model/decoder.h"
#include "model/encoder.h"
#include "model/route_rule.h"
#include "model/weights.h"

namespace msa {
namespace {

constexpr size_t kVocabulary = 211, kDocuments = 12;

class Int8Content : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    ModelConfig config;
    config.layers = 6;
    config.query_heads = 4;
    config.kv_heads = 2;
    config.head_dim = 64;
    config.hidden = 128;
    config.feed_forward = 256;
    config.vocabulary = kVocabulary;
    config.max_positions = 512;
    config.rope_theta = 10000;
    config.tied_embeddings = true;
    config.msa.router_layers = {2, 3, 4, 5};
    config.msa.chunk_size = 16;
    ASSERT_TRUE(write_random_checkpoint(folder_ / "model", config, DType::f32, 5).ok());
    auto opened = Checkpoint::open(folder_ / "model");
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    auto backend = make_cpu_backend(Runtime{});
    ASSERT_TRUE(backend.ok());
    backend_ = std::move(*backend);
    auto weights =
        load_weights(Runtime{}, *backend_, std::make_shared<const Checkpoint>(std::move(*opened)),
                     GetParam(), /*cosine=*/true);
    ASSERT_TRUE(weights.ok());
    weights_ = *weights;
    Encoder encoder(*backend_, weights_);
    prefix_ = std::make_shared<const PrefixKv>(*encoder.encode_prefix(tokens(3)));
    question_ = tokens(24);
    for (size_t d = 0; d < kDocuments; ++d) documents_.push_back(tokens(20 + 17 * d));
  }

  std::vector<int32_t> tokens(size_t count) {
    std::vector<int32_t> all(count);
    for (int32_t& token : all) token = static_cast<int32_t>(random_() % kVocabulary);
    return all;
  }

  // A bank of the documents, as of its first commit.
  std::shared_ptr<const Snapshot> encode(ContentFormat content) {
    const ModelConfig& config = weights_->config();
    BankManifest manifest;
    manifest.router_layers = config.msa.router_layers;
    manifest.kv_heads = config.kv_heads;
    manifest.head_dim = config.head_dim;
    manifest.chunk_size = config.msa.chunk_size;
    manifest.dtype = GetParam();
    manifest.content = content;
    const std::filesystem::path bank = folder_ / (content == ContentFormat::int8 ? "int8" : "full");
    Encoder encoder(*backend_, weights_);
    const std::vector<std::span<const int32_t>> views(documents_.begin(), documents_.end());
    EncodedBatch batch;
    EXPECT_TRUE(encoder.encode(views, GetParam(), false, batch).ok());
    std::vector<NewDocument> added(kDocuments);
    for (size_t d = 0; d < kDocuments; ++d) added[d].id = std::to_string(d);
    {
      auto writer = BankWriter::open_or_create(bank, manifest);
      EXPECT_TRUE(writer.ok());
      EXPECT_TRUE((*writer)->add(std::move(added), std::move(batch)).ok());
      EXPECT_TRUE((*writer)->commit().ok());
    }
    auto reader = BankReader::open(bank);
    EXPECT_TRUE(reader.ok());
    return *(*reader)->snapshot();
  }

  struct Outcome {
    std::vector<float> logits;
    std::vector<LayerChoice> choices;
  };
  // Without a memory where there is no snapshot.
  Outcome ask(const std::shared_ptr<const Snapshot>& snapshot, size_t top_k) {
    Decoder decoder(*backend_, weights_, prefix_);
    const std::vector<uint8_t> routes(question_.size(), 1);
    Outcome outcome;
    const size_t first_position = prefix_->tokens + top_k;
    if (snapshot) {
      Router router(*backend_, snapshot, route_rule(weights_->config(), true), top_k);
      EXPECT_TRUE(decoder.prefill(question_, routes, first_position, &router).ok());
      outcome.choices = router.choices();
    } else {
      EXPECT_TRUE(decoder.prefill(question_, routes, first_position, nullptr).ok());
    }
    const auto logits = decoder.logits();
    outcome.logits.assign(logits.begin(), logits.end());
    return outcome;
  }

  TestFolder folder_;
  std::unique_ptr<Backend> backend_;
  std::shared_ptr<const Weights> weights_;
  std::shared_ptr<const PrefixKv> prefix_;
  std::vector<int32_t> question_;
  std::vector<std::vector<int32_t>> documents_;
  std::mt19937 random_{9};
};
INSTANTIATE_TEST_SUITE_P(Types, Int8Content, testing::Values(DType::f32, DType::bf16),
                         [](const auto& instance) { return std::string(name_of(instance.param)); });

// Length of the difference over that of `of`.
double relative(std::span<const float> a, std::span<const float> b, std::span<const float> of) {
  double difference = 0, length = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
    length += static_cast<double>(of[i]) * of[i];
  }
  return std::sqrt(difference / length);
}

// A value is off by half a scale at most, and a scale is 1/127 of the largest of the 64 values of a
// head: for values distributed normally (the largest about 2.6 deviations) by 0.6% of a deviation
// on average (2.6 / 127 / sqrt(12)). Values of attention are off by as much, and weights too, as
// scores are by about 0.006. So what the memory contributes is off by about 1%.
TEST_P(Int8Content, LogitsMoveByLittleOfWhatTheMemoryContributes) {
  const auto full = encode(ContentFormat::full), int8 = encode(ContentFormat::int8);
  // All documents, in all layers: nothing differs but the content.
  const Outcome exact = ask(full, kDocuments), rounded = ask(int8, kDocuments);
  const Outcome without = ask(nullptr, kDocuments);
  const double off = relative(rounded.logits, exact.logits, exact.logits);
  const double contributed = relative(without.logits, exact.logits, exact.logits);
  std::printf("%s: logits are off by %.4f%%, the memory contributes %.2f%%\n",
              std::string(name_of(GetParam())).c_str(), 100 * off, 100 * contributed);
  RecordProperty("off_percent", std::to_string(100 * off));
  EXPECT_GT(contributed, 0.01) << "the memory does not matter to this model";
  EXPECT_GT(off, 0) << "the content is the same";
  if (GetParam() == DType::f32)
    EXPECT_LT(off, 0.02 * contributed);
  else  // rounding to bf16 everywhere adds what it may differ by
    EXPECT_LT(off, 0.02 * contributed + 0x1p-7);
}

// Keys are not touched: where nothing has been attended to yet, the same documents are chosen, with
// the same scores. Further up scores may move with the hidden states.
TEST_P(Int8Content, TheFirstRouterLayerChoosesTheSame) {
  const Outcome exact = ask(encode(ContentFormat::full), 4);
  const Outcome rounded = ask(encode(ContentFormat::int8), 4);
  ASSERT_EQ(exact.choices.size(), 4u);
  ASSERT_EQ(rounded.choices.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    const RouteHit &a = exact.choices[0].hits[i], &b = rounded.choices[0].hits[i];
    EXPECT_EQ(a.number, b.number);
    EXPECT_EQ(a.score, b.score);
  }
  for (size_t l = 1; l < 4; ++l)
    EXPECT_NEAR(exact.choices[l].hits[0].score, rounded.choices[l].hits[0].score, 0.02);
}

}  // namespace
}  // namespace msa
