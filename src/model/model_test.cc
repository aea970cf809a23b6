// Encoder and decoder: what must hold whatever the numbers are.

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <random>

#include "kernels/backend.h"
#include "model/decoder.h"
#include "model/encoder.h"
#include "model/weights.h"

namespace msa {
namespace {

constexpr size_t kVocabulary = 97;

class ModelTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::filesystem::temp_directory_path() / ("msa_model_" + std::to_string(::getpid()));
    std::filesystem::remove_all(folder_);
    ModelConfig config;
    config.layers = 4;
    config.query_heads = 4;
    config.kv_heads = 2;
    config.head_dim = 16;
    config.hidden = 48;
    config.feed_forward = 80;
    config.vocabulary = kVocabulary;
    config.max_positions = 256;
    config.rope_theta = 10000;
    config.tied_embeddings = true;
    config.msa.router_layers = {1, 2};  // layer 3 stores nothing
    config.msa.chunk_size = 8;
    ASSERT_TRUE(write_random_checkpoint(folder_, config, DType::f32, 11).ok());
    auto opened = Checkpoint::open(folder_);
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    checkpoint_ = std::make_shared<const Checkpoint>(std::move(*opened));
  }
  static void TearDownTestSuite() {
    checkpoint_.reset();
    std::filesystem::remove_all(folder_);
  }

  void SetUp() override {
    auto backend = make_cpu_backend(Runtime{});
    ASSERT_TRUE(backend.ok());
    backend_ = std::move(*backend);
    f32_ = load(DType::f32);
    bf16_ = load(DType::bf16);
  }
  std::shared_ptr<const Weights> load(DType compute) {
    auto weights = load_weights(Runtime{}, *backend_, checkpoint_, compute, true);
    EXPECT_TRUE(weights.ok());
    return *weights;
  }
  std::vector<int32_t> tokens(size_t count) {
    std::vector<int32_t> out(count);
    for (int32_t& token : out) token = static_cast<int32_t>(random_() % kVocabulary);
    return out;
  }
  EncodedBatch encode(const std::shared_ptr<const Weights>& weights,
                      const std::vector<std::vector<int32_t>>& documents) {
    Encoder encoder(*backend_, weights);
    const std::vector<std::span<const int32_t>> views(documents.begin(), documents.end());
    EncodedBatch batch;
    const auto done = encoder.encode(views, weights->compute, false, batch);
    EXPECT_TRUE(done.ok());
    return batch;
  }
  std::shared_ptr<const PrefixKv> prefix(const std::shared_ptr<const Weights>& weights) {
    Encoder encoder(*backend_, weights);
    return std::make_shared<const PrefixKv>(*encoder.encode_prefix(std::vector<int32_t>{3, 1, 4}));
  }

  static std::filesystem::path folder_;
  static std::shared_ptr<const Checkpoint> checkpoint_;
  std::unique_ptr<Backend> backend_;
  std::shared_ptr<const Weights> f32_, bf16_;
  std::mt19937 random_{5};
};
std::filesystem::path ModelTest::folder_;
std::shared_ptr<const Checkpoint> ModelTest::checkpoint_;

float largest_difference(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  float largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

TEST_F(ModelTest, ABatchEncodesLikeItsDocumentsAlone) {
  std::vector<std::vector<int32_t>> documents;
  for (const size_t length : {1, 8, 9, 64, 3, 130, 16}) documents.push_back(tokens(length));
  const EncodedBatch together = encode(f32_, documents);
  size_t first = 0;
  for (size_t n = 0; n < documents.size(); ++n) {
    const EncodedBatch alone = encode(f32_, {documents[n]});
    ASSERT_EQ(alone.total_chunks, (documents[n].size() + 7) / 8);
    ASSERT_EQ(together.chunks[n], alone.total_chunks);
    for (size_t layer = 0; layer < 2; ++layer)
      for (size_t c = 0; c < alone.total_chunks; ++c) {
        EXPECT_LT(largest_difference(together.keys(layer).as<float>().row(first + c),
                                     alone.keys(layer).as<float>().row(c)),
                  2e-6f);
        EXPECT_LT(largest_difference(together.pooled_values(layer).as<float>().row(first + c),
                                     alone.pooled_values(layer).as<float>().row(c)),
                  2e-6f);
      }
    first += alone.total_chunks;
  }
}

TEST_F(ModelTest, RoutingKeysHaveUnitHeads) {
  const EncodedBatch batch = encode(f32_, {tokens(40)});
  for (size_t c = 0; c < batch.total_chunks; ++c)
    for (size_t g = 0; g < 2; ++g) {
      float sum = 0;
      for (const float value : batch.keys(0).as<float>().row(c).subspan(g * 16, 16))
        sum += value * value;
      EXPECT_NEAR(sum, 1, 1e-5);
    }
}

TEST_F(ModelTest, Bf16StaysCloseToFloat32) {
  const auto documents = {tokens(50), tokens(20)};
  const EncodedBatch exact = encode(f32_, documents), rounded = encode(bf16_, documents);
  ASSERT_EQ(rounded.dtype, DType::bf16);
  for (size_t c = 0; c < exact.total_chunks; ++c)
    for (size_t i = 0; i < exact.kv_width; ++i)
      EXPECT_NEAR(rounded.keys(1).as<bf16>().row(c)[i].to_float(),
                  exact.keys(1).as<float>().row(c)[i], 0.03);
}

TEST_F(ModelTest, AppendingTokenByTokenEqualsOnePrefill) {
  const auto all = tokens(40);
  const std::vector<uint8_t> routes(all.size(), 0);
  Decoder at_once(*backend_, f32_, prefix(f32_)), stepwise(*backend_, f32_, prefix(f32_));
  ASSERT_TRUE(at_once.prefill(all, routes, 5, nullptr, true).ok());
  ASSERT_TRUE(
      stepwise.prefill(std::span(all).first(7), std::span(routes).first(7), 5, nullptr).ok());
  EXPECT_LT(largest_difference(stepwise.logits(), at_once.all_logits().row(6)), 1e-5f);
  for (size_t t = 7; t < 20; ++t) {
    ASSERT_TRUE(stepwise.append(std::span(all).subspan(t, 1)).ok());
    EXPECT_LT(largest_difference(stepwise.logits(), at_once.all_logits().row(t)), 1e-5f);
  }
  ASSERT_TRUE(stepwise.append(std::span(all).subspan(20)).ok());
  EXPECT_LT(largest_difference(stepwise.logits(), at_once.logits()), 1e-5f);
  EXPECT_EQ(stepwise.next_position(), 5 + all.size());
}

TEST_F(ModelTest, OnlyTheLastLogitsWhenNoMoreAreAskedFor) {
  const auto all = tokens(30);
  const std::vector<uint8_t> routes(all.size(), 0);
  Decoder some(*backend_, f32_, prefix(f32_)), every(*backend_, f32_, prefix(f32_));
  ASSERT_TRUE(some.prefill(all, routes, 5, nullptr).ok());
  ASSERT_TRUE(every.prefill(all, routes, 5, nullptr, true).ok());
  EXPECT_LT(largest_difference(some.logits(), every.logits()), 1e-5f);
}

// A memory that always gives the same chunks and counts what it was asked.
class FixedMemory : public ContextSource {
 public:
  explicit FixedMemory(const EncodedBatch& batch) : batch_(batch) {}
  Result<std::vector<ContextBlock>> select(int layer, MatView<const float> router_q) override {
    asked_.push_back({layer, router_q.rows, router_q.cols});
    if (fail_) return Error{Code::io, "the memory is gone"};
    const size_t index = static_cast<size_t>(layer) - 1;
    return std::vector<ContextBlock>{{batch_.pooled_keys(index), batch_.pooled_values(index)}};
  }
  struct Asked {
    int layer;
    size_t rows, cols;
  };
  std::vector<Asked> asked_;
  bool fail_ = false;

 private:
  const EncodedBatch& batch_;
};

TEST_F(ModelTest, RouterLayersAskTheMemoryOncePerPrefillAndItMatters) {
  const EncodedBatch batch = encode(f32_, {tokens(30)});
  FixedMemory memory(batch);
  const auto question = tokens(12);
  std::vector<uint8_t> routes(12, 0);
  routes[2] = routes[3] = routes[9] = 1;
  Decoder with(*backend_, f32_, prefix(f32_)), without(*backend_, f32_, prefix(f32_));
  ASSERT_TRUE(with.prefill(question, routes, 5, &memory).ok());
  ASSERT_TRUE(without.prefill(question, routes, 5, nullptr).ok());
  ASSERT_EQ(memory.asked_.size(), 2u);
  EXPECT_EQ(memory.asked_[0].layer, 1);
  EXPECT_EQ(memory.asked_[1].layer, 2);
  EXPECT_EQ(memory.asked_[0].rows, 3u);
  EXPECT_EQ(memory.asked_[0].cols, 64u);
  EXPECT_GT(largest_difference(with.logits(), without.logits()), 1e-4f);
  ASSERT_TRUE(with.append(std::vector<int32_t>{5}).ok());
  EXPECT_EQ(memory.asked_.size(), 2u) << "generated tokens do not route";
}

TEST_F(ModelTest, TheMemorysErrorIsPassedOnAndTheDecoderCanStartOver) {
  const EncodedBatch batch = encode(f32_, {tokens(30)});
  FixedMemory memory(batch);
  memory.fail_ = true;
  const auto question = tokens(4);
  const std::vector<uint8_t> routes(4, 1);
  Decoder decoder(*backend_, f32_, prefix(f32_)), fresh(*backend_, f32_, prefix(f32_));
  const auto failed = decoder.prefill(question, routes, 5, &memory);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().message, "the memory is gone");
  memory.fail_ = false;
  ASSERT_TRUE(decoder.prefill(question, routes, 5, &memory).ok());
  ASSERT_TRUE(fresh.prefill(question, routes, 5, &memory).ok());
  EXPECT_EQ(largest_difference(decoder.logits(), fresh.logits()), 0);
}

TEST_F(ModelTest, ErrorsNameWhatDoesNotFit) {
  Encoder encoder(*backend_, f32_);
  EncodedBatch batch;
  const auto encode_one = [&](const std::vector<int32_t>& document) {
    const std::span<const int32_t> views[] = {document};
    return encoder.encode(views, DType::f32, false, batch);
  };
  EXPECT_EQ(encode_one({}).error().code, Code::invalid_argument);
  EXPECT_EQ(encode_one(tokens(257)).error().code, Code::invalid_argument);
  EXPECT_NE(encode_one({1, 97}).error().message.find("token 97"), std::string::npos);
  EXPECT_NE(encode_one({-1}).error().message.find("token -1"), std::string::npos);
  EXPECT_TRUE(encode_one(tokens(256)).ok());

  Decoder decoder(*backend_, f32_, prefix(f32_));
  const auto question = tokens(10);
  const std::vector<uint8_t> routes(10, 0);
  EXPECT_TRUE(decoder.prefill(question, routes, 246, nullptr).ok());
  EXPECT_FALSE(decoder.append(std::vector<int32_t>{1}).ok()) << "position 256 of 256";
  EXPECT_FALSE(decoder.prefill(question, routes, 247, nullptr).ok());
  EXPECT_FALSE(decoder.prefill({}, {}, 0, nullptr).ok());
}

TEST_F(ModelTest, PackedBytesAreTheWeightsAndLittleMore) {
  const uint64_t matrices = checkpoint_->parameters();
  EXPECT_GE(f32_->packed_bytes(), matrices * 4 * 95 / 100);
  // Layouts pad to blocks of 64 outputs, which weighs much in so small a model.
  EXPECT_LE(f32_->packed_bytes(), matrices * 4 * 3);
}

TEST_F(ModelTest, NonFiniteWeightsAreRefusedByName) {
  const auto folder = folder_.string() + "_nan";
  std::filesystem::remove_all(folder);
  std::filesystem::copy(folder_, folder);
  const auto file = std::filesystem::path(folder) / "model.safetensors";
  {
    auto opened = SafetensorsFile::open(file);
    ASSERT_TRUE(opened.ok());
    const auto tensor = *opened->find("model.layers.2.mlp.up_proj.weight");
    const auto offset = tensor.bytes.data() - opened->mapped().bytes().data();
    FILE* f = std::fopen(file.c_str(), "r+b");
    ASSERT_NE(f, nullptr);
    const float nan = NAN;
    std::fseek(f, offset + 40, SEEK_SET);
    std::fwrite(&nan, sizeof nan, 1, f);
    std::fclose(f);
  }
  auto opened = Checkpoint::open(folder);
  ASSERT_TRUE(opened.ok());
  const auto weights =
      load_weights(Runtime{}, *backend_, std::make_shared<const Checkpoint>(std::move(*opened)),
                   DType::f32, true);
  ASSERT_FALSE(weights.ok());
  EXPECT_EQ(weights.error().code, Code::corrupt);
  EXPECT_NE(weights.error().message.find("model.layers.2.mlp.up_proj.weight"), std::string::npos);
  EXPECT_NE(weights.error().message.find("model.safetensors"), std::string::npos);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace msa
