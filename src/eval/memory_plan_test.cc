#include "eval/memory_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "eval/test_exam.h"

namespace msa::eval {
namespace {

using Unit = MemorySize::Unit;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

Exam town_exam(size_t questions, size_t collection = 0) {
  return *exam_from_task(std::make_shared<TownTask>(collection), {questions, 0, 1});
}

// A text's bytes stand for its tokens.
uint64_t bytes_of(const SampleDocument& document, uint64_t) {
  return document.title.size() + document.text.size();
}

uint64_t sum(MemoryPlanner& planner, const MemoryPlan& plan) {
  uint64_t total = 0;
  for (const uint64_t d : plan.documents) total += bytes_of(planner.document(d), d);
  return total;
}

TEST(MemoryPlan, EverySampleIsInOneMemoryWhichHoldsItsDocuments) {
  const Exam exam = town_exam(40);
  MemoryPlanner planner(exam, bytes_of, 7);
  for (const uint64_t size : {100u, 200u, 1000u, 5000u, 20000u}) {
    const auto plan = planner.plan({Unit::tokens, size});
    ASSERT_TRUE(plan);
    EXPECT_THAT(plan->left_out, IsEmpty());
    std::set<uint32_t> asked;
    for (const MemoryPlan& memory : plan->memories) {
      EXPECT_EQ(sum(planner, memory), memory.tokens);
      EXPECT_LE(memory.tokens, size);
      EXPECT_GT(memory.tokens + 40, size) << "another distractor would have fitted";
      const std::set<uint64_t> held(memory.documents.begin(), memory.documents.end());
      EXPECT_EQ(held.size(), memory.documents.size());
      for (const uint32_t q : memory.questions) {
        EXPECT_TRUE(asked.insert(q).second);
        for (const auto& step : exam.questions[q].steps)
          for (const uint32_t d : step) EXPECT_TRUE(held.contains(d));
      }
    }
    EXPECT_EQ(asked.size(), 40u);
    EXPECT_EQ(plan->memories.size() > 1, size < 2000) << size;
  }
}

TEST(MemoryPlan, SamplesThatDoNotFitAreLeftOut) {
  const Exam exam = town_exam(4);
  MemoryPlanner planner(exam, bytes_of, 7);
  const auto none = planner.plan({Unit::tokens, 20});
  ASSERT_TRUE(none);
  EXPECT_THAT(none->memories, IsEmpty());
  EXPECT_THAT(none->left_out, ElementsAre(0, 1, 2, 3));
  // With a collection, what counts is what is beside it.
  const Exam with = town_exam(4, 50);
  MemoryPlanner other(with, bytes_of, 7);
  EXPECT_EQ(other.plan({Unit::tokens, 100})->left_out.size(), 4u);
  EXPECT_EQ(other.plan({Unit::tokens, 100'000})->left_out.size(), 0u);
}

TEST(MemoryPlan, OwnIsOneMemoryOfWhatThereIs) {
  for (const size_t collection : {0u, 50u}) {
    const Exam exam = town_exam(20, collection);
    MemoryPlanner planner(exam, bytes_of, 7);
    const auto plan = planner.plan({});
    ASSERT_TRUE(plan);
    ASSERT_EQ(plan->memories.size(), 1u);
    std::vector<uint64_t> documents = plan->memories[0].documents;
    std::ranges::sort(documents);
    ASSERT_EQ(documents.size(), exam.documents.size());
    EXPECT_EQ(documents.back(), exam.documents.size() - 1);
    EXPECT_EQ(plan->memories[0].questions.size(), 20u);
  }
}

TEST(MemoryPlan, CountsDocumentsWhereAskedTo) {
  const Exam exam = town_exam(4);  // two samples of three documents
  MemoryPlanner planner(exam, bytes_of, 7);
  const auto plan = planner.plan({Unit::documents, 500});
  ASSERT_EQ(plan->memories.size(), 1u);
  EXPECT_EQ(plan->memories[0].documents.size(), 500u);
  EXPECT_EQ(plan->memories[0].tokens, sum(planner, plan->memories[0]));
  EXPECT_EQ(planner.plan({Unit::documents, 4})->memories.size(), 2u);
  EXPECT_EQ(planner.plan({Unit::documents, 2})->left_out.size(), 4u);
}

TEST(MemoryPlan, NumbersOfTheQuestionsDocumentsAreSpreadOverTheRange) {
  const Exam exam = town_exam(200);
  MemoryPlanner planner(exam, bytes_of, 7);
  const auto plan = planner.plan({Unit::documents, 3000});
  const std::vector<uint64_t>& order = plan->memories.at(0).documents;
  std::vector<size_t> tenths(10);
  for (size_t number = 0; number < order.size(); ++number)
    if (order[number] < exam.documents.size()) ++tenths[number * 10 / order.size()];
  for (const size_t tenth : tenths) {
    EXPECT_GT(tenth, 15u);  // of 300 documents
    EXPECT_LT(tenth, 45u);
  }
}

TEST(MemoryPlan, TheSeedAndTheSizeDecideTheOrder) {
  const Exam exam = town_exam(10);
  const auto order = [&](uint64_t seed, uint64_t size) {
    MemoryPlanner planner(exam, bytes_of, seed);
    return planner.plan({Unit::documents, size})->memories.at(0).documents;
  };
  EXPECT_EQ(order(1, 100), order(1, 100));
  EXPECT_NE(order(1, 100), order(2, 100));
  const auto larger = order(1, 101);
  EXPECT_FALSE(std::ranges::equal(order(1, 100), std::vector(larger.begin(), larger.end() - 1)));
}

TEST(MemoryPlan, WithoutAFillerMemoriesAreSmaller) {
  Exam exam = town_exam(4);
  exam.filler = nullptr;
  MemoryPlanner planner(exam, bytes_of, 7);
  const auto plan = planner.plan({Unit::tokens, 100'000});
  ASSERT_EQ(plan->memories.size(), 1u);
  EXPECT_EQ(plan->memories[0].documents.size(), exam.documents.size());
}

TEST(MemoryPlan, StopsWhenProgressSaysSo) {
  const Exam exam = town_exam(4);
  MemoryPlanner planner(exam, bytes_of, 7);
  uint64_t last = 0;
  const auto plan = planner.plan({Unit::tokens, 1'000'000}, [&](uint64_t tokens) {
    EXPECT_GE(tokens, last);
    last = tokens;
    return tokens < 100'000;
  });
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code, Code::cancelled);
  EXPECT_LT(last, 200'000u);
}

TEST(MemoryPlan, SourceGivesTheDocumentsInOrder) {
  const Exam exam = town_exam(4);
  MemoryPlanner planner(exam, bytes_of, 7);
  const auto plan = planner.plan({Unit::documents, 50});
  PlanSource source(planner, plan->memories[0]);
  std::set<std::string> ids;
  for (const uint64_t d : plan->memories[0].documents) {
    const auto next = source.next();
    ASSERT_TRUE(next && *next);
    EXPECT_TRUE(ids.insert((*next)->id).second) << (*next)->id;
    EXPECT_EQ((*next)->text, planner.document(d).text);
    EXPECT_EQ((*next)->title, planner.document(d).title);
  }
  EXPECT_FALSE(*source.next());
  EXPECT_FALSE(*source.next());
}

TEST(DocumentIds, FindDocumentsByThemselvesAndByTheirPassages) {
  Exam exam;
  exam.documents = {{"", "a", "a"}, {"", "b", "b#2"}, {"", "a", "c"}, {"", "d", "d#Climate"}};
  exam.first_of_text = {0, 1, 0, 3};
  const DocumentIds ids(exam);
  EXPECT_EQ(ids.find("a"), 0u);
  EXPECT_EQ(ids.find("a#1"), 0u);
  EXPECT_EQ(ids.find("a#17"), 0u);
  EXPECT_EQ(ids.find("b#2"), 1u);
  EXPECT_EQ(ids.find("b#2#3"), 1u);
  EXPECT_EQ(ids.find("c"), 0u);  // the same text as "a"
  EXPECT_EQ(ids.find("d#Climate#1"), 3u);
  for (const std::string none : {"", "b", "a#", "a#x", "a#1x", "d#1", "distractor/0", "#1"})
    EXPECT_EQ(ids.find(none), UINT64_MAX) << none;
}

}  // namespace
}  // namespace msa::eval
