#include "plan/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/test_folder.h"
#include "checkpoint/config.h"

namespace msa::plan {
namespace {

using ::testing::HasSubstr;

TEST(PlanModel, ThePublishedShapeNeedsNoFolder) {
  for (const char* name : {"msa-4b", "MSA-4B"}) {
    const auto model = read_plan_model(name);
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_EQ(model->layers, 36u);
    EXPECT_EQ(model->router_layers, 18u);
    EXPECT_EQ(model->query_heads, 32u);
    EXPECT_EQ(model->kv_width(), 1024u);
    EXPECT_EQ(model->chunk_size, 64u);
    EXPECT_EQ(model->top_k, 16u);
    EXPECT_TRUE(model->folds);
    // Qwen3-4B has 4,022,468,096; 18 routers of (4096 + 1024) * 2560 come on top.
    EXPECT_EQ(model->parameters, 4'022'468'096u + 18u * 5120 * 2560);
    // All but embeddings and final norm.
    EXPECT_EQ(model->layer_parameters, model->parameters - uint64_t{151936} * 2560 - 2560);
  }
}

TEST(PlanModel, OfAFolderOnlyItsConfigIsRead) {
  const TestFolder folder;
  ModelConfig config;
  config.layers = 4;
  config.query_heads = 4;
  config.kv_heads = 2;
  config.head_dim = 8;
  config.hidden = 16;
  config.feed_forward = 24;
  config.vocabulary = 100;
  config.max_positions = 512;
  config.rope_theta = 1e6;
  config.tied_embeddings = true;
  config.msa.router_layers = {1, 3};
  config.msa.chunk_size = 32;
  config.msa.top_k = 5;
  config.msa.head_reduce = HeadReduce::max;
  const auto file = folder.path() / "config.json";
  std::ofstream(file) << write_config(config, "bfloat16");
  for (const auto& path : {folder.path(), file}) {
    const auto model = read_plan_model(path.string());
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_EQ(model->name, path.string());
    EXPECT_EQ(model->router_layers, 2u);
    EXPECT_EQ(model->kv_width(), 16u);
    EXPECT_EQ(model->chunk_size, 32u);
    EXPECT_EQ(model->top_k, 5u);
    EXPECT_FALSE(model->folds);
    // Per layer: q and o 32*16, k and v 16*16, MLP 3*24*16, four norms; two routers; the rest.
    const uint64_t layer = 2 * 512 + 2 * 256 + 3 * 384 + 2 * 16 + 2 * 8;
    EXPECT_EQ(model->layer_parameters, 4 * layer + 2 * (512 + 256));
    EXPECT_EQ(model->parameters, model->layer_parameters + 1600 + 16);
  }
}

TEST(PlanModel, ErrorsSayWhatIsWrong) {
  const auto nothing = read_plan_model("no/such/model");
  ASSERT_FALSE(nothing);
  EXPECT_EQ(nothing.error().code, Code::not_found);
  EXPECT_THAT(nothing.error().message, HasSubstr("no/such/model: neither"));
  EXPECT_THAT(nothing.error().message, HasSubstr("msa-4b"));
  const TestFolder folder;
  const auto empty = read_plan_model(folder.path().string());
  ASSERT_FALSE(empty);
  EXPECT_THAT(empty.error().message, HasSubstr("config.json"));
  std::ofstream(folder.path() / "config.json") << R"({"model_type": "msa", "msa_config": {},
      "num_hidden_layers": 99999999999})";
  const auto absurd = read_plan_model(folder.path().string());
  ASSERT_FALSE(absurd);
  EXPECT_THAT(absurd.error().message, HasSubstr("num_hidden_layers"));
}

}  // namespace
}  // namespace msa::plan
