// A plain Qwen3 checkpoint on disk, converted and used.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "base/files.h"
#include "base/test_folder.h"
#include "checkpoint/checkpoint.h"
#include "msa/msa.h"
#include "text/bpe_trainer.h"

namespace msa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::string_view kConfig = R"({
  "model_type": "qwen3", "num_hidden_layers": 5, "hidden_size": 32, "intermediate_size": 64,
  "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 320,
  "rope_theta": 1000000.0, "tie_word_embeddings": true})";

class ModelConvert : public ::testing::Test {
 protected:
  ModelConvert() : source_(folder_ / "qwen"), out_(folder_ / "models/out") {
    std::filesystem::create_directory(source_);
    put("config.json", kConfig);
    put("generation_config.json", R"({"eos_token_id": [300, 301], "temperature": 0.6})");
    BpeTrainer trainer = BpeTrainer::create({.vocabulary = 300}).value();
    trainer.add("rivers and the river banks, bridges over the rivers");
    EXPECT_TRUE(trainer.write(source_ / "tokenizer.json"));

    const ModelConfig config = read_qwen3_config(source_ / "config.json").value();
    std::vector<TensorPlan> plan;
    for (const ExpectedTensor& tensor : expected_tensors(config))
      plan.push_back({tensor.name, DType::f32, tensor.shape});
    SafetensorsWriter writer =
        SafetensorsWriter::create(source_ / "model.safetensors", plan).value();
    std::mt19937 random(3);
    for (const TensorPlan& tensor : plan) {
      size_t count = 1;
      for (const size_t extent : tensor.shape) count *= extent;
      std::normal_distribution<float> normal(tensor.shape.size() == 1 ? 1 : 0, 0.05f);
      std::vector<float> values(count);
      for (float& value : values) value = normal(random);
      EXPECT_TRUE(writer.append(std::as_bytes(std::span(values))));
    }
    EXPECT_TRUE(writer.commit());
  }

  void put(const char* name, std::string_view text) const {
    folder_.put(std::string("qwen/") + name, text);
  }
  void expect_refused(const ConvertOptions& options, Code code, const std::string& part) const {
    const auto converted = convert_model(source_, out_, options);
    ASSERT_FALSE(converted) << part;
    EXPECT_EQ(converted.error().code, code) << converted.error().message;
    EXPECT_THAT(converted.error().message, HasSubstr(part));
    EXPECT_FALSE(std::filesystem::exists(out_));
    if (std::filesystem::exists(out_.parent_path())) {
      EXPECT_TRUE(std::filesystem::is_empty(out_.parent_path())) << part;
    }
  }

  TestFolder folder_;
  std::filesystem::path source_, out_;
};

TEST_F(ModelConvert, MakesAModelThatEncodesAndRoutes) {
  for (const RouterStart start : {RouterStart::random, RouterStart::copy}) {
    const std::filesystem::path out = start == RouterStart::copy ? folder_ / "copied" : out_;
    uint64_t last = 0, all = 0;
    const auto converted = convert_model(source_, out, {.router = start, .seed = 4},
                                         [&](uint64_t done, uint64_t bytes) {
                                           last = done;
                                           all = bytes;
                                         });
    ASSERT_TRUE(converted) << converted.error().message;
    EXPECT_EQ(last, all);
    for (const char* name : {"tokenizer.json", "generation_config.json"})
      EXPECT_EQ(TestFolder::get(out / name), TestFolder::get(source_ / name));

    const auto model = Model::open(out);
    ASSERT_TRUE(model) << model.error().message;
    const ModelInfo info = model->info();
    EXPECT_THAT(info.router_layers, ElementsAre(2, 3, 4));
    EXPECT_EQ(info.file_dtype, "F32");
    EXPECT_TRUE(info.decoupled_router);
    EXPECT_FALSE(info.random_weights);
    EXPECT_THAT(info.note, HasSubstr("not trained"));

    const auto texts = folder_.put("texts.jsonl",
                                   "{\"id\":\"a\",\"text\":\"rivers and bridges\"}\n"
                                   "{\"id\":\"b\",\"text\":\"the banks of the river\"}\n");
    auto bank = Bank::open_or_create(out / "bank", *model);
    ASSERT_TRUE(bank) << bank.error().message;
    auto source = open_documents({texts});
    ASSERT_TRUE(source);
    const auto report = encode(*model, *bank, **source);
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(report->passages, 2u);
    const auto engine = Engine::create(*model, *bank);
    ASSERT_TRUE(engine) << engine.error().message;
    const auto routing = engine->route("Which bridges are over rivers?");
    ASSERT_TRUE(routing) << routing.error().message;
    EXPECT_EQ(routing->layers.size(), 3u);
    EXPECT_EQ(routing->ranking.size(), 2u);
  }
}

TEST_F(ModelConvert, TakesLayersAndSizesAsAsked) {
  std::filesystem::remove(source_ / "generation_config.json");
  const ConvertOptions options{.router_layers = {4, 1}, .chunk_size = 16, .top_k = 3};
  const auto converted = convert_model(source_, folder_ / "made/", options);
  ASSERT_TRUE(converted) << converted.error().message;
  const auto model = Model::open(folder_ / "made");
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_THAT(model->info().router_layers, ElementsAre(1, 4));
  EXPECT_EQ(model->info().chunk_size, 16u);
  EXPECT_EQ(model->info().top_k, 3u);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "made/generation_config.json"));
}

TEST_F(ModelConvert, OverwritesNothing) {
  for (const char* name : {"folder", "file"}) {
    const std::filesystem::path there = folder_ / name;
    if (std::string_view(name) == "file")
      folder_.put(name, "precious");
    else
      std::filesystem::create_directory(there);
    const auto converted = convert_model(source_, there);
    ASSERT_FALSE(converted);
    EXPECT_EQ(converted.error().code, Code::invalid_argument);
    EXPECT_THAT(converted.error().message, HasSubstr(there.string() + ": is there already"));
  }
  EXPECT_FALSE(convert_model(source_, source_));
  EXPECT_EQ(TestFolder::get(folder_ / "file"), "precious");
  EXPECT_EQ(TestFolder::get(source_ / "config.json"), kConfig);
}

TEST_F(ModelConvert, RefusesWhatCannotBeUsed) {
  expect_refused({.router_layers = {5}}, Code::invalid_argument, "from 0 to 4");
  expect_refused({.chunk_size = 0}, Code::invalid_argument, "pooling_kernel_size");
  put("generation_config.json", "[1]");
  expect_refused({}, Code::corrupt, "generation_config.json");
  std::filesystem::remove(source_ / "generation_config.json");

  const std::string tokenizer = TestFolder::get(source_ / "tokenizer.json");
  put("tokenizer.json", "{");
  expect_refused({}, Code::corrupt, "tokenizer.json");
  BpeTrainer other = BpeTrainer::create({.special_tokens = {"<|im_start|>"}}).value();
  other.add("text");
  ASSERT_TRUE(other.write(source_ / "tokenizer.json"));
  expect_refused({}, Code::mismatch, "<|im_end|>");
  BpeTrainer large = BpeTrainer::create({.vocabulary = 400, .min_count = 1}).value();
  large.add(
      "many different words, of which every one becomes a token of its own, so that there "
      "are more tokens than the vocabulary of the model has");
  ASSERT_TRUE(large.write(source_ / "tokenizer.json"));
  expect_refused({}, Code::mismatch, "more than the vocabulary of 320");
  std::filesystem::remove(source_ / "tokenizer.json");
  expect_refused({}, Code::not_found, "tokenizer.json");
  put("tokenizer.json", tokenizer);

  put("config.json", "{}");
  expect_refused({}, Code::unsupported, "not \"qwen3\"");
  std::filesystem::remove(source_ / "config.json");
  expect_refused({}, Code::not_found, "config.json");
  std::filesystem::remove_all(source_);
  expect_refused({}, Code::not_found, "qwen: is not there");
}

TEST_F(ModelConvert, StopsAndLeavesNothing) {
  std::stop_source stop;
  const auto converted = convert_model(
      source_, out_, {},
      [&](uint64_t done, uint64_t all) {
        if (done > all / 2) stop.request_stop();
      },
      stop.get_token());
  ASSERT_FALSE(converted);
  EXPECT_EQ(converted.error().code, Code::cancelled);
  EXPECT_TRUE(std::filesystem::is_empty(out_.parent_path()));
}

}  // namespace
}  // namespace msa
