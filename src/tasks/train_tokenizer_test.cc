#include "tasks/train_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/test_folder.h"
#include "text/tokenizer.h"

namespace msa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(TokenizerTexts, AreParsed) {
  const auto parse = [](std::string_view argument) {
    const auto parsed = parse_tokenizer_texts(argument);
    EXPECT_TRUE(parsed) << argument;
    return parsed ? std::tuple(parsed->path.string(), parsed->first, parsed->weight)
                  : std::tuple(std::string(), uint64_t{0}, uint64_t{0});
  };
  using Parsed = std::tuple<std::string, uint64_t, uint64_t>;
  EXPECT_EQ(parse("a/b.jsonl"), Parsed("a/b.jsonl", 0, 1));
  EXPECT_EQ(parse("b@first=10"), Parsed("b", 10, 1));
  EXPECT_EQ(parse("b@weight=3"), Parsed("b", 0, 3));
  EXPECT_EQ(parse("b@weight=3@first=2"), Parsed("b", 2, 3));
  EXPECT_EQ(parse("me@home/x@y.txt@first=2"), Parsed("me@home/x@y.txt", 2, 1));
  for (const char* bad : {"b@first=", "b@first=0", "b@first=-1", "b@weight=x", "b@weight=1000001",
                          "b@first=2x", "b@first=99999999999999999999", "@first=2", ""}) {
    const auto parsed = parse_tokenizer_texts(bad);
    ASSERT_FALSE(parsed) << bad;
    EXPECT_EQ(parsed.error().code, Code::invalid_argument);
    EXPECT_THAT(parsed.error().message, HasSubstr("PATH@first=1000"));
  }
}

class TrainTokenizer : public ::testing::Test {
 protected:
  // Whether a word of the texts became a token.
  bool learned(std::string_view word) const {
    return Tokenizer::load(out_).value()->find(word).has_value();
  }
  BpeSummary train(TokenizerTraining training) const {
    auto summary = train_tokenizer(training, out_);
    EXPECT_TRUE(summary) << summary.error().message;
    return summary ? *summary : BpeSummary{};
  }

  TestFolder folder_;
  std::filesystem::path out_ = folder_ / "tokenizer.json";
};

TEST_F(TrainTokenizer, LearnsTitlesAndTextsOfAllFiles) {
  const auto a = folder_.put("a.jsonl",
                             "{\"title\":\"titular\",\"text\":\"first body\"}\n"
                             "{\"title\":\"titular\",\"text\":\"first body\"}\n");
  const auto b = folder_.put("b.jsonl", "{\"text\":\"second\"}\n");
  const BpeSummary summary =
      train({.texts = {{a, 0, 1}, {b, 0, 5}}, .held_out = {}, .bpe = {}, .on_problem = {}});
  for (const char* word : {"titular", "first", " body", "second"})
    EXPECT_TRUE(learned(word)) << word;
  EXPECT_EQ(summary.texts, 7u);
}

TEST_F(TrainTokenizer, TakesTheFirstDocumentsAndLeavesOutTheHeldOut) {
  const auto texts = folder_.put("t.jsonl",
                                 "{\"title\":\"Chad: Capital\",\"text\":\"hidden\"}\n"
                                 "{\"title\":\"Chad\",\"text\":\"hidden\"}\n"
                                 "{\"title\":\"Chad: x: y\",\"text\":\"hidden\"}\n"
                                 "{\"title\":\"Chadwick: Capital\",\"text\":\"shown shown\"}\n"
                                 "{\"title\":\"Late\",\"text\":\"behind behind\"}\n");
  TokenizerTraining training;
  training.texts = {{texts, 4, 1}};
  training.held_out = folder_.put("names.txt", "Chad\r\n\nNiger\n");
  EXPECT_EQ(train(training).texts, 1u);
  EXPECT_TRUE(learned("shown"));
  EXPECT_FALSE(learned("hidden"));
  EXPECT_FALSE(learned("behind"));
  training.texts[0].first = 0;
  EXPECT_EQ(train(training).texts, 2u);
  EXPECT_TRUE(learned("behind"));
}

TEST_F(TrainTokenizer, IsRepeatableAndTellsOfBadRecords) {
  TokenizerTraining training;
  training.texts = {{folder_.put("t.jsonl", "{\"text\":\"some words some words\"}\n[]\n"), 0, 1}};
  std::vector<std::string> problems;
  training.on_problem = [&](const DocumentProblem& problem) { problems.push_back(problem.where); };
  train(training);
  const std::string once = TestFolder::get(out_);
  EXPECT_THAT(problems, ElementsAre(HasSubstr("t.jsonl:2")));
  train(training);
  EXPECT_EQ(TestFolder::get(out_), once);
}

TEST_F(TrainTokenizer, Refuses) {
  const auto texts = folder_.put("t.jsonl", "{\"text\":\"words\"}\n");
  const auto refuse = [&](const TokenizerTraining& training, Code code, const char* part) {
    const auto summary = train_tokenizer(training, out_);
    ASSERT_FALSE(summary) << part;
    EXPECT_EQ(summary.error().code, code) << summary.error().message;
    EXPECT_THAT(summary.error().message, HasSubstr(part));
    EXPECT_FALSE(std::filesystem::exists(out_));
  };
  TokenizerTraining training;
  refuse(training, Code::invalid_argument, "0 texts");
  training.texts = {{folder_ / "missing.jsonl", 0, 1}};
  refuse(training, Code::not_found, "missing.jsonl");
  training.texts = {{texts, 0, 1}};
  training.held_out = folder_ / "nobody.txt";
  refuse(training, Code::not_found, "nobody.txt");
  training.held_out = folder_.put("none.txt", "\n\n");
  refuse(training, Code::invalid_argument, "has no names");
  training.held_out.clear();
  training.bpe.vocabulary = 10;
  refuse(training, Code::invalid_argument, "a vocabulary of 10");
}

}  // namespace
}  // namespace msa
