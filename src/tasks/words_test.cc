#include "tasks/words.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tasks/task.h"
#include "tasks/words_list.h"

namespace msa {
namespace {
using testing::HasSubstr;

std::unique_ptr<Task> task_of(std::map<std::string, std::string> settings = {},
                              Split split = Split::train, uint64_t seed = 1) {
  TaskOptions options;
  options.split = split;
  options.seed = seed;
  options.settings = std::move(settings);
  auto task = make_task("words", options);
  EXPECT_TRUE(task.ok()) << task.error().message;
  return task.ok() ? *std::move(task) : nullptr;
}

std::vector<std::string> split_words(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> found;
  for (std::string word; stream >> word;) found.push_back(word);
  return found;
}

// Whether `answer` stands behind two words that the question names, in `text`.
bool follows(const std::string& text, const std::string& question, const std::string& answer) {
  const auto all = split_words(text);
  for (size_t i = 0; i + 2 < all.size(); ++i)
    if (question.find(all[i] + " " + all[i + 1]) != std::string::npos && all[i + 2] == answer)
      return true;
  return false;
}

TEST(Words, TheAnswerStandsBehindTheWordsOfTheQuestionInTheRelevantTextAlone) {
  const auto task = task_of({{"documents", "20"}, {"questions", "20"}, {"max_words", "9"}});
  for (uint64_t i = 0; i < 50; ++i) {
    const Sample sample = task->sample(i);
    ASSERT_EQ(sample_problem(sample), "");
    ASSERT_EQ(sample.documents.size(), 20u);
    ASSERT_EQ(sample.questions.size(), 20u);
    for (const SampleQuestion& question : sample.questions) {
      ASSERT_EQ(question.steps.size(), 1u);
      for (uint32_t d = 0; d < 20; ++d)
        EXPECT_EQ(follows(sample.documents[d].text, question.question, question.answer),
                  question.steps[0][0] == d)
            << question.question << " / " << sample.documents[d].text;
    }
  }
}

TEST(Words, TextsHaveAsManyWordsAsAskedFor) {
  const auto task = task_of({{"min_words", "4"}, {"max_words", "6"}});
  std::set<size_t> lengths;
  for (uint64_t i = 0; i < 20; ++i) {
    for (const SampleDocument& document : task->sample(i).documents)
      lengths.insert(split_words(document.text).size());
    lengths.insert(split_words(task->distractor(i).text).size());
  }
  EXPECT_EQ(lengths, (std::set<size_t>{4, 5, 6}));
}

TEST(Words, BlindQuestionsNameNothing) {
  const auto task = task_of({{"blind", "1"}});
  for (const SampleQuestion& question : task->sample(3).questions) {
    const Sample sample = task->sample(3);
    const auto text = split_words(sample.documents[question.steps[0][0]].text);
    EXPECT_EQ(question.answer, text[0]);
    for (size_t i = 0; i + 1 < text.size(); ++i)
      EXPECT_EQ(question.question.find(text[i] + " " + text[i + 1]), std::string::npos);
  }
}

TEST(Words, SplitsShareNoWord) {
  std::set<std::string> train, test;
  for (uint64_t i = 0; i < 100; ++i) {
    for (const SampleDocument& document : task_of()->sample(i).documents)
      for (const std::string& word : split_words(document.text)) train.insert(word);
    for (const SampleDocument& document : task_of({}, Split::test)->sample(i).documents)
      for (const std::string& word : split_words(document.text)) test.insert(word);
  }
  EXPECT_GT(train.size(), 400u);
  EXPECT_GT(test.size(), 60u);
  for (const std::string& word : test) EXPECT_EQ(train.count(word), 0u) << word;
}

TEST(Words, SeedAndIndexDecide) {
  EXPECT_EQ(task_of()->sample(7).documents[0].text, task_of()->sample(7).documents[0].text);
  EXPECT_NE(task_of()->sample(7).documents[0].text, task_of()->sample(8).documents[0].text);
  EXPECT_NE(task_of()->sample(7).documents[0].text,
            task_of({}, Split::train, 2)->sample(7).documents[0].text);
}

TEST(Words, TheListIsInOrder) {
  const auto list = msa::words::common_words();
  for (size_t i = 1; i < list.size(); ++i) EXPECT_LT(list[i - 1], list[i]);
}

TEST(Words, WrongSettingsAreErrors) {
  const auto error = [](std::map<std::string, std::string> settings) {
    TaskOptions options;
    options.settings = std::move(settings);
    const auto task = make_task("words", options);
    return task.ok() ? std::string() : task.error().message;
  };
  EXPECT_THAT(error({{"max_words", "2"}}), HasSubstr("max_words"));
  EXPECT_THAT(error({{"min_words", "9"}}), HasSubstr("more than max_words 5"));
  EXPECT_THAT(error({{"blind", "2"}}), HasSubstr("blind"));
  EXPECT_THAT(error({{"length", "2"}}), HasSubstr("known are documents"));
}

}  // namespace
}  // namespace msa
