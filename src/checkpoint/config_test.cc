#include "checkpoint/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "base/test_folder.h"
#include "checkpoint/config_text.h"
#include "checkpoint/json_file.h"

namespace msa {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// The smallest config.json that is accepted, and a way to change it.
json minimal() {
  return json::parse(R"({
    "model_type": "msa", "num_hidden_layers": 4, "hidden_size": 64, "intermediate_size": 96,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 320, "rope_theta": 5000000.0,
    "msa_config": {"router_layer_idx": "2,3"}})");
}
json with(std::string_view pointer, json value) {
  json config = minimal();
  config[json::json_pointer(std::string(pointer))] = std::move(value);
  return config;
}
json without(const std::string& key) {
  json config = minimal();
  config.erase(key);
  return config;
}
Result<ModelConfig> parse(const json& config) {
  return parse_config(config.dump(), "dir/config.json");
}

// Every error is one line that begins with the file.
void expect_error(const json& config, Code code, const std::string& part) {
  const auto parsed = parse(config);
  ASSERT_FALSE(parsed) << config.dump();
  EXPECT_EQ(parsed.error().code, code) << parsed.error().message;
  EXPECT_THAT(parsed.error().message, AllOf(StartsWith("dir/config.json: "), HasSubstr(part),
                                            HasSubstr("; "), Not(HasSubstr("\n"))));
}

TEST(Config, FillsInWhatMayBeAbsent) {
  const auto config = parse(minimal());
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->layers, 4u);
  EXPECT_EQ(config->head_dim, 16u);  // hidden size over heads
  EXPECT_EQ(config->query_width(), 64u);
  EXPECT_EQ(config->kv_width(), 32u);
  EXPECT_EQ(config->max_positions, 32768u);
  EXPECT_EQ(config->rms_norm_eps, 1e-6f);
  EXPECT_EQ(config->rope_theta, 5e6);
  EXPECT_FALSE(config->tied_embeddings);
  EXPECT_THAT(config->msa.router_layers, ElementsAre(2, 3));
  EXPECT_EQ(config->msa.top_k, 16u);
  EXPECT_EQ(config->msa.chunk_size, 64u);
  EXPECT_TRUE(config->msa.decouple_router);
  EXPECT_TRUE(config->msa.cosine_by_default());
  EXPECT_FALSE(config->msa.is_router_layer(1));
  EXPECT_TRUE(config->msa.is_router_layer(2));
  EXPECT_FALSE(config->msa.is_router_layer(SIZE_MAX));
}

TEST(Config, ReadsTheGoldenFolders) {
  const std::filesystem::path golden = std::filesystem::path(MSA_TESTDATA) / "golden";
  const auto cosine = read_config(golden / "cosine/config.json");
  ASSERT_TRUE(cosine) << cosine.error().message;
  EXPECT_EQ(cosine->vocabulary, 320u);
  EXPECT_TRUE(cosine->tied_embeddings);
  EXPECT_EQ(cosine->msa.chunk_size, 8u);
  EXPECT_EQ(cosine->msa.top_k, 3u);
  EXPECT_EQ(cosine->msa.head_reduce, HeadReduce::mean);
  const auto max_head = read_config(golden / "max_head/config.json");
  ASSERT_TRUE(max_head) << max_head.error().message;
  EXPECT_THAT(max_head->msa.router_layers, ElementsAre(1, 3));
  EXPECT_EQ(max_head->msa.head_reduce, HeadReduce::max);
  EXPECT_EQ(max_head->msa.query_reduce, QueryReduce::mean);
  EXPECT_EQ(max_head->msa.chunk_reduce, ChunkReduce::mean);
}

TEST(Config, RouterLayersInEverySpelling) {
  const auto layers = [](json value) {
    const auto config = parse(with("/msa_config/router_layer_idx", std::move(value)));
    EXPECT_TRUE(config);
    return config ? config->msa.router_layers : std::vector<int>{};
  };
  EXPECT_THAT(layers("all"), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(layers("3"), ElementsAre(3));
  EXPECT_THAT(layers(" 3 , 0 "), ElementsAre(0, 3));
  EXPECT_THAT(layers(json::array({3, 1})), ElementsAre(1, 3));
  EXPECT_THAT(layers(2), ElementsAre(2));
}

TEST(Config, RouterLayersThatMakeNoSense) {
  for (const json& value : {json(""), json("  "), json(nullptr), json::array()})
    expect_error(with("/msa_config/router_layer_idx", value), Code::corrupt, "no router layer");
  for (const json& value : {json("4"),
                            json("-1"),
                            json("1,"),
                            json(",1"),
                            json("1,,2"),
                            json("1 2"),
                            json("1;2"),
                            json("ALL"),
                            json("all,1"),
                            json("0x1"),
                            json("99999999999999999999"),
                            json(4),
                            json(-1),
                            json(1.0),
                            json(true),
                            json::array({4}),
                            json::array({"1"}),
                            json::array({-1}),
                            json::array({json::array({1})}),
                            json::object()})
    expect_error(with("/msa_config/router_layer_idx", value), Code::corrupt, "from 0 to 3");
  for (const json& value : {json("1,1"), json("2,1,2"), json::array({0, 0})})
    expect_error(with("/msa_config/router_layer_idx", value), Code::corrupt, "without repeats");
  json absent = minimal();
  absent["msa_config"].erase("router_layer_idx");
  expect_error(absent, Code::corrupt, "no router layer");
}

TEST(Config, SizesAreCheckedForKindAndRange) {
  struct Bound {
    std::string key;
    uint64_t most;
  };
  for (const auto& [key, most] : {Bound{"num_hidden_layers", 1024},
                                  {"hidden_size", 1u << 20},
                                  {"intermediate_size", 1u << 22},
                                  {"vocab_size", 1u << 24},
                                  {"num_attention_heads", 4096},
                                  {"num_key_value_heads", 4096},
                                  {"head_dim", 1024},
                                  {"max_position_embeddings", 1u << 30},
                                  {"msa_config/pooling_kernel_size", 65536},
                                  {"msa_config/top_k_docs", 65536},
                                  {"msa_config/doc_top_k", 65536}}) {
    for (const json& value : {json(0), json(most + 1), json(-1), json(1.5), json(64.0), json("64"),
                              json(true), json::array({64}), json(UINT64_MAX), json(INT64_MIN)})
      expect_error(with("/" + key, value), Code::corrupt,
                   key.substr(key.find('/') == std::string::npos ? 0 : key.find('/') + 1));
  }
  for (const char* key : {"num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size",
                          "num_attention_heads", "num_key_value_heads", "rope_theta"})
    expect_error(without(key), Code::corrupt, std::string("\"") + key + "\" is missing");
}

TEST(Config, LargestSizesAreAccepted) {
  json config = minimal();
  config["num_hidden_layers"] = 1024;
  config["hidden_size"] = 1 << 20;
  config["intermediate_size"] = 1 << 22;
  config["vocab_size"] = 1 << 24;
  config["head_dim"] = 1024;
  config["num_attention_heads"] = 4096;
  config["num_key_value_heads"] = 4096;
  EXPECT_TRUE(parse(config));
}

TEST(Config, HeadsMustFit) {
  expect_error(with("/num_key_value_heads", 3), Code::corrupt, "not a multiple");
  expect_error(with("/num_key_value_heads", 8), Code::corrupt, "not a multiple");
  expect_error(with("/head_dim", 15), Code::corrupt, "not even");
  json odd = minimal();
  odd["hidden_size"] = 60;  // 15 per head
  expect_error(odd, Code::corrupt, "not even");
  odd["hidden_size"] = 66;
  expect_error(odd, Code::corrupt, "\"head_dim\" is missing");
  odd["hidden_size"] = 2;  // none per head
  expect_error(odd, Code::corrupt, "\"head_dim\" is missing");
  odd["hidden_size"] = 1 << 20;
  expect_error(odd, Code::corrupt, "\"head_dim\" is missing");
}

TEST(Config, RealsAreCheckedForKindAndRange) {
  for (const char* key : {"rms_norm_eps", "rope_theta", "msa_config/infonce_loss_temp",
                          "msa_config/auxloss_weight", "msa_config/lmloss_weigth"})
    for (const json& value : {json(-1.0), json("1"), json(true), json(1e300)})
      expect_error(with(std::string("/") + key, value), Code::corrupt, "a number from");
  expect_error(with("/rms_norm_eps", 0), Code::corrupt, "rms_norm_eps");
  EXPECT_EQ(parse(with("/rope_theta", 10000))->rope_theta, 10000.0);  // a whole number is one too
}

TEST(Config, FlagsAreTrueOrFalse) {
  for (const char* key : {"tie_word_embeddings", "msa_config/decouple_router", "attention_bias",
                          "msa_config/skip_handed_over_docs"})
    for (const json& value : {json(1), json("true"), json::array()})
      expect_error(with(std::string("/") + key, value), Code::corrupt, "true or false");
  EXPECT_FALSE(parse(with("/msa_config/decouple_router", false))->msa.decouple_router);
  EXPECT_TRUE(parse(with("/msa_config/skip_handed_over_docs", true))->msa.skip_handed_over);
}

TEST(Config, NullCountsAsAbsent) {
  json config = minimal();
  for (const char* key : {"head_dim", "rms_norm_eps", "rope_scaling", "quantization_config",
                          "hidden_act", "layer_types", "sliding_window"})
    config[key] = nullptr;
  config["msa_config"]["doc_top_k"] = nullptr;
  config["msa_config"]["top_k_docs"] = 5;
  const auto parsed = parse(config);
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->msa.top_k, 5u);
  expect_error(with("/hidden_size", nullptr), Code::corrupt, "is missing");
}

TEST(Config, DocTopKGoesBeforeTopKDocs) {
  json config = minimal();
  config["msa_config"]["top_k_docs"] = 5;
  config["msa_config"]["doc_top_k"] = 7;
  EXPECT_EQ(parse(config)->msa.top_k, 7u);
}

TEST(Config, ReduceMethodsByName) {
  json config = minimal();
  config["msa_config"]["head_reduce_method"] = "max";
  config["msa_config"]["query_reduce_method"] = "last";
  config["msa_config"]["chunk_reduce_method"] = "mean";
  const auto parsed = parse(config);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->msa.head_reduce, HeadReduce::max);
  EXPECT_EQ(parsed->msa.query_reduce, QueryReduce::last);
  EXPECT_EQ(parsed->msa.chunk_reduce, ChunkReduce::mean);
  expect_error(with("/msa_config/head_reduce_method", "last"), Code::corrupt,
               R"(is "last", not "mean" or "max")");
  expect_error(with("/msa_config/query_reduce_method", "sum"), Code::corrupt,
               R"("max" or "mean" or "last")");
  expect_error(with("/msa_config/chunk_reduce_method", 1), Code::corrupt, R"("max" or "mean")");
}

TEST(Config, OnlyOneLossMethodMeansCosine) {
  for (const char* method : {"INFONCE_DECOUPLE", "INFONCE_FOCAL", "BCE", "infonce", ""})
    EXPECT_FALSE(parse(with("/msa_config/aux_loss_method", method))->msa.cosine_by_default());
  EXPECT_TRUE(parse(with("/msa_config/aux_loss_method", "INFONCE"))->msa.cosine_by_default());
  EXPECT_FALSE(parse(with("/msa_config/aux_loss_method", nullptr))->msa.cosine_by_default());
  expect_error(with("/msa_config/aux_loss_method", 3), Code::corrupt, "aux_loss_method");
}

TEST(Config, LossWeightInBothSpellings) {
  EXPECT_EQ(parse(with("/msa_config/lmloss_weigth", 0.5))->msa.lm_loss_weight, 0.5);
  EXPECT_EQ(parse(with("/msa_config/lmloss_weight", 0.25))->msa.lm_loss_weight, 0.25);
  json both = with("/msa_config/lmloss_weight", 0.5);
  both["msa_config"]["lmloss_weigth"] = 0.5;
  EXPECT_EQ(parse(both)->msa.lm_loss_weight, 0.5);
  both["msa_config"]["lmloss_weigth"] = 1.0;
  expect_error(both, Code::corrupt, "contradicts");
}

TEST(Config, RotaryBaseInItsNewerPlaces) {
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    json config = without("rope_theta");
    config[key] = {{"rope_type", "default"}, {"rope_theta", 1e6}};
    const auto parsed = parse(config);
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(parsed->rope_theta, 1e6);
    config["rope_theta"] = 1e6;
    EXPECT_TRUE(parse(config));
    config["rope_theta"] = 2e6;
    expect_error(config, Code::corrupt, "another place");

    const std::string at = std::string("/") + key;
    EXPECT_TRUE(parse(with(at, json::object())));
    expect_error(with(at, {{"rope_type", "yarn"}, {"factor", 4}}), Code::unsupported, "yarn");
    expect_error(with(at, {{"type", "linear"}}), Code::unsupported, "linear");
    expect_error(with(at, {{"partial_rotary_factor", 0.5}}), Code::unsupported, "partial");
    expect_error(with(at, "yarn"), Code::corrupt, "an object");
  }
}

TEST(Config, RefusesWhatTheEngineDoesNotCompute) {
  expect_error(with("/hidden_act", "gelu"), Code::unsupported, "gelu");
  expect_error(with("/attention_bias", true), Code::unsupported, "attention_bias");
  expect_error(with("/quantization_config", {{"bits", 4}}), Code::unsupported, "quantization");
  expect_error(with("/use_sliding_window", true), Code::unsupported, "use_sliding_window");
  expect_error(with("/layer_types", {"full_attention", "sliding_attention"}), Code::unsupported,
               "sliding_attention");
  expect_error(with("/msa_config/decouple_pooling_mode", "max"), Code::unsupported, "pooling_mode");
  expect_error(with("/msa_config/rewrite_position", false), Code::unsupported, "rewrite_position");
  EXPECT_TRUE(parse(with("/layer_types", {"full_attention", "full_attention"})));
  EXPECT_TRUE(parse(with("/sliding_window", 4096)));  // named, but not used
}

TEST(Config, OtherModelsAreNamed) {
  json plain = without("msa_config");
  expect_error(plain, Code::unsupported, "plain Qwen3 checkpoint");
  plain["model_type"] = "qwen3";
  expect_error(plain, Code::unsupported, "plain Qwen3 checkpoint");
  expect_error(with("/model_type", "llama"), Code::unsupported, "\"llama\"");
  expect_error(without("model_type"), Code::unsupported, "model_type");
  expect_error(with("/msa_config", "yes"), Code::corrupt, "an object");
}

TEST(Config, BrokenTextIsAnError) {
  for (const char* text :
       {"", "{", "[]", "null", "{\"a\": }", "\xff\xfe", "{} {}", "{\"a\": 1e999}"}) {
    const auto parsed = parse_config(text, "config.json");
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code, Code::corrupt) << parsed.error().message;
  }
  const auto twice = parse_config(R"({"hidden_size": 1, "hidden_size": 2})", "config.json");
  ASSERT_FALSE(twice);
  EXPECT_THAT(twice.error().message, HasSubstr("names \"hidden_size\" twice"));
  // The same key in different objects is no repetition.
  EXPECT_TRUE(parse_json(R"({"a": {"x": 1}, "b": [{"x": 1}, {"x": 2}]})", "file"));
  for (const char* bracket : {"[", "{\"a\":"}) {
    std::string deep;
    for (int i = 0; i < 200'000; ++i) deep += bracket;
    EXPECT_FALSE(parse_json(deep, "file"));
    if (*bracket == '[') {
      const auto closed = parse_json(deep + std::string(200'000, ']'), "file");
      ASSERT_FALSE(closed);
      EXPECT_THAT(closed.error().message, HasSubstr("deeper"));
    }
  }
}

TEST(Config, MissingFile) {
  const TestFolder folder;
  const auto missing = read_config(folder / "config.json");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::not_found);
}

TEST(Config, LongOrUglyValuesStayShortAndOnOneLine) {
  const auto parsed = parse(with("/hidden_act", "a\nb" + std::string(10'000, 'x')));
  ASSERT_FALSE(parsed);
  EXPECT_THAT(parsed.error().message, Not(HasSubstr("\n")));
  EXPECT_LT(parsed.error().message.size(), 500u);
}

ModelConfig random_config(std::mt19937& random) {
  const auto between = [&](size_t least, size_t most) {
    return least + random() % (most - least + 1);
  };
  const auto real = [&] { return std::ldexp(static_cast<double>(random()), -32); };
  ModelConfig config;
  config.layers = between(1, 40);
  config.kv_heads = between(1, 16);
  config.query_heads = config.kv_heads * between(1, 8);
  config.head_dim = 2 * between(1, 512);
  config.hidden = between(1, 1u << 20);
  config.feed_forward = between(1, 1u << 22);
  config.vocabulary = between(1, 1u << 24);
  config.max_positions = between(1, 1u << 30);
  config.rms_norm_eps = static_cast<float>(real() * 1e-4 + 1e-9);
  config.rope_theta = 1 + real() * 1e7;
  config.tied_embeddings = random() % 2;
  config.msa.router_layers = {};
  for (size_t layer = 0; layer < config.layers; ++layer)
    if (random() % 2) config.msa.router_layers.push_back(static_cast<int>(layer));
  if (config.msa.router_layers.empty()) config.msa.router_layers = {0};
  config.msa.top_k = between(1, 65536);
  config.msa.chunk_size = between(1, 65536);
  config.msa.decouple_router = random() % 2;
  config.msa.aux_loss_method = std::vector<std::string>{"INFONCE", "BCE", ""}[random() % 3];
  config.msa.head_reduce = static_cast<HeadReduce>(random() % 2);
  config.msa.query_reduce = static_cast<QueryReduce>(random() % 3);
  config.msa.chunk_reduce = static_cast<ChunkReduce>(random() % 2);
  config.msa.skip_handed_over = random() % 2;
  config.msa.infonce_temperature = 1e-3 + real();
  config.msa.lm_loss_weight = real();
  config.msa.aux_loss_weight = real();
  config.msa.rec_loss_weight = real();
  config.msa.ans_loss_weight = real();
  config.note = std::vector<std::string>{"", "random weights", "\"quoted\"\n\u00e9"}[random() % 3];
  return config;
}

TEST(Config, WhatIsWrittenIsReadBack) {
  std::mt19937 random(11);
  for (int round = 0; round < 300; ++round) {
    const ModelConfig c = random_config(random);
    const std::string text = write_config(c, "bfloat16");
    const auto read = parse_config(text, "config.json");
    ASSERT_TRUE(read) << read.error().message << text;
    const ModelConfig& r = *read;
    EXPECT_EQ(std::tie(r.layers, r.query_heads, r.kv_heads, r.head_dim, r.hidden, r.feed_forward,
                       r.vocabulary, r.max_positions, r.rms_norm_eps, r.rope_theta,
                       r.tied_embeddings, r.note),
              std::tie(c.layers, c.query_heads, c.kv_heads, c.head_dim, c.hidden, c.feed_forward,
                       c.vocabulary, c.max_positions, c.rms_norm_eps, c.rope_theta,
                       c.tied_embeddings, c.note));
    const MsaConfig &m = r.msa, &n = c.msa;
    EXPECT_EQ(std::tie(m.router_layers, m.top_k, m.chunk_size, m.decouple_router, m.aux_loss_method,
                       m.head_reduce, m.query_reduce, m.chunk_reduce, m.skip_handed_over),
              std::tie(n.router_layers, n.top_k, n.chunk_size, n.decouple_router, n.aux_loss_method,
                       n.head_reduce, n.query_reduce, n.chunk_reduce, n.skip_handed_over));
    EXPECT_EQ(std::tie(m.infonce_temperature, m.lm_loss_weight, m.aux_loss_weight,
                       m.rec_loss_weight, m.ans_loss_weight),
              std::tie(n.infonce_temperature, n.lm_loss_weight, n.aux_loss_weight,
                       n.rec_loss_weight, n.ans_loss_weight));
    ASSERT_EQ(write_config(r, "bfloat16"), text);
  }
}

// Whatever the bytes, there is a configuration or an error, never a crash.
TEST(Config, DamagedTextNeverCrashes) {
  std::mt19937 random(12);
  const std::string text = write_config(random_config(random), "float32");
  int accepted = 0, refused = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string damaged = text;
    for (unsigned i = 0; i <= random() % 4; ++i)
      damaged[random() % damaged.size()] = static_cast<char>(random());
    if (random() % 4 == 0) damaged.resize(random() % damaged.size());
    const auto parsed = parse_config(damaged, "config.json");
    ++(parsed ? accepted : refused);
    if (!parsed) {
      EXPECT_THAT(parsed.error().message, StartsWith("config.json: "));
    }
  }
  EXPECT_GT(refused, accepted);
}

// ---------------------------------------------------------------------------------------------

TEST(GenerationConfig, Absent) {
  const TestFolder folder;
  const auto config = read_generation_config(folder.path());
  ASSERT_TRUE(config);
  EXPECT_TRUE(config->eos_token_ids.empty());
  EXPECT_FALSE(config->temperature || config->top_p);
}

TEST(GenerationConfig, OneOrSeveralEnds) {
  const TestFolder folder;
  folder.put(
      "generation_config.json",
      R"({"eos_token_id": [151645, 151643], "temperature": 0.6, "top_p": 0.95, "top_k": 20})");
  const auto several = read_generation_config(folder.path());
  ASSERT_TRUE(several) << several.error().message;
  EXPECT_THAT(several->eos_token_ids, ElementsAre(151645, 151643));
  EXPECT_EQ(several->temperature, 0.6);
  EXPECT_EQ(several->top_p, 0.95);
  folder.put("generation_config.json", R"({"eos_token_id": 7, "top_p": null})");
  const auto one = read_generation_config(folder.path());
  ASSERT_TRUE(one);
  EXPECT_THAT(one->eos_token_ids, ElementsAre(7));
  EXPECT_FALSE(one->top_p);
}

TEST(GenerationConfig, BadValues) {
  const TestFolder folder;
  for (const char* text :
       {"[]", "x", R"({"eos_token_id": -1})", R"({"eos_token_id": "7"})",
        R"({"eos_token_id": [[7]]})", R"({"eos_token_id": 99999999})", R"({"temperature": -1})",
        R"({"temperature": "hot"})", R"({"top_p": 1.5})"}) {
    folder.put("generation_config.json", text);
    const auto config = read_generation_config(folder.path());
    ASSERT_FALSE(config) << text;
    EXPECT_THAT(config.error().message, HasSubstr("generation_config.json: "));
  }
}

}  // namespace
}  // namespace msa
