#include "eval/exam.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "base/test_folder.h"
#include "eval/test_exam.h"

namespace msa::eval {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Exam of_task(std::shared_ptr<const Task> task, const ExamOptions& options) {
  auto exam = exam_from_task(std::move(task), options);
  EXPECT_TRUE(exam) << exam.error().message;
  return exam ? std::move(*exam) : Exam();
}

void check(const Exam& exam) {
  std::set<std::string> ids;
  std::set<std::pair<std::string, std::string>> texts;
  ASSERT_EQ(exam.first_of_text.size(), exam.documents.size());
  for (size_t i = 0; i < exam.documents.size(); ++i) {
    const SampleDocument& document = exam.documents[i];
    EXPECT_FALSE(document.id.empty());
    EXPECT_TRUE(ids.insert(document.id).second) << document.id;
    const bool is_new = texts.emplace(document.title, document.text).second;
    EXPECT_EQ(is_new, exam.first_of_text[i] == i) << document.id;
    EXPECT_TRUE(is_new || i < exam.collection);
  }
  std::set<uint32_t> asked;
  for (const ExamGroup& group : exam.groups) {
    for (const uint32_t document : group.documents) {
      EXPECT_GE(document, exam.collection);
      EXPECT_LT(document, exam.documents.size());
    }
    for (const uint32_t q : group.questions) {
      EXPECT_TRUE(asked.insert(q).second);
      for (const auto& step : exam.questions.at(q).steps)
        for (const uint32_t document : step) {
          EXPECT_EQ(exam.first_of_text.at(document), document);
          EXPECT_TRUE(document < exam.collection ||
                      std::ranges::count(group.documents, document) == 1);
        }
    }
  }
  EXPECT_EQ(asked.size(), exam.questions.size());
}

TEST(Exam, TakesAllQuestionsOfSamplesUntilThereAreEnough) {
  const Exam exam = of_task(std::make_shared<TownTask>(), {5, 0, 1});
  check(exam);
  EXPECT_EQ(exam.name, "towns");
  ASSERT_EQ(exam.questions.size(), 5u);
  EXPECT_EQ(exam.groups.size(), 3u);
  EXPECT_EQ(exam.documents.size(), 9u);
  const ExamQuestion& two = exam.questions[1];
  EXPECT_EQ(two.kind, "two");
  EXPECT_EQ(two.where, "towns:0, question 2");
  EXPECT_THAT(two.expected, ElementsAre("code 1000", "1000"));
  ASSERT_EQ(two.steps.size(), 2u);
  EXPECT_EQ(exam.documents[two.steps[0][0]].id, "person/0");
  EXPECT_EQ(exam.documents[two.steps[1][0]].id, "town/0");
}

TEST(Exam, TakesOneQuestionOfASampleWhereThereIsACollection) {
  const Exam exam = of_task(std::make_shared<TownTask>(4), {40, 0, 1});
  check(exam);
  EXPECT_EQ(exam.collection, 4u);
  EXPECT_EQ(exam.questions.size(), 40u);
  EXPECT_EQ(exam.groups.size(), 40u);
  // Both kinds are drawn, and another seed draws others.
  const auto kinds = [](const Exam& of) {
    std::string text;
    for (const ExamQuestion& q : of.questions) text += q.kind + " ";
    return text;
  };
  EXPECT_THAT(kinds(exam), HasSubstr("one"));
  EXPECT_THAT(kinds(exam), HasSubstr("two"));
  EXPECT_EQ(kinds(exam), kinds(of_task(std::make_shared<TownTask>(4), {40, 0, 1})));
  EXPECT_NE(kinds(exam), kinds(of_task(std::make_shared<TownTask>(4), {40, 0, 2})));
  EXPECT_EQ(of_task(std::make_shared<TownTask>(4), {40, 2, 1}).groups.size(), 20u);
}

// A collection with a text twice, and samples that shorten its documents and reuse ids.
class OddTask : public TownTask {
 public:
  OddTask() : collection_{town(0), town(1), town(0)} { collection_[2].id = "copy"; }
  const std::vector<SampleDocument>& collection() const override { return collection_; }
  Sample sample(uint64_t index) const override {
    Sample sample;
    sample.where = "odd";
    sample.documents = {{"Town 1", "Its", "town/1"},
                        {"Town 0", "Its code is 1000.", "copy"},
                        {"", std::to_string(index), "same id"},
                        {"", "no id", ""},
                        {"Town 0", "Its code is 1000.", "other id"}};
    SampleQuestion q;
    q.question = "?";
    q.answer = "!";
    q.steps = {{0}, {1, 2}, {3, 4}};
    sample.questions = {q};
    return sample;
  }

 private:
  std::vector<SampleDocument> collection_;
};

TEST(Exam, TellsDocumentsApartByTheirTexts) {
  const Exam exam = of_task(std::make_shared<OddTask>(), {2, 0, 1});
  check(exam);
  EXPECT_EQ(exam.collection, 3u);
  EXPECT_THAT(exam.first_of_text, ElementsAre(0, 1, 0, 3, 4, 5));
  EXPECT_EQ(exam.documents[3].id, "same id");
  EXPECT_EQ(exam.documents[3].text, "0");
  EXPECT_EQ(exam.documents[5].text, "1");
  EXPECT_NE(exam.documents[5].id, "same id");
  EXPECT_THAT(exam.questions[0].steps,
              ElementsAre(ElementsAre(1), ElementsAre(0, 3), ElementsAre(4, 0)));
  EXPECT_THAT(exam.questions[1].steps,
              ElementsAre(ElementsAre(1), ElementsAre(0, 5), ElementsAre(4, 0)));
  EXPECT_THAT(exam.groups[1].documents, ElementsAre(4, 5));
}

class NoQuestions : public TownTask {
 public:
  Sample sample(uint64_t) const override { return {}; }
};

TEST(Exam, ATaskWithoutQuestionsIsAnError) {
  const auto exam = exam_from_task(std::make_shared<NoQuestions>(), {});
  ASSERT_FALSE(exam);
  EXPECT_THAT(exam.error().message, HasSubstr("samples without a question"));
}

TEST(Exam, ReadsFilesInOrder) {
  TestFolder folder;
  const auto first = folder.put("a.jsonl",
                                "\xef\xbb\xbf{\"documents\":[\"x\",\"y\"],\"question\":\"q0?\","
                                "\"relevant\":[1],\"answer\":[\"y\",\"why\"]}\n\n");
  const auto second =
      folder.put("b.jsonl",
                 "{\"documents\":[{\"text\":\"y\",\"id\":\"other\"}],\"question\":\"q1?\","
                 "\"relevant\":[[0]],\"answer\":\"z\",\"kind\":\"k\",\"values\":[\"v\"]}");
  const auto exam = exam_from_files({first, second}, nullptr, {});
  ASSERT_TRUE(exam) << exam.error().message;
  check(*exam);
  EXPECT_EQ(exam->name, first.string() + ", " + second.string());
  EXPECT_EQ(exam->documents.size(), 2u);  // "y" is there once
  ASSERT_EQ(exam->questions.size(), 2u);
  EXPECT_EQ(exam->questions[0].where, first.string() + ":1");
  EXPECT_THAT(exam->questions[0].expected, ElementsAre("y", "why"));
  EXPECT_THAT(exam->questions[0].values, IsEmpty());
  EXPECT_THAT(exam->questions[1].values, ElementsAre("v"));
  EXPECT_EQ(exam->questions[1].steps, exam->questions[0].steps);
  EXPECT_EQ(exam_from_files({first, second}, nullptr, {1, 0, 1})->questions.size(), 1u);
}

TEST(Exam, NamesTheBadLine) {
  TestFolder folder;
  const std::string good =
      "{\"documents\":[\"x\"],\"question\":\"q?\",\"relevant\":[0],\"answer\":\"a\"}\n";
  const auto file = folder.put("bad.jsonl", good + "\n{\"documents\":[]}\n");
  const auto bad = exam_from_files({file}, nullptr, {});
  ASSERT_FALSE(bad);
  EXPECT_THAT(bad.error().message, HasSubstr("bad.jsonl:3"));
  const auto missing = exam_from_files({folder / "none.jsonl"}, nullptr, {});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::not_found);
  const auto empty = exam_from_files({folder.put("empty.jsonl", "\n \n")}, nullptr, {});
  ASSERT_FALSE(empty);
  EXPECT_THAT(empty.error().message, HasSubstr("holds no samples"));
  EXPECT_FALSE(exam_from_files({folder.path()}, nullptr, {}));
}

}  // namespace
}  // namespace msa::eval
