#include "train/loop/run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <charconv>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/test_folder.h"
#include "text/tokenizer.h"
#include "train/loop/state.h"
#include "train/model/router_memory.h"

namespace msa::train {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// What a batch's first token may say to the model.
constexpr TokenId kBadLoss = 1000, kBadGradient = 1001, kFails = 1002;

// A few numbers to be fitted to the batches' tokens, in place of a transformer.
class FakeModel final : public Model {
 public:
  FakeModel() {
    torch::manual_seed(5);
    config_.layers = 2;
    config_.query_heads = config_.kv_heads = 1;
    config_.head_dim = config_.hidden = config_.feed_forward = config_.vocabulary = 8;
    config_.max_positions = 64;
    config_.rope_theta = 10000;
    config_.msa.router_layers = {1};
    parameters_.emplace_back("matrix", torch::randn({4, 3}).set_requires_grad(true));
    parameters_.emplace_back("vector", torch::ones({3}).set_requires_grad(true));
    parameters_.emplace_back("unused", torch::ones({2, 2}).set_requires_grad(true));
  }
  const ModelConfig& config() const override { return config_; }
  ModelConfig& changeable_config() { return config_; }
  const std::vector<std::pair<std::string, torch::Tensor>>& parameters() const override {
    return parameters_;
  }
  void to(torch::Device) override {}
  // A vector for each.
  Result<void> insert_layers(std::span<const size_t> places) override {
    for (size_t i = 0; i < places.size(); ++i) {
      ++config_.layers;
      parameters_.insert(parameters_.begin() + 2, {"layer " + std::to_string(config_.layers),
                                                   torch::zeros({3}).set_requires_grad(true)});
    }
    config_.msa.router_layers = {1, static_cast<int>(config_.layers) - 1};
    return {};
  }
  // One of their vectors goes.
  Result<void> keep_routers(std::span<const size_t> layers) override {
    config_.msa.router_layers.assign(layers.begin(), layers.end());
    parameters_.erase(parameters_.begin() + 2);
    return {};
  }
  void pool_by(size_t chunk_size) override { config_.msa.chunk_size = chunk_size; }

  Result<StepResult> step(const Batch& batch, const StepOptions& options) override {
    const TokenId token = batch.doc_tokens.front();
    if (token == kFails) return Error{Code::corrupt, "batch: cannot be used; change it"};
    asked.push_back(options);
    const torch::Tensor x = torch::arange(4, torch::kFloat32).add(static_cast<float>(token) / 10);
    torch::Tensor y = torch::matmul(x, parameters_[0].second) * parameters_[1].second;
    for (size_t i = 2; i + 1 < parameters_.size(); ++i) y = y + parameters_[i].second;
    StepResult result;
    result.loss = (y - static_cast<double>(options.top_k)).square().mean();
    if (options.negatives) {  // what was kept counts
      result.loss = result.loss + 0.01 * options.negatives->keys(1).sum() * y.mean();
      options.negatives->add({static_cast<uint64_t>(token)},
                             {torch::full({1, 1, 8}, static_cast<float>(token))});
    }
    if (token == kBadLoss) result.loss = result.loss * NAN;
    if (token == kBadGradient)
      result.loss = result.loss + (parameters_[1].second - parameters_[1].second).sqrt().sum();
    result.metrics.loss = result.metrics.lm_loss = result.loss.item<double>();
    result.metrics.recall_at_1 = 0.5;
    result.metrics.routed_queries = 2;
    if (!torch::GradMode::is_enabled()) ++evaluated;
    return result;
  }
  Result<Trace> trace(const Batch&, const StepOptions&) override { return Trace{}; }
  Result<void> save(const fs::path& folder, const fs::path&, DType,
                    std::string_view note) const override {
    fs::create_directories(folder);
    std::ofstream(folder / "note.txt") << note;
    return {};
  }

  std::vector<StepOptions> asked;
  int evaluated = 0;

 private:
  ModelConfig config_;
  std::vector<std::pair<std::string, torch::Tensor>> parameters_;
};

// Ten samples make a batch; so many of them are too long.
class FakeBatcher final : public Batcher {
 public:
  FakeBatcher(uint64_t seed, const std::map<uint64_t, TokenId>& special, uint64_t too_long = 0)
      : seed_(seed), special_(special), too_long_(too_long) {}
  Result<Batch> next() override {
    const uint64_t n = position_++;
    const auto special = special_.find(n);
    Batch batch;
    batch.doc_tokens.assign(10 + n % 3, special == special_.end()
                                            ? static_cast<TokenId>((seed_ * 7 + n * n) % 13)
                                            : special->second);
    batch.samples = 10 - too_long_;
    batch.samples_skipped = too_long_;
    return batch;
  }
  std::string state() const override { return std::to_string(position_); }
  Result<void> restore(const std::string& state) override {
    std::from_chars(state.data(), state.data() + state.size(), position_);
    return {};
  }
  uint64_t samples_skipped() const override { return position_ * too_long_; }

 private:
  uint64_t seed_, position_ = 0;
  std::map<uint64_t, TokenId> special_;
  uint64_t too_long_;
};

class Heard final : public TrainObserver {
 public:
  void progress(const TrainProgress& p) override { done.push_back(p.done); }
  void logged(const LogRecord& record) override { records.push_back(record); }
  void message(std::string_view text) override { messages.emplace_back(text); }
  void warning(std::string_view text) override { warnings.emplace_back(text); }
  std::vector<double> done;
  std::vector<LogRecord> records;
  std::vector<std::string> messages, warnings;
};

class TrainingRunTest : public testing::Test {
 protected:
  TrainingRunTest() {
    recipe_.file = "recipe.json";
    recipe_.checkpoint_minutes = 0;
    recipe_.checkpoint_steps = 4;
    recipe_.log_every = 3;
    Phase first;
    first.name = "first";
    first.steps = 7;
    first.learning_rate = 0.01;
    first.top_k = {1, 2};
    first.include_positives = 1;
    first.text = "first phase";
    Phase second;
    second.name = "second";
    second.tokens = 200;
    second.learning_rate = 0.005;
    second.accumulate = 2;
    second.top_k = {3};
    second.text = "second phase";
    recipe_.phases = {first, second};
    recipe_.text = "fixed";
  }

  MakeBatcher batchers() {
    return [this](const std::vector<DataEntry>&, const BatchOptions& batch,
                  uint64_t seed) -> Result<std::unique_ptr<Batcher>> {
      if (missing_.contains(seed)) return Error{Code::not_found, "x.jsonl: is missing; write it"};
      longest_[seed] = batch.max_sequence_tokens;
      return std::make_unique<FakeBatcher>(seed, special_, too_long_);
    };
  }
  TrainOptions options(const char* out, uint64_t stop_after = UINT64_MAX) {
    TrainOptions options;
    options.out = folder_ / out;
    options.stop = [this, stop_after] { return heard_.done.size() >= stop_after; };
    return options;
  }
  Result<TrainOutcome> run(FakeModel& model, const TrainOptions& options) {
    heard_ = {};
    return run_training(model, recipe_, /*tokenizer=*/17, batchers(), options, heard_);
  }
  static std::string tensors_of(const fs::path& out) {
    return TestFolder::get(*newest_state(out / "state") / "tensors.safetensors");
  }
  // Log lines without what depends on the clock and the machine.
  static std::vector<std::string> log_of(const fs::path& out) {
    std::vector<std::string> lines;
    const Result<std::vector<LogRecord>> records = read_log(out / "log.jsonl");
    if (!records) return {records.error().message};
    for (LogRecord record : *records) {
      record.tokens_per_second = record.seconds = 0;
      record.resident_bytes = 0;
      lines.push_back(write_log_record(record));
    }
    return lines;
  }

  TestFolder folder_;
  Recipe recipe_;
  std::map<uint64_t, TokenId> special_;
  uint64_t too_long_ = 0;               // of ten samples
  std::set<uint64_t> missing_;          // seeds of what cannot be read
  std::map<uint64_t, size_t> longest_;  // sequence asked for, by seed
  Heard heard_;
};

TEST_F(TrainingRunTest, GoesThroughThePhases) {
  FakeModel model;
  const Result<TrainOutcome> outcome = run(model, options("out"));
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  EXPECT_FALSE(outcome->stopped);
  // 7 steps, then two batches of 10 to 12 tokens a step until there are 200.
  EXPECT_EQ(outcome->steps, 7u + 10u);
  EXPECT_EQ(model.asked.size(), 7u + 20u);
  EXPECT_TRUE(model.asked[0].include_positives);
  EXPECT_FALSE(model.asked[7].include_positives);
  EXPECT_EQ(model.asked[7].top_k, 3u);
  EXPECT_TRUE(fs::exists(folder_ / "out/model/note.txt"));
  EXPECT_THAT(TestFolder::get(folder_ / "out/model/note.txt"), HasSubstr("17 steps"));
  const std::vector<LogRecord> log = *read_log(folder_ / "out/log.jsonl");
  std::vector<uint64_t> steps;
  for (const LogRecord& record : log) steps.push_back(record.step);
  // Every third step, and the end of each phase.
  EXPECT_THAT(steps, testing::ElementsAre(3, 6, 7, 9, 12, 15, 17));
  EXPECT_EQ(log[2].phase, "first");
  EXPECT_EQ(log[3].phase, "second");
  EXPECT_EQ(log.back().tokens, outcome->tokens);
  EXPECT_TRUE(std::is_sorted(heard_.done.begin(), heard_.done.end()));
  EXPECT_NEAR(heard_.done.back(), 1, 0.05);
  // The unused parameter was left alone, the others learned.
  EXPECT_TRUE(torch::equal(model.parameters()[2].second.detach(), torch::ones({2, 2})));
  EXPECT_LT(log.back().metrics.loss, log.front().metrics.loss);
}

TEST_F(TrainingRunTest, AccumulationIsTheMeanOfItsBatches) {
  recipe_.phases.resize(1);
  recipe_.phases[0].steps = 1;
  recipe_.phases[0].accumulate = 2;
  recipe_.phases[0].top_k = {1};
  recipe_.optimizer.clip = 0;
  FakeModel model, by_hand;
  ASSERT_TRUE(run(model, options("out")).ok());
  FakeBatcher batches(recipe_.seed, {});
  StepOptions step;
  step.top_k = 1;
  ((by_hand.step(*batches.next(), step)->loss + by_hand.step(*batches.next(), step)->loss) / 2)
      .backward();
  EXPECT_NEAR(heard_.records.front().gradient_norm,
              std::sqrt(by_hand.parameters()[0].second.grad().square().sum().item<double>() +
                        by_hand.parameters()[1].second.grad().square().sum().item<double>()),
              1e-3);
}

// Wherever a run is interrupted, what it trains to is the same to the bit.
TEST_F(TrainingRunTest, ResumesBitForBitFromAnyStep) {
  recipe_.evaluation.emplace();
  recipe_.evaluation->every = 5;
  recipe_.evaluation->batches = 2;
  FakeModel whole;
  ASSERT_TRUE(run(whole, options("whole")).ok());
  EXPECT_EQ(whole.evaluated, 3 * 2);
  for (uint64_t stop = 1; stop <= 17; ++stop) {
    const std::string out = "stopped" + std::to_string(stop);
    FakeModel first;
    const Result<TrainOutcome> stopped = run(first, options(out.c_str(), stop));
    ASSERT_TRUE(stopped.ok()) << stopped.error().message;
    EXPECT_TRUE(stopped->stopped);
    EXPECT_EQ(stopped->steps, stop);
    FakeModel second;
    TrainOptions again = options(out.c_str());
    again.resume = true;
    const Result<TrainOutcome> resumed = run(second, again);
    ASSERT_TRUE(resumed.ok()) << resumed.error().message;
    EXPECT_EQ(resumed->steps, 17u);
    EXPECT_EQ(tensors_of(folder_ / out), tensors_of(folder_ / "whole")) << stop;
    for (size_t i = 0; i < 3; ++i)
      EXPECT_TRUE(torch::equal(second.parameters()[i].second, whole.parameters()[i].second));
  }
}

TEST_F(TrainingRunTest, ResumesWithTheNegativesThatWereKept) {
  recipe_.phases[1].negatives = 3;
  recipe_.phases[1].optimizer = OptimizerKind::muon;
  FakeModel whole, without;
  ASSERT_TRUE(run(whole, options("whole")).ok());
  for (const StepOptions& asked : whole.asked)
    EXPECT_EQ(asked.negatives != nullptr, asked.top_k == 3) << "kept in the second phase only";
  recipe_.phases[1].negatives = 0;
  ASSERT_TRUE(run(without, options("without")).ok());
  EXPECT_NE(tensors_of(folder_ / "whole"), tensors_of(folder_ / "without"));
  recipe_.phases[1].negatives = 3;
  for (uint64_t stop = 6; stop <= 16; ++stop) {
    const std::string out = "stopped" + std::to_string(stop);
    FakeModel first, second;
    ASSERT_TRUE(run(first, options(out.c_str(), stop)).ok());
    TrainOptions again = options(out.c_str());
    again.resume = true;
    const Result<TrainOutcome> resumed = run(second, again);
    ASSERT_TRUE(resumed.ok()) << resumed.error().message;
    EXPECT_EQ(tensors_of(folder_ / out), tensors_of(folder_ / "whole")) << stop;
  }
}

TEST_F(TrainingRunTest, ResumesBeforeAndAfterLayersAreInserted) {
  recipe_.phases[1].insert_layers = {0, 2};
  FakeModel whole;
  ASSERT_TRUE(run(whole, options("whole")).ok());
  ASSERT_EQ(whole.config().layers, 4u);
  EXPECT_GT(whole.parameters()[2].second.abs().max().item<float>(), 0);
  for (uint64_t stop = 5; stop <= 10; ++stop) {
    const std::string out = "stopped" + std::to_string(stop);
    FakeModel first, second;
    ASSERT_TRUE(run(first, options(out.c_str(), stop)).ok());
    EXPECT_EQ(first.config().layers, stop <= 7 ? 2u : 4u) << stop;
    TrainOptions again = options(out.c_str());
    again.resume = true;
    const Result<TrainOutcome> resumed = run(second, again);
    ASSERT_TRUE(resumed.ok()) << resumed.error().message;
    EXPECT_EQ(second.config().layers, 4u);
    EXPECT_EQ(tensors_of(folder_ / out), tensors_of(folder_ / "whole")) << stop;
  }
  // A finished run can still be looked at.
  FakeModel third;
  TrainOptions again = options("whole");
  again.resume = true;
  const Result<TrainOutcome> done = run(third, again);
  ASSERT_TRUE(done.ok()) << done.error().message;
  EXPECT_EQ(done->steps, 17u);
}

TEST_F(TrainingRunTest, ResumesBeforeAndAfterRoutersAreDropped) {
  recipe_.phases[0].insert_layers = {0, 1, 2};
  recipe_.phases[1].router_layers = {3};
  FakeModel whole;
  whole.changeable_config().msa.router_layers = {0, 1};
  ASSERT_TRUE(run(whole, options("whole")).ok());
  EXPECT_EQ(whole.config().msa.router_layers, std::vector<int>{3});
  for (uint64_t stop = 5; stop <= 10; ++stop) {
    const std::string out = "stopped" + std::to_string(stop);
    FakeModel first, second;
    first.changeable_config().msa.router_layers = {0, 1};
    second.changeable_config().msa.router_layers = {0, 1};
    ASSERT_TRUE(run(first, options(out.c_str(), stop)).ok());
    EXPECT_EQ(first.parameters().size(), stop <= 7 ? 6u : 5u) << stop;
    TrainOptions again = options(out.c_str());
    again.resume = true;
    const Result<TrainOutcome> resumed = run(second, again);
    ASSERT_TRUE(resumed.ok()) << resumed.error().message;
    EXPECT_EQ(second.config().msa.router_layers, std::vector<int>{3});
    EXPECT_EQ(tensors_of(folder_ / out), tensors_of(folder_ / "whole")) << stop;
  }
}

TEST_F(TrainingRunTest, ResumesBeforeAndAfterTheChunkSizeChanges) {
  recipe_.phases[1].chunk_size = 16;
  FakeModel whole;
  const size_t before = whole.config().msa.chunk_size;
  ASSERT_NE(before, 16u);
  ASSERT_TRUE(run(whole, options("whole")).ok());
  EXPECT_EQ(whole.config().msa.chunk_size, 16u);
  for (uint64_t stop = 5; stop <= 10; ++stop) {
    const std::string out = "stopped" + std::to_string(stop);
    FakeModel first, second;
    ASSERT_TRUE(run(first, options(out.c_str(), stop)).ok());
    EXPECT_EQ(first.config().msa.chunk_size, stop <= 7 ? before : 16) << stop;
    TrainOptions again = options(out.c_str());
    again.resume = true;
    const Result<TrainOutcome> resumed = run(second, again);
    ASSERT_TRUE(resumed.ok()) << resumed.error().message;
    EXPECT_EQ(second.config().msa.chunk_size, 16u);
    EXPECT_EQ(tensors_of(folder_ / out), tensors_of(folder_ / "whole")) << stop;
  }
}

TEST_F(TrainingRunTest, RouterLayersAreCheckedBeforeTheFirstStep) {
  recipe_.phases[0].insert_layers = {1};
  recipe_.phases[1].router_layers = {1};
  FakeModel model;
  const Result<TrainOutcome> outcome = run(model, options("out"));
  ASSERT_FALSE(outcome.ok());
  EXPECT_THAT(outcome.error().message,
              testing::AllOf(HasSubstr("recipe.json"), HasSubstr("phases[1].router_layers"),
                             HasSubstr("has 1"), HasSubstr("by then are 2")));
  EXPECT_TRUE(model.asked.empty());
}

TEST_F(TrainingRunTest, PlacesOfLayersAreCheckedBeforeTheFirstStep) {
  recipe_.phases[0].insert_layers = {2};
  recipe_.phases[1].insert_layers = {1, 4};
  FakeModel model;
  const Result<TrainOutcome> outcome = run(model, options("out"));
  ASSERT_FALSE(outcome.ok());
  EXPECT_THAT(outcome.error().message,
              testing::AllOf(HasSubstr("recipe.json"), HasSubstr("phases[1].insert_layers"),
                             HasSubstr("has 4"), HasSubstr("3 layers")));
  EXPECT_TRUE(model.asked.empty());
}

// A kill leaves the checkpoint of some earlier step, and a log that is ahead of it.
TEST_F(TrainingRunTest, ResumesFromAnOlderCheckpoint) {
  FakeModel whole;
  ASSERT_TRUE(run(whole, options("out")).ok());
  const std::string tensors = tensors_of(folder_ / "out");
  const std::vector<std::string> log = log_of(folder_ / "out");
  fs::remove_all(*newest_state(folder_ / "out/state"));
  ASSERT_EQ(newest_state(folder_ / "out/state")->filename(), "step-000000016");
  TrainOptions again = options("out");
  again.resume = true;
  FakeModel second;
  ASSERT_TRUE(run(second, again).ok());
  EXPECT_THAT(heard_.messages, testing::ElementsAre(HasSubstr("after step 16")));
  EXPECT_EQ(tensors_of(folder_ / "out"), tensors);
  EXPECT_EQ(log_of(folder_ / "out").size(), log.size());
  EXPECT_EQ(log_of(folder_ / "out").front(), log.front());
}

TEST_F(TrainingRunTest, ResumingAFinishedRunDoesNothing) {
  FakeModel whole;
  ASSERT_TRUE(run(whole, options("out")).ok());
  TrainOptions again = options("out");
  again.resume = true;
  FakeModel second;
  const Result<TrainOutcome> outcome = run(second, again);
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  EXPECT_EQ(outcome->steps, 17u);
  EXPECT_TRUE(second.asked.empty());
}

TEST_F(TrainingRunTest, AFolderWithARunNeedsResume) {
  FakeModel model;
  ASSERT_TRUE(run(model, options("out", 2)).ok());
  FakeModel second;
  const Result<TrainOutcome> outcome = run(second, options("out"));
  ASSERT_FALSE(outcome.ok());
  EXPECT_THAT(outcome.error().message, HasSubstr("--resume"));
  // And resuming where nothing is starts anew.
  TrainOptions fresh = options("fresh");
  fresh.resume = true;
  EXPECT_TRUE(run(second, fresh).ok());
}

TEST_F(TrainingRunTest, ResumingNeedsTheSameRecipeAsFarAsItWasUsed) {
  FakeModel model;
  ASSERT_TRUE(run(model, options("out", 3)).ok());
  TrainOptions again = options("out", 1);
  again.resume = true;
  const auto refused = [&](const char* what) {
    FakeModel other;
    const Result<TrainOutcome> outcome = run(other, again);
    ASSERT_FALSE(outcome.ok());
    EXPECT_EQ(outcome.error().code, Code::mismatch);
    EXPECT_THAT(outcome.error().message, HasSubstr(what));
  };
  recipe_.text = "another seed";
  refused("seed");
  recipe_.text = "fixed";
  recipe_.phases[0].text = "changed";
  refused("phases[0]");
  recipe_.phases[0].text = "first phase";
  recipe_.phases[1].text = "a phase that has not begun";
  FakeModel other;
  EXPECT_TRUE(run(other, again).ok());
  heard_ = {};
  const Result<TrainOutcome> tokenizer =
      run_training(other, recipe_, /*tokenizer=*/18, batchers(), again, heard_);
  ASSERT_FALSE(tokenizer.ok());
  EXPECT_THAT(tokenizer.error().message, HasSubstr("tokenizer"));
}

// A run that was started with --init goes on without it.
TEST_F(TrainingRunTest, TheNoteAndTheLossesOfAnEarlierTrainingAreNoPartOfTheShape) {
  FakeModel begun, other, wider;
  begun.changeable_config().note = "trained by msa-train: 5 steps";
  begun.changeable_config().msa.lm_loss_weight = 0.5;
  ASSERT_TRUE(run(begun, options("out", 3)).ok());
  TrainOptions again = options("out", 1);
  again.resume = true;
  wider.changeable_config().rope_theta = 20000;
  const Result<TrainOutcome> refused = run(wider, again);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message, HasSubstr("model shape"));
  const Result<TrainOutcome> resumed = run(other, again);
  ASSERT_TRUE(resumed.ok()) << resumed.error().message;
  EXPECT_EQ(resumed->steps, 4u);
}

// A tokenizer of single bytes, quickly read.
fs::path byte_tokenizer(const TestFolder& folder) {
  nlohmann::json json = nlohmann::json::parse(
      TestFolder::get(fs::path(MSA_TESTDATA) / "qwen3-tokenizer" / "tokenizer.json"));
  nlohmann::json bytes = nlohmann::json::object();
  for (const auto& [token, id] : json["model"]["vocab"].items())
    if (id.get<int>() < 256) bytes[token] = id;
  json["model"]["vocab"] = bytes;
  json["model"]["merges"] = nlohmann::json::array();
  int id = 256;
  for (nlohmann::json& token : json["added_tokens"]) token["id"] = id++;
  return folder.put("tokenizer.json", json.dump());
}

// What changes no weight is taken from the checkpoint too, so it may not say otherwise.
TEST_F(TrainingRunTest, ARecipesShapeIsThatOfTheCheckpointItStartsFrom) {
  recipe_.tokenizer = byte_tokenizer(folder_);
  const auto tokenizer = Tokenizer::load(recipe_.tokenizer);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  ModelConfig shape = FakeModel().config();
  shape.vocabulary = (*tokenizer)->vocabulary_size();
  const auto model = Model::create(shape, 1);
  ASSERT_TRUE(model.ok()) << model.error().message;
  const Result<void> saved =
      (*model)->save(folder_ / "model", recipe_.tokenizer, DType::f32, "a note");
  ASSERT_TRUE(saved.ok()) << saved.error().message;
  TrainOptions from_there = options("out");
  from_there.init = folder_ / "model";
  const std::pair<const char*, void (*)(ModelConfig&)> changes[] = {
      {"hidden", [](ModelConfig& c) { c.hidden = 16; }},
      {"max_positions", [](ModelConfig& c) { c.max_positions = 128; }},
      {"rope_theta", [](ModelConfig& c) { c.rope_theta = 20000; }},
      {"rms_norm_eps", [](ModelConfig& c) { c.rms_norm_eps = 1e-5f; }},
      {"chunk_size", [](ModelConfig& c) { c.msa.chunk_size = 32; }},
      {"top_k", [](ModelConfig& c) { c.msa.top_k = 3; }},
      {"decouple_router", [](ModelConfig& c) { c.msa.decouple_router = false; }},
      {"head_reduce", [](ModelConfig& c) { c.msa.head_reduce = HeadReduce::max; }},
      {"query_reduce", [](ModelConfig& c) { c.msa.query_reduce = QueryReduce::last; }},
      {"chunk_reduce", [](ModelConfig& c) { c.msa.chunk_reduce = ChunkReduce::mean; }},
      {"aux_loss", [](ModelConfig& c) { c.msa.aux_loss_method = "BCE"; }},
      {"temperature", [](ModelConfig& c) { c.msa.infonce_temperature = 0.2; }},
      {"skip_handed_over", [](ModelConfig& c) { c.msa.skip_handed_over = true; }}};
  for (const auto& [key, change] : changes) {
    recipe_.shape = shape;
    change(*recipe_.shape);
    const Result<TrainOutcome> outcome = train(recipe_, batchers(), from_there, heard_);
    ASSERT_FALSE(outcome.ok()) << key;
    EXPECT_EQ(outcome.error().code, Code::mismatch) << key;
    EXPECT_THAT(outcome.error().message, HasSubstr("has \"" + std::string(key) + "\" "));
  }
  recipe_.shape = shape;
  const Result<TrainOutcome> outcome = train(recipe_, batchers(), from_there, heard_);
  ASSERT_FALSE(outcome.ok());  // of the batches of this test, which a real model does not take
  EXPECT_THAT(outcome.error().message, HasSubstr("batch: "));
}

TEST_F(TrainingRunTest, WhatComesLaterIsCheckedBeforeTheFirstStep) {
  constexpr uint64_t kEvaluation = 77;
  const uint64_t second_phase = recipe_.seed + 1000003;
  recipe_.evaluation.emplace();
  recipe_.evaluation->every = 5;
  recipe_.evaluation->seed = kEvaluation;
  for (const auto& [seed, place] :
       {std::pair(second_phase, "phases[1]"), std::pair(kEvaluation, "evaluation")}) {
    missing_ = {seed};
    FakeModel model;
    const Result<TrainOutcome> outcome = run(model, options("out"));
    ASSERT_FALSE(outcome.ok());
    EXPECT_EQ(outcome.error().code, Code::not_found);
    EXPECT_THAT(outcome.error().message,
                testing::AllOf(HasSubstr("recipe.json"), HasSubstr(place), HasSubstr("x.jsonl")));
    EXPECT_TRUE(model.asked.empty());
  }
  missing_.clear();
  FakeModel model;
  ASSERT_TRUE(run(model, options("out", 1)).ok());
  // Of the model's 64 positions the documents attended to take one each.
  EXPECT_EQ(longest_.at(recipe_.seed), 62u);
  EXPECT_EQ(longest_.at(second_phase), 61u);
  EXPECT_EQ(longest_.at(kEvaluation), 48u);
}

TEST_F(TrainingRunTest, SamplesThatAreTooLongAreCountedAndTold) {
  recipe_.phases.resize(1);
  recipe_.evaluation.emplace();
  recipe_.evaluation->every = 5;
  recipe_.evaluation->batches = 2;
  too_long_ = 1;
  FakeModel first, second;
  ASSERT_TRUE(run(first, options("out", 4)).ok());
  EXPECT_THAT(heard_.warnings, testing::ElementsAre(HasSubstr("3 of 30 samples are left out"),
                                                    HasSubstr("4 of 40 samples")));
  TrainOptions again = options("out");
  again.resume = true;
  ASSERT_TRUE(run(second, again).ok());
  EXPECT_THAT(heard_.warnings,
              testing::ElementsAre(HasSubstr("\"evaluation\": 2 of 20 samples"),
                                   HasSubstr("6 of 60 samples"), HasSubstr("7 of 70 samples")));
  EXPECT_EQ(heard_.records.back().samples_skipped, 7u);
}

TEST_F(TrainingRunTest, TheLengthOfThePhaseThatRunsMayChange) {
  // A phase's end decides nothing before it where the learning rate is constant.
  recipe_.phases[0].text = R"({"name":"first","schedule":{"kind":"constant"},"steps":7})";
  FakeModel model;
  ASSERT_TRUE(run(model, options("out", 3)).ok());
  TrainOptions again = options("out", 1);
  again.resume = true;
  recipe_.phases[0].text = R"({"name":"first","schedule":{"kind":"constant"},"steps":5})";
  FakeModel other;
  EXPECT_TRUE(run(other, again).ok());
  recipe_.phases[0].text = R"({"name":"second","schedule":{"kind":"constant"},"steps":5})";
  const Result<TrainOutcome> outcome = run(other, again);
  ASSERT_FALSE(outcome.ok());
  EXPECT_THAT(outcome.error().message, HasSubstr("phases[0]"));
}

TEST_F(TrainingRunTest, StepsThatAreNotFiniteAreSkippedAndCounted) {
  special_ = {{1, kBadLoss}, {3, kBadGradient}};
  recipe_.phases.resize(1);
  FakeModel model;
  const Result<TrainOutcome> outcome = run(model, options("out"));
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  EXPECT_EQ(outcome->skipped_steps, 2u);
  EXPECT_EQ(outcome->steps, 7u);
  ASSERT_EQ(heard_.warnings.size(), 2u);
  EXPECT_THAT(heard_.warnings[0], HasSubstr("step 2: the loss"));
  EXPECT_THAT(heard_.warnings[1], HasSubstr("step 4: the gradient"));
  for (const auto& [name, tensor] : model.parameters())
    EXPECT_TRUE(torch::isfinite(tensor).all().item<bool>()) << name;
  EXPECT_EQ(heard_.records.back().skipped_steps, 2u);
  EXPECT_EQ(read_state(*newest_state(folder_ / "out/state"))->updates, 5u);
}

TEST_F(TrainingRunTest, TwentyOfThemInARowEndTheRun) {
  recipe_.phases.resize(1);
  recipe_.phases[0].steps = 100;
  for (uint64_t n = 10; n < 100; ++n) special_[n] = kBadLoss;
  FakeModel model;
  const Result<TrainOutcome> outcome = run(model, options("out"));
  ASSERT_FALSE(outcome.ok());
  EXPECT_THAT(outcome.error().message, testing::AllOf(HasSubstr("20 steps in a row"),
                                                      HasSubstr("step 30"), HasSubstr("first")));
  EXPECT_TRUE(newest_state(folder_ / "out/state"));
}

TEST_F(TrainingRunTest, AnErrorOfTheModelOrTheDataEndsTheRunWithTheCheckpointIntact) {
  special_ = {{6, kFails}};
  FakeModel model;
  const Result<TrainOutcome> outcome = run(model, options("out"));
  ASSERT_FALSE(outcome.ok());
  EXPECT_THAT(outcome.error().message, HasSubstr("cannot be used"));
  EXPECT_EQ(read_state(*newest_state(folder_ / "out/state"))->step, 4u);
}

TEST_F(TrainingRunTest, OneRunPerFolder) {
  FakeModel model, other;
  TrainOptions outer = options("out");
  std::optional<Code> inner;
  Heard ignored;
  outer.stop = [&] {
    const Result<TrainOutcome> second =
        run_training(other, recipe_, 17, batchers(), options("out"), ignored);
    inner = second.ok() ? Code::internal : second.error().code;
    return true;
  };
  ASSERT_TRUE(run(model, outer).ok());
  EXPECT_EQ(inner, Code::busy);
}

}  // namespace
}  // namespace msa::train
