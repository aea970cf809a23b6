#include "train/loop/state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <numeric>

#include "base/test_folder.h"

namespace msa::train {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// Two tensors with values of their own.
struct Tensors {
  explicit Tensors(float first) : a(12), b(5) {
    std::iota(a.begin(), a.end(), first);
    std::iota(b.begin(), b.end(), -first);
  }
  std::vector<float> a, b;
  std::vector<StateTensor> list() { return {{"a", {3, 4}, a}, {"b", {5}, b}}; }
};

RunState state_at(uint64_t step) {
  RunState state;
  state.step = step;
  state.updates = step - 1;
  state.tokens = 1'000'000'007 * step;
  state.phase = 1;
  state.phase_step = 3;
  state.phase_tokens = 77;
  state.skipped = 1;
  state.skipped_in_a_row = 1;
  state.samples = 300;
  state.samples_skipped = 4;
  state.seconds = 12.75;
  state.batcher = "{\"position\": 12}";
  state.model_config = "{}";
  state.tokenizer = 0xfedcba9876543210u;
  state.recipe = "{\"seed\":1}";
  state.phase_recipes = {"one", "two"};
  return state;
}

TEST(State, IsReadBackAsWritten) {
  const TestFolder folder;
  Tensors written(1), read(50);
  ASSERT_TRUE(save_state(folder.path(), state_at(9), written.list()).ok());
  const auto newest = newest_state(folder.path());
  ASSERT_TRUE(newest);
  const Result<RunState> state = read_state(*newest);
  ASSERT_TRUE(state.ok()) << state.error().message;
  const RunState expected = state_at(9);
  EXPECT_EQ(state->step, expected.step);
  EXPECT_EQ(state->updates, expected.updates);
  EXPECT_EQ(state->tokens, expected.tokens);
  EXPECT_EQ(state->phase, expected.phase);
  EXPECT_EQ(state->phase_step, expected.phase_step);
  EXPECT_EQ(state->phase_tokens, expected.phase_tokens);
  EXPECT_EQ(state->skipped, expected.skipped);
  EXPECT_EQ(state->skipped_in_a_row, expected.skipped_in_a_row);
  EXPECT_EQ(state->samples, expected.samples);
  EXPECT_EQ(state->samples_skipped, expected.samples_skipped);
  EXPECT_EQ(state->seconds, expected.seconds);
  EXPECT_EQ(state->batcher, expected.batcher);
  EXPECT_EQ(state->tokenizer, expected.tokenizer);
  EXPECT_EQ(state->recipe, expected.recipe);
  EXPECT_EQ(state->phase_recipes, expected.phase_recipes);
  ASSERT_TRUE(read_state_tensors(*newest, read.list()).ok());
  EXPECT_EQ(read.a, written.a);
  EXPECT_EQ(read.b, written.b);
}

TEST(State, TheNewestTwoAreKept) {
  const TestFolder folder;
  EXPECT_FALSE(newest_state(folder.path()));
  EXPECT_FALSE(newest_state(folder / "missing"));
  folder.put("unrelated", "x");
  for (const uint64_t step : {8u, 9u, 10u, 1'000'000'000u}) {
    Tensors tensors(static_cast<float>(step));
    ASSERT_TRUE(save_state(folder.path(), state_at(step), tensors.list()).ok());
    EXPECT_EQ(read_state(*newest_state(folder.path()))->step, step);
  }
  EXPECT_EQ(folder.entries(), 3u);
}

TEST(State, AnUnfinishedCheckpointIsNone) {
  const TestFolder folder;
  Tensors tensors(1);
  ASSERT_TRUE(save_state(folder.path(), state_at(5), tensors.list()).ok());
  fs::create_directories(folder / "unfinished");
  folder.put("unfinished/state.json", "{\"step\": 6");
  EXPECT_EQ(read_state(*newest_state(folder.path()))->step, 5u);
  ASSERT_TRUE(save_state(folder.path(), state_at(6), tensors.list()).ok());
  EXPECT_FALSE(fs::exists(folder / "unfinished"));
}

TEST(State, DamageIsNoticedAndNamed) {
  const TestFolder folder;
  Tensors tensors(1);
  ASSERT_TRUE(save_state(folder.path(), state_at(5), tensors.list()).ok());
  const fs::path newest = *newest_state(folder.path());
  const std::string good_json = TestFolder::get(newest / "state.json");
  const std::string good_tensors = TestFolder::get(newest / "tensors.safetensors");
  const auto put = [&](const char* name, const std::string& bytes) {
    folder.put((newest.filename() / name).string(), bytes);
  };
  // One bit of one weight.
  std::string bytes = good_tensors;
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  put("tensors.safetensors", bytes);
  Result<void> read = read_state_tensors(newest, tensors.list());
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().code, Code::corrupt);
  EXPECT_THAT(read.error().message, HasSubstr(newest.string()));
  // Every truncation.
  for (size_t size = 0; size < good_tensors.size(); size += 7) {
    put("tensors.safetensors", good_tensors.substr(0, size));
    EXPECT_FALSE(read_state_tensors(newest, tensors.list()).ok()) << size;
  }
  put("tensors.safetensors", good_tensors);
  EXPECT_TRUE(read_state_tensors(newest, tensors.list()).ok());
  for (size_t size = 0; size + 2 < good_json.size(); size += 5) {
    put("state.json", good_json.substr(0, size));
    EXPECT_FALSE(read_state(newest).ok()) << size;
  }
  put("state.json", R"({"version": 2})");
  EXPECT_EQ(read_state(newest).error().code, Code::unsupported);
  put("state.json", "[]");
  EXPECT_FALSE(read_state(newest).ok());
}

TEST(State, CountersThatContradictEachOtherAreNoticed) {
  Tensors tensors(1);
  // The phase, its steps and tokens, and how many phases have begun.
  const auto read = [&](uint64_t phase, uint64_t phase_step, uint64_t phase_tokens, size_t begun) {
    const TestFolder folder;
    RunState state = state_at(5);
    state.phase = phase;
    state.phase_step = phase_step;
    state.phase_tokens = phase_tokens;
    state.phase_recipes.assign(begun, "a phase");
    EXPECT_TRUE(save_state(folder.path(), state, tensors.list()).ok());
    return read_state(*newest_state(folder.path()));
  };
  EXPECT_TRUE(read(1, 3, 77, 2).ok());
  EXPECT_TRUE(read(0, 0, 0, 0).ok());
  EXPECT_TRUE(read(2, 0, 0, 2).ok());
  for (const Result<RunState>& bad :
       {read(2, 3, 77, 2), read(1, 0, 0, 2), read(2, 0, 0, 1), read(0, 3, 77, 0),
        read(UINT64_MAX, 3, 77, 0), read(1, 6, 77, 2), read(1, 3, UINT64_MAX, 2)}) {
    ASSERT_FALSE(bad.ok());
    EXPECT_EQ(bad.error().code, Code::corrupt);
    EXPECT_THAT(bad.error().message, HasSubstr("remove this folder"));
  }
}

// Of versions that did not count samples.
TEST(State, OlderCheckpointsAreRead) {
  const TestFolder folder;
  Tensors tensors(1);
  ASSERT_TRUE(save_state(folder.path(), state_at(5), tensors.list()).ok());
  const fs::path newest = *newest_state(folder.path());
  std::string json = TestFolder::get(newest / "state.json");
  for (const std::string line : {" \"samples\": 300,\n", " \"samples_skipped\": 4,\n"}) {
    const size_t at = json.find(line);
    ASSERT_NE(at, std::string::npos) << json;
    json.erase(at, line.size());
  }
  folder.put((newest.filename() / "state.json").string(), json);
  const Result<RunState> state = read_state(newest);
  ASSERT_TRUE(state.ok()) << state.error().message;
  EXPECT_EQ(state->samples, 0u);
}

TEST(State, TensorsOfAnotherModelAreRefused) {
  const TestFolder folder;
  Tensors tensors(1);
  ASSERT_TRUE(save_state(folder.path(), state_at(5), tensors.list()).ok());
  const fs::path newest = *newest_state(folder.path());
  std::vector<float> other(12);
  const auto code = [&](const std::vector<StateTensor>& list) {
    const Result<void> read = read_state_tensors(newest, list);
    return read.ok() ? Code::internal : read.error().code;
  };
  EXPECT_EQ(code({{"a", {4, 3}, other}, {"b", {5}, tensors.b}}), Code::mismatch);
  EXPECT_EQ(code({{"c", {12}, other}, {"b", {5}, tensors.b}}), Code::not_found);
  EXPECT_EQ(code({{"a", {3, 4}, other}}), Code::mismatch);
}

TEST(State, AFullDiskLeavesTheOlderCheckpoint) {
  const TestFolder folder;
  Tensors tensors(1);
  ASSERT_TRUE(save_state(folder.path(), state_at(5), tensors.list()).ok());
  std::vector<float> large(1 << 18);
  const std::vector<StateTensor> too_large = {{"large", {1 << 18}, large}};
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit tight = before;
  tight.rlim_cur = 100'000;
  auto* const old_handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tight), 0);
  const Result<void> saved = save_state(folder.path(), state_at(6), too_large);
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_handler);
  ASSERT_FALSE(saved.ok());
  EXPECT_EQ(saved.error().code, Code::no_space);
  EXPECT_EQ(folder.entries(), 1u);
  EXPECT_EQ(read_state(*newest_state(folder.path()))->step, 5u);
  EXPECT_TRUE(read_state_tensors(*newest_state(folder.path()), tensors.list()).ok());
}

}  // namespace
}  // namespace msa::train
