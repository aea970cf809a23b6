// What later rounds of a question route to.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/test_folder.h"
#include "checkpoint/config.h"
#include "engine/test_tiny_model.h"
#include "msa/msa.h"

namespace msa {
namespace {

using ::testing::SizeIs;

constexpr size_t kDocuments = 9;

class EngineRounds : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(write_tiny_model(folder_));
    open();
    auto bank = Bank::open_or_create(folder_ / "bank", *model_, {});
    ASSERT_TRUE(bank) << bank.error().message;
    bank_.emplace(*bank);
    std::string lines;
    for (size_t i = 0; i < kDocuments; ++i)
      lines += fmt::format(R"({{"id":"{0}","text":"bridge {0} stands over river number {0}"}})"
                           "\n",
                           i);
    auto source = open_documents({folder_.put("documents.jsonl", lines)});
    ASSERT_TRUE(source) << source.error().message;
    ASSERT_TRUE(encode(*model_, *bank_, **source).ok());
  }
  void open() {
    auto opened = Model::open(folder_ / "model");
    ASSERT_TRUE(opened) << opened.error().message;
    model_.emplace(*opened);
  }
  // The best `handed_over` documents are given to the model; then it is asked once more.
  Answer ask(std::optional<bool> skip, size_t handed_over, KeyTier keys = KeyTier::full) {
    auto engine = Engine::create(*model_, *bank_, {.keys = keys});
    EXPECT_TRUE(engine) << engine.error().message;
    AskOptions options;
    options.retrieval = Retrieval::router;
    options.router_documents = handed_over;
    options.skip_handed_over = skip;
    options.max_tokens = 4;
    auto answer = engine->ask("Which bridge is over the river?", options);
    EXPECT_TRUE(answer) << answer.error().message;
    return std::move(*answer);
  }
  static std::set<uint32_t> numbers(const LayerRouting& layer) {
    std::set<uint32_t> all;
    for (const RoutedDocument& document : layer.documents) all.insert(document.number);
    return all;
  }

  TestFolder folder_;
  std::optional<Model> model_;
  std::optional<Bank> bank_;
};

TEST_F(EngineRounds, SkipWhatWasHandedOverIfAsked) {
  for (const KeyTier keys : {KeyTier::full, KeyTier::int8, KeyTier::int4}) {
    const Answer skipping = ask(true, 2, keys);
    ASSERT_THAT(skipping.rounds, SizeIs(2));
    const std::vector<uint32_t>& given = skipping.rounds[0].numbers;
    ASSERT_THAT(given, SizeIs(2));
    for (const LayerRouting& layer : skipping.rounds[1].routing.layers) {
      EXPECT_THAT(layer.documents, SizeIs(kTinyTopK));
      for (const uint32_t number : given) EXPECT_FALSE(numbers(layer).contains(number));
    }
    // The published method routes to them again.
    const Answer plain = ask(false, 2, keys);
    ASSERT_THAT(plain.rounds, SizeIs(2));
    EXPECT_EQ(plain.rounds[0].numbers, given);
    size_t again = 0;
    for (const LayerRouting& layer : plain.rounds[1].routing.layers)
      for (const uint32_t number : given) again += numbers(layer).contains(number);
    EXPECT_GT(again, 0u);
  }
}

TEST_F(EngineRounds, FewAreLeft) {
  // The first round ranks at most the k of each of its layers.
  const Answer first = ask(true, kDocuments);
  ASSERT_THAT(first.rounds, SizeIs(2));
  const size_t left = kDocuments - first.rounds[0].numbers.size();
  for (const LayerRouting& layer : first.rounds[1].routing.layers)
    EXPECT_THAT(layer.documents, SizeIs(std::min(left, kTinyTopK)));
}

TEST_F(EngineRounds, TheModelSaysWhetherToSkip) {
  EXPECT_FALSE(model_->info().skip_handed_over);
  const auto again = [&](const Answer& answer) {
    size_t count = 0;
    for (const LayerRouting& layer : answer.rounds.at(1).routing.layers)
      for (const uint32_t number : answer.rounds[0].numbers)
        count += numbers(layer).contains(number);
    return count;
  };
  EXPECT_GT(again(ask(std::nullopt, 2)), 0u);

  auto config = read_config(folder_ / "model" / "config.json");
  ASSERT_TRUE(config) << config.error().message;
  config->msa.skip_handed_over = true;
  folder_.put("model/config.json", write_config(*config, "bfloat16"));
  bank_.reset();
  open();
  EXPECT_TRUE(model_->info().skip_handed_over);
  auto bank = Bank::open_or_create(folder_ / "bank", *model_, {});
  ASSERT_TRUE(bank) << bank.error().message;  // what it holds does not depend on it
  bank_.emplace(*bank);
  EXPECT_EQ(again(ask(std::nullopt, 2)), 0u);
  EXPECT_GT(again(ask(false, 2)), 0u);
}

}  // namespace
}  // namespace msa
