#include "checkpoint/convert.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "base/test_folder.h"
#include "checkpoint/random_tensor.h"

namespace msa {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

json qwen_config() {
  return json::parse(R"({
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "num_hidden_layers": 4,
    "hidden_size": 48, "intermediate_size": 80, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 101, "rope_theta": 1000000.0,
    "max_position_embeddings": 4096, "rms_norm_eps": 1e-06, "tie_word_embeddings": true,
    "attention_bias": false, "hidden_act": "silu", "torch_dtype": "bfloat16"})");
}

// A plain Qwen3 checkpoint, in as many files as asked for.
class Qwen : public TestFolder {
 public:
  explicit Qwen(json config = qwen_config(), DType dtype = DType::bf16, size_t shards = 1,
                std::string_view left_out = "") {
    put("config.json", config.dump());
    const auto parsed = read_qwen3_config(*this / "config.json");
    if (!parsed) return;
    std::mt19937 random(5);
    std::vector<std::vector<TensorPlan>> plans(shards);
    for (const ExpectedTensor& tensor : expected_tensors(*parsed)) {
      if (tensor.name == left_out) continue;
      size_t bytes = size_of(dtype);
      for (const size_t extent : tensor.shape) bytes *= extent;
      std::string& values = bytes_[tensor.name];
      // 0x3d at the top of each number: finite and small in every format.
      for (size_t i = 0; i < bytes; ++i)
        values +=
            static_cast<char>(i % size_of(dtype) + 1 == size_of(dtype) ? 0x3d : random() % 128);
      plans[random() % shards].push_back({tensor.name, dtype, tensor.shape});
    }
    json map = json::object();
    for (size_t i = 0; i < shards; ++i) {
      const std::string file =
          shards == 1 ? "model.safetensors" : fmt::format("model-{}.safetensors", i);
      SafetensorsWriter writer = SafetensorsWriter::create(*this / file, plans[i]).value();
      for (const TensorPlan& plan : plans[i]) {
        EXPECT_TRUE(writer.append(std::as_bytes(std::span(bytes_[plan.name]))));
        map[plan.name] = file;
      }
      EXPECT_TRUE(writer.commit());
    }
    if (shards > 1) put("model.safetensors.index.json", json{{"weight_map", map}}.dump());
  }
  // The values of each tensor as they were written.
  const std::map<std::string, std::string>& bytes() const { return bytes_; }

 private:
  std::map<std::string, std::string> bytes_;
};

Conversion upper_half(bool copy = false) {
  Conversion conversion;
  conversion.msa.router_layers = {2, 3};
  conversion.copy_router = copy;
  return conversion;
}

std::string_view chars(const TensorView& view) {
  return {reinterpret_cast<const char*>(view.bytes.data()), view.bytes.size()};
}

Result<Checkpoint> converted(const Qwen& qwen, const std::filesystem::path& folder,
                             const Conversion& conversion) {
  MSA_ASSIGN(const Checkpoint source, Checkpoint::open_qwen3(qwen.path()));
  MSA_TRY(convert_qwen3(source, folder, conversion));
  return Checkpoint::open(folder);
}

TEST(Convert, KeepsEveryWeightAndAddsARouter) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16})
    for (const bool tied : {true, false})
      for (const size_t shards : {1, 3}) {
        json config = qwen_config();
        config["tie_word_embeddings"] = tied;
        const Qwen qwen(config, dtype, shards);
        const TestFolder out;
        const auto made = converted(qwen, out.path(), upper_half());
        ASSERT_TRUE(made) << made.error().message;
        for (const auto& [name, bytes] : qwen.bytes()) {
          EXPECT_EQ(made->tensor(name).dtype, dtype) << name;
          EXPECT_TRUE(chars(made->tensor(name)) == bytes) << name;
        }
        EXPECT_EQ(qwen.bytes().contains("lm_head.weight"), !tied);
        for (const int layer : {2, 3})
          for (const char* projection : {"q", "k"}) {
            const TensorView& router = made->tensor(fmt::format(
                "model.layers.{}.self_attn.router_{}_proj.0.weight", layer, projection));
            EXPECT_EQ(router.dtype, dtype);
          }
        EXPECT_EQ(out.entries(), 2u);
      }
}

TEST(Convert, KeepsTheConfiguration) {
  json config = qwen_config();
  config["rms_norm_eps"] = 1e-5;
  config.erase("max_position_embeddings");
  config.erase("rope_theta");
  config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 12345.5}};
  const Qwen qwen(config);
  const TestFolder out;
  Conversion conversion = upper_half();
  conversion.msa.router_layers = {3, 0};
  conversion.msa.top_k = 7;
  conversion.msa.chunk_size = 48;
  conversion.note = "a note";
  const auto made = converted(qwen, out.path(), conversion);
  ASSERT_TRUE(made) << made.error().message;
  const ModelConfig& read = made->config();
  EXPECT_EQ(read.layers, 4u);
  EXPECT_EQ(read.hidden, 48u);
  EXPECT_EQ(read.feed_forward, 80u);
  EXPECT_EQ(read.query_heads, 4u);
  EXPECT_EQ(read.kv_heads, 2u);
  EXPECT_EQ(read.head_dim, 16u);
  EXPECT_EQ(read.vocabulary, 101u);
  EXPECT_EQ(read.max_positions, 32768u);
  EXPECT_EQ(read.rms_norm_eps, 1e-5f);
  EXPECT_EQ(read.rope_theta, 12345.5);
  EXPECT_TRUE(read.tied_embeddings);
  EXPECT_THAT(read.msa.router_layers, ElementsAre(0, 3));
  EXPECT_EQ(read.msa.top_k, 7u);
  EXPECT_EQ(read.msa.chunk_size, 48u);
  EXPECT_TRUE(read.msa.decouple_router);
  EXPECT_TRUE(read.msa.cosine_by_default());
  EXPECT_EQ(read.note, "a note");
  EXPECT_THAT(TestFolder::get(out / "config.json"), HasSubstr("\"bfloat16\""));
}

TEST(Convert, CopiedRouterIsItsLayersProjection) {
  const Qwen qwen(qwen_config(), DType::bf16, 2);
  const TestFolder out;
  const auto made = converted(qwen, out.path(), upper_half(/*copy=*/true));
  ASSERT_TRUE(made) << made.error().message;
  for (const int layer : {2, 3})
    for (const char* projection : {"q", "k"}) {
      const std::string prefix = fmt::format("model.layers.{}.self_attn.", layer);
      EXPECT_TRUE(
          chars(made->tensor(fmt::format("{}router_{}_proj.0.weight", prefix, projection))) ==
          qwen.bytes().at(fmt::format("{}{}_proj.weight", prefix, projection)));
    }
}

TEST(Convert, RandomRouterDependsOnTheSeedOnly) {
  const Qwen qwen(qwen_config(), DType::f32);
  const auto weights = [&](uint64_t seed) {
    const TestFolder out;
    Conversion conversion = upper_half();
    conversion.seed = seed;
    const auto made = converted(qwen, out.path(), conversion);
    EXPECT_TRUE(made);
    std::vector<float> all;
    for (const int layer : {2, 3})
      for (const char* projection : {"q", "k"}) {
        const auto values =
            made->tensor(fmt::format("model.layers.{}.self_attn.router_{}_proj.0.weight", layer,
                                     projection))
                .matrix();
        const auto numbers = values.as<const float>();
        all.insert(all.end(), numbers.data, numbers.data + numbers.rows * numbers.cols);
      }
    return all;
  };
  const std::vector<float> numbers = weights(1);
  EXPECT_EQ(numbers, weights(1));
  EXPECT_NE(numbers, weights(2));
  const double n = static_cast<double>(numbers.size());
  double sum = 0, squares = 0;
  for (const double x : numbers) sum += x, squares += x * x;
  EXPECT_NEAR(sum / n, 0, 5 * 0.02 / std::sqrt(n));
  EXPECT_NEAR(std::sqrt(squares / n), 0.02, 5 * 0.02 / std::sqrt(2 * n));
  // No projection begins like another.
  EXPECT_NE(numbers[0], numbers[64 * 48]);
}

TEST(Convert, TellsHowFarItIsAndStops) {
  const Qwen qwen;
  const TestFolder out;
  const auto source = Checkpoint::open_qwen3(qwen.path());
  ASSERT_TRUE(source);
  std::vector<uint64_t> steps;
  uint64_t all_bytes = 0;
  Conversion conversion = upper_half();
  conversion.progress = [&](uint64_t done, uint64_t all) {
    steps.push_back(done);
    all_bytes = all;
  };
  ASSERT_TRUE(convert_qwen3(*source, out.path(), conversion));
  EXPECT_TRUE(std::is_sorted(steps.begin(), steps.end()));
  EXPECT_EQ(steps.back(), all_bytes);
  EXPECT_GT(all_bytes, 0u);

  const TestFolder stopped;
  std::stop_source stop;
  conversion.stop = stop.get_token();
  conversion.progress = [&](uint64_t done, uint64_t all) {
    if (done > all / 2) stop.request_stop();
  };
  const auto result = convert_qwen3(*source, stopped.path(), conversion);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::cancelled);
  EXPECT_EQ(stopped.entries(), 0u);
}

// ---------------------------------------------------------------------------------------------

void expect_refused(const Qwen& qwen, const Conversion& conversion, Code code,
                    const std::string& part) {
  const TestFolder out;
  const auto made = converted(qwen, out.path(), conversion);
  ASSERT_FALSE(made) << part;
  EXPECT_EQ(made.error().code, code) << made.error().message;
  EXPECT_THAT(made.error().message, HasSubstr(part));
  EXPECT_THAT(made.error().message, HasSubstr("; "));
  EXPECT_EQ(out.entries(), 0u) << part;
}

TEST(Convert, RefusesOtherModels) {
  const auto refuse = [](const std::string& key, json value, Code code, const std::string& part) {
    json config = qwen_config();
    config[key] = std::move(value);
    expect_refused(Qwen(config), upper_half(), code, part);
  };
  refuse("model_type", "qwen2", Code::unsupported, "is \"qwen2\", not \"qwen3\"");
  refuse("model_type", "qwen3_moe", Code::unsupported, "qwen3_moe");
  refuse("model_type", "msa", Code::unsupported, "of a Memory Sparse Attention model");
  refuse("model_type", 3, Code::corrupt, "model_type");
  refuse("msa_config", json::object(), Code::unsupported, "of a Memory Sparse Attention model");
  refuse("attention_bias", true, Code::unsupported, "attention_bias");
  refuse("hidden_act", "gelu", Code::unsupported, "gelu");
  refuse("use_sliding_window", true, Code::unsupported, "use_sliding_window");
  refuse("quantization_config", json{{"bits", 4}}, Code::unsupported, "quantization_config");
  refuse("rope_scaling", json{{"rope_type", "yarn"}}, Code::unsupported, "yarn");
  refuse("num_key_value_heads", 3, Code::corrupt, "num_attention_heads");
  refuse("num_hidden_layers", -1, Code::corrupt, "num_hidden_layers");
  refuse("vocab_size", 1e30, Code::corrupt, "vocab_size");
  refuse("hidden_size", nullptr, Code::corrupt, "\"hidden_size\" is missing");
}

TEST(Convert, RefusesWeightsThatDoNotFit) {
  json config = qwen_config();
  const Qwen missing(config, DType::bf16, 1, "model.layers.1.self_attn.q_norm.weight");
  expect_refused(missing, upper_half(), Code::mismatch, "model.layers.1.self_attn.q_norm.weight");

  const Qwen other;
  config["intermediate_size"] = 81;
  other.put("config.json", config.dump());
  expect_refused(other, upper_half(), Code::mismatch, "config.json calls for [81, 48]");

  // Untied embeddings need their own head.
  const Qwen headless;
  config = qwen_config();
  config["tie_word_embeddings"] = false;
  headless.put("config.json", config.dump());
  expect_refused(headless, upper_half(), Code::mismatch, "lm_head.weight");

  const Qwen cut;
  std::string file = TestFolder::get(cut / "model.safetensors");
  cut.put("model.safetensors", std::string_view(file).substr(0, file.size() - 100));
  expect_refused(cut, upper_half(), Code::corrupt, "model.safetensors");

  // The last tensor of the file is the final norm: its last number becomes a NaN.
  const Qwen infinite;
  file.back() = '\x7f';
  file[file.size() - 2] = '\xff';
  infinite.put("model.safetensors", file);
  expect_refused(infinite, upper_half(), Code::corrupt,
                 "'model.norm.weight' is not finite at element 47 of 48");

  const Qwen empty;
  std::filesystem::remove(empty / "model.safetensors");
  expect_refused(empty, upper_half(), Code::not_found, "holds neither model.safetensors");
}

TEST(Convert, RefusesRoutersThatCannotBe) {
  const Qwen qwen;
  const auto refuse = [&](const std::function<void(MsaConfig&)>& change, const std::string& part) {
    Conversion conversion = upper_half();
    change(conversion.msa);
    expect_refused(qwen, conversion, Code::invalid_argument, part);
  };
  refuse([](MsaConfig& msa) { msa.router_layers = {4}; }, "layer numbers from 0 to 3");
  refuse([](MsaConfig& msa) { msa.router_layers = {-1}; }, "router_layer_idx");
  refuse([](MsaConfig& msa) { msa.router_layers = {2, 2}; }, "without repeats");
  refuse([](MsaConfig& msa) { msa.router_layers = {}; }, "names no router layer");
  refuse([](MsaConfig& msa) { msa.chunk_size = 0; }, "pooling_kernel_size");
  refuse([](MsaConfig& msa) { msa.top_k = 1 << 20; }, "top_k_docs");
}

// ---------------------------------------------------------------------------------------------

TEST(ToF16, RoundsToTheNearest) {
  const auto bits = [](float value) { return to_f16(value).bits; };
  EXPECT_EQ(bits(0.0f), 0x0000);
  EXPECT_EQ(bits(-0.0f), 0x8000);
  EXPECT_EQ(bits(1.0f), 0x3c00);
  EXPECT_EQ(bits(-2.0f), 0xc000);
  EXPECT_EQ(bits(65504.0f), 0x7bff);
  EXPECT_EQ(bits(65519.996f), 0x7bff);
  EXPECT_EQ(bits(65520.0f), 0x7c00);
  EXPECT_EQ(bits(-std::numeric_limits<float>::infinity()), 0xfc00);
  EXPECT_EQ(bits(std::numeric_limits<float>::quiet_NaN()) & 0x7fff, 0x7e00);
  EXPECT_EQ(bits(0x1p-24f), 0x0001);
  EXPECT_EQ(bits(0x1p-25f), 0x0000);         // halfway: to even
  EXPECT_EQ(bits(0x1.8p-24f), 0x0002);       // halfway: to even
  EXPECT_EQ(bits(0x1.ffffp-15f), 0x0400);    // into the normal numbers
  EXPECT_EQ(bits(1.0f + 0x1p-11f), 0x3c00);  // halfway: to even
  EXPECT_EQ(bits(1.0f + 0x3p-11f), 0x3c02);
}

TEST(ToF16, GivesBackEveryHalf) {
  for (uint32_t half = 0; half < 0x10000; ++half) {
    const f16 value{static_cast<uint16_t>(half)};
    if ((half & 0x7fff) <= 0x7c00) {
      ASSERT_EQ(to_f16(value.to_float()).bits, half);
    }
  }
}

}  // namespace
}  // namespace msa
