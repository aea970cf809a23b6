// Where an engine holds keys and content changes nothing but where they are.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "base/test_folder.h"
#include "engine/test_tiny_model.h"
#include "msa/msa.h"

namespace msa {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class EngineTiers : public ::testing::TestWithParam<ContentType> {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(write_tiny_model(folder_));
    auto opened = Model::open(folder_ / "model");
    ASSERT_TRUE(opened) << opened.error().message;
    model_.emplace(*opened);
    auto bank = Bank::open_or_create(folder_ / "bank", *model_, {.content = GetParam()});
    ASSERT_TRUE(bank) << bank.error().message;
    bank_.emplace(*bank);
    add(0, 9);
  }
  void add(int first, int count) {
    std::string lines;
    for (int i = first; i < first + count; ++i)
      lines += fmt::format(R"({{"id":"{0}","text":"bridge {0} stands over river number {0}"}})"
                           "\n",
                           i);
    auto source = open_documents({folder_.put(fmt::format("{}.jsonl", first), lines)});
    ASSERT_TRUE(source) << source.error().message;
    const auto report = encode(*model_, *bank_, **source);
    ASSERT_TRUE(report) << report.error().message;
  }
  Engine engine(ContentTier content, KeyTier keys = KeyTier::full) {
    auto made = Engine::create(*model_, *bank_, {.keys = keys, .content = content});
    EXPECT_TRUE(made) << made.error().message;
    return *made;
  }
  static void expect_same_answers(const Engine& a, const Engine& b) {
    AskOptions options;
    options.max_tokens = 24;
    for (const bool original : {true, false}) {
      options.original_text = original;
      const auto x = a.ask("Which bridge is over the river?", options);
      const auto y = b.ask("Which bridge is over the river?", options);
      ASSERT_TRUE(x && y);
      EXPECT_EQ(x->text, y->text);
      EXPECT_EQ(x->usage.completion_tokens, y->usage.completion_tokens);
      ASSERT_EQ(x->routing.ranking.size(), y->routing.ranking.size());
      EXPECT_FALSE(x->routing.ranking.empty());
      for (size_t i = 0; i < x->routing.ranking.size(); ++i) {
        EXPECT_EQ(x->routing.ranking[i].number, y->routing.ranking[i].number);
        EXPECT_EQ(x->routing.ranking[i].score, y->routing.ranking[i].score);
      }
    }
  }

  TestFolder folder_;
  std::optional<Model> model_;
  std::optional<Bank> bank_;
};
INSTANTIATE_TEST_SUITE_P(Content, EngineTiers,
                         ::testing::Values(ContentType::automatic, ContentType::int8),
                         [](const auto& instance) {
                           return instance.param == ContentType::int8 ? "int8" : "full";
                         });

TEST_P(EngineTiers, HeldContentAnswersAsMapped) {
  const Engine mapped = engine(ContentTier::mapped);
  for (const KeyTier keys : {KeyTier::automatic, KeyTier::full, KeyTier::int8}) {
    const Engine held = engine(ContentTier::held, keys);
    expect_same_answers(mapped, held);
    EXPECT_EQ(held.info().content, ContentTier::held);
    // Each array begins a cache line.
    EXPECT_GE(held.info().content_bytes, bank_->info()->content_bytes);
    EXPECT_LT(held.info().content_bytes, bank_->info()->content_bytes + 64 * 2);
  }
  EXPECT_EQ(mapped.info().content, ContentTier::mapped);
  EXPECT_EQ(mapped.info().content_bytes, 0u);
}

TEST_P(EngineTiers, ABankThatChangesIsFollowed) {
  const Engine mapped = engine(ContentTier::mapped), held = engine(ContentTier::held);
  const uint64_t before = held.info().content_bytes;
  add(9, 5);
  expect_same_answers(mapped, held);
  EXPECT_GT(held.info().content_bytes, before);
  ASSERT_TRUE(bank_->remove(std::vector<std::string>{"2", "11"}).ok());
  expect_same_answers(mapped, held);
  ASSERT_TRUE(bank_->compact().ok());
  expect_same_answers(mapped, held);
}

TEST_P(EngineTiers, WhatDoesNotFitIsRefusedByName) {
  EngineOptions options;
  options.content = ContentTier::held;
  options.memory_limit = 1;
  const auto refused = Engine::create(*model_, *bank_, options);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::no_space);
  EXPECT_THAT(refused.error().message,
              AllOf(StartsWith((folder_ / "bank").string() + ": the pooled keys and values take"),
                    HasSubstr("0 B of the memory limit are left for them"),
                    HasSubstr("leave them on the disk")));
  // Much room is left beside content and keys of this size.
  options.memory_limit = uint64_t{64} << 30;
  EXPECT_TRUE(Engine::create(*model_, *bank_, options).ok());
}

}  // namespace
}  // namespace msa
