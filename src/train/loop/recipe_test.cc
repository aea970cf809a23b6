#include "train/loop/recipe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace msa::train {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::string_view kModel =
    R"("model": {"layers": 4, "hidden": 64, "feed_forward": 128, "query_heads": 4, "kv_heads": 2,
        "head_dim": 16, "router_layers": [2, 3]}, "tokenizer": "tok.json")";

std::string recipe_with(std::string_view rest) {
  return "{" + std::string(kModel) + ", " + std::string(rest) + "}";
}
std::string phase_with(std::string_view keys) {
  return recipe_with(R"("phases": [{"name": "a", "steps": 10, "learning_rate": 0.001,
                     "data": [{"task": "needle"}])" +
                     std::string(keys.empty() ? "" : ", ") + std::string(keys) + "}]");
}

Result<Recipe> parse(const std::string& text) {
  return parse_recipe(text, "/work/recipes/r.json");
}

// What is wrong, with file and key.
void expect_error(const std::string& text, const std::string& key, const std::string& what) {
  const Result<Recipe> recipe = parse(text);
  ASSERT_FALSE(recipe.ok()) << text;
  EXPECT_THAT(recipe.error().message,
              AllOf(HasSubstr("/work/recipes/r.json"), HasSubstr(key), HasSubstr(what)));
  EXPECT_THAT(recipe.error().message, Not(HasSubstr("\n")));
}

TEST(Recipe, ReadsEverything) {
  const Result<Recipe> read = parse(R"({
    "note": "a test",
    "model": {"layers": 6, "hidden": 192, "feed_forward": 512, "query_heads": 4, "kv_heads": 2,
              "head_dim": 64, "router_layers": [3, 4, 5], "chunk_size": 32, "top_k": 4,
              "rope_theta": 20000, "rms_norm_eps": 1e-5, "max_positions": 8192,
              "tied_embeddings": false, "vocabulary": 5000, "decouple_router": true,
              "head_reduce": "max", "query_reduce": "last", "chunk_reduce": "mean",
              "aux_loss": "INFONCE_DECOUPLE", "temperature": 0.2,
              "skip_handed_over": true},
    "tokenizer": "/else/tokenizer.json", "data_folder": "../../data", "seed": 42,
    "dtype": "f32", "save_dtype": "bf16",
    "optimizer": {"betas": [0.8, 0.9], "eps": 1e-6, "weight_decay": 0.1, "clip": 0},
    "checkpoint_every": {"steps": 100}, "log_every": 5,
    "evaluation": {"every": 50, "batches": 3, "top_k": 2, "seed": 9, "batch": {"tokens": 4096},
                   "data": [{"task": "needle", "seed": 3}]},
    "phases": [
      {"name": "router", "steps": 2e3, "learning_rate": 1e-4, "lm_weight": 0.1, "aux_weight": 1,
       "aux_loss": "BCE", "include_positives": true, "top_k": 1, "accumulate": 2,
       "checkpoint_activations": true, "optimizer": "muon", "head_norm_rate": 4, "embedding_rate": 20,
       "negatives": 2048,
       "schedule": {"kind": "linear", "warmup_steps": 50, "final_share": 0.5},
       "batch": {"documents": 16, "tokens": 2048, "max_document_tokens": 100,
                 "share_documents": false, "max_number_digits": 3, "number_weight": 2,
                 "answer_weight": 0.5, "text_weight": 0.25, "document_weight": 0.3,
                 "repeat_share": 0.1, "repeat_tokens": 32, "repeat_vocabulary": 12, "reading_share": 0.5,
                 "reading_documents": 2, "one_document_per_step": true, "detour_share": 0.25,
                 "sequences_per_question": 2},
       "data": [{"task": "encyclopaedia", "split": "train", "seed": 7, "weight": 2,
                 "settings": {"hops": 2, "kind": "mixed", "strict": true}},
                {"file": "x.jsonl", "weight": 1, "reading_share": 0.75}]},
      {"name": "main", "tokens": 500000, "continue": true, "top_k": [1, 2, 4],
       "insert_layers": [3, 6, 6], "router_layers": [5, 7], "chunk_size": 16,
       "data": [{"task": "needle"}]}]})");
  ASSERT_TRUE(read.ok()) << read.error().message;
  const Recipe& r = *read;
  EXPECT_EQ(r.note, "a test");
  ASSERT_TRUE(r.shape);
  EXPECT_EQ(r.shape->layers, 6u);
  EXPECT_EQ(r.shape->feed_forward, 512u);
  EXPECT_EQ(r.shape->vocabulary, 5000u);
  EXPECT_EQ(r.shape->max_positions, 8192u);
  EXPECT_FALSE(r.shape->tied_embeddings);
  EXPECT_THAT(r.shape->msa.router_layers, ElementsAre(3, 4, 5));
  EXPECT_EQ(r.shape->msa.chunk_size, 32u);
  EXPECT_EQ(r.shape->msa.top_k, 4u);
  EXPECT_EQ(r.shape->msa.head_reduce, HeadReduce::max);
  EXPECT_TRUE(r.shape->msa.skip_handed_over);
  EXPECT_EQ(r.shape->msa.query_reduce, QueryReduce::last);
  EXPECT_EQ(r.shape->msa.chunk_reduce, ChunkReduce::mean);
  EXPECT_EQ(r.shape->msa.aux_loss_method, "INFONCE_DECOUPLE");
  EXPECT_EQ(r.shape->msa.infonce_temperature, 0.2);
  EXPECT_EQ(r.tokenizer, "/else/tokenizer.json");
  EXPECT_EQ(r.data_folder, "/data");
  EXPECT_EQ(r.seed, 42u);
  EXPECT_EQ(r.compute, DType::f32);
  EXPECT_EQ(r.save, DType::bf16);
  EXPECT_EQ(r.optimizer.beta1, 0.8);
  EXPECT_EQ(r.optimizer.clip, 0);
  EXPECT_EQ(r.checkpoint_steps, 100u);
  EXPECT_EQ(r.checkpoint_minutes, 0);
  EXPECT_EQ(r.log_every, 5u);
  ASSERT_TRUE(r.evaluation);
  EXPECT_EQ(r.evaluation->top_k, 2u);
  EXPECT_EQ(r.evaluation->batch.tokens, 4096u);
  EXPECT_TRUE(r.evaluation->data[0].test);

  ASSERT_EQ(r.phases.size(), 2u);
  const Phase& one = r.phases[0];
  EXPECT_EQ(one.steps, 2000u);
  EXPECT_EQ(one.aux_loss, "BCE");
  EXPECT_EQ(one.include_positives, 1);
  EXPECT_TRUE(one.checkpoint_activations);
  EXPECT_EQ(one.optimizer, OptimizerKind::muon);
  EXPECT_EQ(one.head_norm_rate, 4);
  EXPECT_EQ(one.embedding_rate, 20);
  EXPECT_EQ(one.negatives, 2048u);
  EXPECT_EQ(one.batch.reading_share, 0.5);
  EXPECT_EQ(one.batch.reading_documents, 2u);
  EXPECT_TRUE(one.batch.one_document_per_step);
  EXPECT_EQ(one.batch.detour_share, 0.25);
  EXPECT_EQ(one.batch.repeat_vocabulary, 12u);
  EXPECT_EQ(one.batch.sequences_per_question, 2u);
  EXPECT_EQ(one.accumulate, 2u);
  EXPECT_EQ(one.schedule.kind, ScheduleKind::linear);
  EXPECT_EQ(one.batch.documents, 16u);
  EXPECT_FALSE(one.batch.share_documents);
  EXPECT_EQ(one.batch.max_number_digits, 3u);
  EXPECT_EQ(one.batch.text_weight, 0.25f);
  EXPECT_EQ(one.batch.repeat_share, 0.1);
  ASSERT_EQ(one.data.size(), 2u);
  EXPECT_EQ(one.data[0].seed, 7u);
  EXPECT_FALSE(one.data[0].test);
  EXPECT_THAT(one.data[0].settings,
              ElementsAre(testing::Pair("hops", "2"), testing::Pair("kind", "mixed"),
                          testing::Pair("strict", "true")));
  EXPECT_EQ(one.data[0].reading_share, std::nullopt);
  EXPECT_EQ(one.data[1].file, "/work/recipes/x.jsonl");
  EXPECT_EQ(one.data[1].reading_share, 0.75);
  EXPECT_TRUE(one.insert_layers.empty() && one.router_layers.empty());
  const Phase& two = r.phases[1];
  EXPECT_THAT(two.insert_layers, ElementsAre(3, 6, 6));
  EXPECT_THAT(two.router_layers, ElementsAre(5, 7));
  EXPECT_EQ(one.chunk_size, 0u);
  EXPECT_EQ(two.chunk_size, 16u);
  EXPECT_EQ(two.optimizer, OptimizerKind::adamw);
  EXPECT_EQ(two.negatives, 0u);
  EXPECT_EQ(two.tokens, 500'000u);
  EXPECT_THAT(two.top_k, ElementsAre(1, 2, 4));
  // It goes on with half of the first phase's rate, and takes the model's loss.
  EXPECT_DOUBLE_EQ(two.learning_rate, 5e-5);
  EXPECT_DOUBLE_EQ(two.start_rate, 5e-5);
  EXPECT_EQ(two.aux_loss, "INFONCE_DECOUPLE");
}

TEST(Recipe, DefaultsStandInForWhatPhasesLeaveOut) {
  const Result<Recipe> read = parse(recipe_with(R"(
    "defaults": {"steps": 5, "learning_rate": 0.01, "batch": {"tokens": 999, "documents": 3},
                 "data": [{"task": "needle"}]},
    "phases": [{"name": "a"}, {"name": "b", "learning_rate": 0.02, "batch": {"tokens": 500}}])"));
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(read->phases[0].batch.tokens, 999u);
  EXPECT_EQ(read->phases[1].batch.tokens, 500u);
  EXPECT_EQ(read->phases[1].batch.documents, 3u);
  EXPECT_EQ(read->phases[1].learning_rate, 0.02);
  EXPECT_EQ(read->phases[1].steps, 5u);
  // Each phase has samples of its own unless a seed is given.
  EXPECT_NE(read->phases[0].data[0].seed, read->phases[1].data[0].seed);
}

TEST(Recipe, TextsTellWhatTheWeightsDependOn) {
  const auto texts = [](std::string_view head, std::string_view keys) {
    const Result<Recipe> recipe = parse("{" + std::string(kModel) + "," + std::string(head) +
                                        R"("phases": [{"name": "a", "steps": 10,
        "learning_rate": 0.001, "data": [{"task": "needle"}])" +
                                        std::string(keys) + "}]}");
    EXPECT_TRUE(recipe.ok()) << recipe.error().message;
    return std::pair(recipe->text, recipe->phases[0].text);
  };
  const auto plain = texts("", "");
  EXPECT_EQ(texts(R"("log_every": 3, "checkpoint_every": {"minutes": 1},)", ""), plain);
  EXPECT_NE(texts(R"("seed": 2,)", "").first, plain.first);
  EXPECT_NE(texts("", R"(, "top_k": 3)").second, plain.second);
  EXPECT_EQ(texts(R"("defaults": {"top_k": 3},)", "").second, texts("", R"(, "top_k": 3)").second);
}

TEST(Recipe, UnknownKeysAreNamedWithTheirPathAndTheKnownOnes) {
  expect_error(recipe_with(R"("phases": [], "lerning_rate": 1)"), "\"lerning_rate\"", "log_every");
  expect_error(phase_with(R"("batch": {"token": 5})"), "phases[0].batch.token",
               "max_document_tokens");
  expect_error(phase_with(R"("schedule": {"kinds": 5})"), "phases[0].schedule.kinds",
               "warmup_steps");
  expect_error(phase_with(R"("momentum": 0.9)"), "phases[0].momentum", "learning_rate");
  expect_error(recipe_with(R"("phases": [{"name": "a", "steps": 1, "learning_rate": 0.1,
                           "data": [{"task": "x"}, {"task": "y", "sed": 1}]}])"),
               "phases[0].data[1].sed", "seed");
  expect_error(recipe_with(R"("optimizer": {"lr": 1}, "phases": [])"), "optimizer.lr", "betas");
  expect_error(recipe_with(R"("defaults": {"batch": {"x": 1}}, "phases": [{"name": "a"}])"),
               "defaults.batch.x", "documents");
  expect_error(R"({"model": {"init": "m", "layers": 3}, "tokenizer": "t", "phases": []})",
               "model.layers", "init");
}

TEST(Recipe, ValuesAreChecked) {
  expect_error(phase_with(R"("top_k": 0)"), "phases[0].top_k", "from 1");
  expect_error(phase_with(R"("top_k": [])"), "phases[0].top_k", "list");
  expect_error(phase_with(R"("top_k": [1, "2"])"), "phases[0].top_k", "list");
  expect_error(phase_with(R"("insert_layers": 3)"), "phases[0].insert_layers", "list");
  expect_error(phase_with(R"("insert_layers": [])"), "phases[0].insert_layers", "list");
  expect_error(phase_with(R"("insert_layers": [3, 2])"), "phases[0].insert_layers", "ascending");
  expect_error(phase_with(R"("insert_layers": [-1])"), "phases[0].insert_layers", "0 to 1024");
  expect_error(phase_with(R"("router_layers": [])"), "phases[0].router_layers", "list");
  expect_error(phase_with(R"("router_layers": [3, 2])"), "phases[0].router_layers", "ascending");
  expect_error(phase_with(R"("router_layers": [3, 3])"), "phases[0].router_layers", "twice");
  expect_error(phase_with(R"("chunk_size": 0)"), "phases[0].chunk_size", "from 1 to");
  expect_error(phase_with(R"("accumulate": -1)"), "phases[0].accumulate", "is -1");
  expect_error(phase_with(R"("accumulate": 1.5)"), "phases[0].accumulate", "is 1.5");
  expect_error(phase_with(R"("aux_loss": "INFO")"), "phases[0].aux_loss", "INFONCE_DECOUPLE");
  expect_error(phase_with(R"("lm_weight": 0, "aux_weight": 0)"), "phases[0].aux_weight", "0");
  expect_error(phase_with(R"("tokens": 100)"), "phases[0].steps", "both given");
  expect_error(phase_with(R"("continue": true)"), "phases[0].continue", "before it");
  expect_error(phase_with(R"("schedule": {"kind": "step"})"), "phases[0].schedule.kind", "cosine");
  expect_error(phase_with(R"("batch": {"repeat_share": 1})"), "phases[0].batch.repeat_share",
               "from 0 to 0.9");
  expect_error(phase_with(R"("batch": 3)"), "phases[0].batch", "object");
  expect_error(recipe_with(R"("phases": [])"), "phases", "at least one");
  expect_error(recipe_with(R"("seed": 1)"), "phases", "missing");
  expect_error(recipe_with(R"("dtype": "f16", "phases": [])"), "dtype", "bf16");
  expect_error(recipe_with(R"("optimizer": {"betas": [0.9, 1]}, "phases": [])"), "optimizer.betas",
               "pair");
  expect_error(recipe_with(R"("phases": [{"name": "a", "steps": 1, "learning_rate": 0.1,
                           "data": [{"task": "x", "file": "y"}]}])"),
               "phases[0].data[0].task", "both given");
  expect_error(recipe_with(R"("phases": [{"name": "a", "steps": 1, "learning_rate": 0.1,
                           "data": [{"file": "y", "split": "test"}]}])"),
               "phases[0].data[0].split", "file");
  expect_error(recipe_with(R"("phases": [{"name": "a", "steps": 1, "learning_rate": 0.001,
                           "data": [{"task": "x", "reading_share": 1.1}]}])"),
               "phases[0].data[0].reading_share", "1.1");
  expect_error(recipe_with(R"("phases": [{"name": "a", "steps": 1, "data": [{"task": "x"}]}])"),
               "phases[0].learning_rate", "missing");
  expect_error(recipe_with(R"("defaults": {"insert_layers": [1]}, "phases": [{"name": "a"}])"),
               "defaults.insert_layers", "every phase");
  expect_error(recipe_with(R"("defaults": {"router_layers": [1]}, "phases": [{"name": "a"}])"),
               "defaults.router_layers", "every phase");
  expect_error(recipe_with(R"("defaults": {"chunk_size": 8}, "phases": [{"name": "a"}])"),
               "defaults.chunk_size", "every phase");
  expect_error(recipe_with(R"("defaults": {"steps": 0}, "phases": [{"name": "a"}])"),
               "defaults.steps", "is 0");
  const std::string start = R"({"tokenizer": "t", "phases": [], "model": {"layers": 4,
      "hidden": 64, "feed_forward": 128, "head_dim": 16, )";
  expect_error(start + R"("query_heads": 4, "kv_heads": 3}})", "model.kv_heads", "divide");
  expect_error(start + R"("query_heads": 4, "router_layers": [1, 4]}})", "model.router_layers",
               "0 to 3");
  expect_error(start + R"("query_heads": 4, "router_layers": [2, 1]}})", "model.router_layers",
               "ascending");
  expect_error(start + R"("query_heads": 0}})", "model.query_heads", "is 0");
}

TEST(Recipe, TextThatIsNoJsonHasLineAndColumn) {
  expect_error("{\n  \"seed\": 1,,\n}", "r.json:2:", "JSON");
  expect_error("", "r.json:1:", "JSON");
  expect_error(R"({"seed": 1, "seed": 2})", "seed", "twice");
  expect_error("[1]", "(the whole)", "object");
  expect_error(std::string(100, '[') + std::string(100, ']'), "r.json", "nested");
}

}  // namespace
TEST(Recipe, ARunningPhaseMayChangeItsLengthWhereTheLearningRateDoesNotDependOnIt) {
  const std::string constant = R"({"name":"a","schedule":{"kind":"constant"},"tokens":10})";
  EXPECT_TRUE(may_go_on(constant, constant));
  EXPECT_TRUE(may_go_on(constant, R"({"name":"a","schedule":{"kind":"constant"},"tokens":4})"));
  EXPECT_TRUE(may_go_on(constant, R"({"name":"a","schedule":{"kind":"constant"},"steps":4})"));
  EXPECT_FALSE(may_go_on(constant, R"({"name":"b","schedule":{"kind":"constant"},"tokens":10})"));
  EXPECT_FALSE(may_go_on(constant, R"({"name":"a","schedule":{"kind":"cosine"},"tokens":10})"));
  EXPECT_FALSE(may_go_on(R"({"schedule":{"kind":"cosine"},"tokens":10})",
                         R"({"schedule":{"kind":"cosine"},"tokens":4})"));
  EXPECT_FALSE(may_go_on(R"({"tokens":10})", R"({"tokens":4})"));  // a cosine, when nothing is said
  EXPECT_TRUE(may_go_on("no JSON", "no JSON"));
  EXPECT_FALSE(may_go_on("no JSON", "nor this"));
}

}  // namespace msa::train
