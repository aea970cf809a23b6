#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "samples/sample_source.h"
#include "samples/testing_samples.h"

namespace msa {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

void expect_same(const Sample& a, const Sample& b) {
  ASSERT_EQ(a.documents.size(), b.documents.size());
  for (size_t d = 0; d < a.documents.size(); ++d) {
    EXPECT_EQ(a.documents[d].title, b.documents[d].title);
    EXPECT_EQ(a.documents[d].text, b.documents[d].text);
    EXPECT_EQ(a.documents[d].id, b.documents[d].id);
  }
  ASSERT_EQ(a.questions.size(), b.questions.size());
  for (size_t q = 0; q < a.questions.size(); ++q) {
    EXPECT_EQ(a.questions[q].question, b.questions[q].question);
    EXPECT_EQ(a.questions[q].steps, b.questions[q].steps);
    EXPECT_EQ(a.questions[q].answer, b.questions[q].answer);
    EXPECT_EQ(a.questions[q].accepted, b.questions[q].accepted);
    EXPECT_EQ(a.questions[q].values, b.questions[q].values);
    EXPECT_EQ(a.questions[q].values_in_reading_order, b.questions[q].values_in_reading_order);
    EXPECT_EQ(a.questions[q].kind, b.questions[q].kind);
  }
}

TEST(SampleJson, OneQuestion) {
  const auto sample = parse_sample(
      R"({"documents": ["Plain.", {"title": "T", "text": "é\n", "id": "7"}], "question": "Q?",)"
      R"( "relevant": [1, 0], "answer": "A", "kind": "k"})",
      "f.jsonl:3");
  ASSERT_TRUE(sample) << sample.error().message;
  EXPECT_EQ(sample->where, "f.jsonl:3");
  ASSERT_EQ(sample->documents.size(), 2u);
  EXPECT_EQ(sample->documents[0].text, "Plain.");
  EXPECT_EQ(sample->documents[1].title, "T");
  EXPECT_EQ(sample->documents[1].text, "é\n");
  EXPECT_EQ(sample->documents[1].id, "7");
  ASSERT_EQ(sample->questions.size(), 1u);
  const SampleQuestion& question = sample->questions[0];
  EXPECT_EQ(question.question, "Q?");
  EXPECT_THAT(question.steps, ElementsAre(ElementsAre(1, 0)));
  EXPECT_EQ(question.answer, "A");
  EXPECT_THAT(question.accepted, IsEmpty());
  EXPECT_EQ(question.kind, "k");
}

TEST(SampleJson, SeveralQuestionsStepsAndAnswers) {
  const auto sample = parse_sample(
      R"({"questions": [{"question": "One?", "relevant": [[2], [0, 1]], "answer": ["A", "B"]},)"
      R"({"question": "Two?", "relevant": [1], "answer": "C", "values": ["x", "y"]}],)"
      R"("documents": ["a", "b", "c"]})",
      "f:1");
  ASSERT_TRUE(sample) << sample.error().message;
  ASSERT_EQ(sample->questions.size(), 2u);
  EXPECT_THAT(sample->questions[0].steps, ElementsAre(ElementsAre(2), ElementsAre(0, 1)));
  EXPECT_EQ(sample->questions[0].answer, "A");
  EXPECT_THAT(sample->questions[0].accepted, ElementsAre("B"));
  EXPECT_THAT(sample->questions[1].values, ElementsAre("x", "y"));
}

TEST(SampleJson, ReadsBackWhatItWrote) {
  for (uint64_t i = 0; i < 300; ++i) {
    const Sample sample = testing::random_sample(i);
    const std::string line = write_sample(sample);
    EXPECT_THAT(line, Not(HasSubstr("\n")));
    const auto back = parse_sample(line, "x");
    ASSERT_TRUE(back) << back.error().message;
    expect_same(*back, sample);
  }
}

TEST(SampleJson, WritesWhatIsNotUtf8AsReplacementCharacters) {
  Sample sample = testing::random_sample(0);
  sample.documents[0].text = "a\xff\x62";
  const auto back = parse_sample(write_sample(sample), "x");
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->documents[0].text, "a\ufffd\x62");
}

// A good line with one thing replaced.
std::string with(std::string_view part, std::string_view replacement) {
  std::string line =
      R"({"documents": [{"title": "T", "text": "x", "id": "7"}, "y"], "question": "Q?",)"
      R"( "relevant": [[1], [0]], "answer": "A", "values": ["v"], "kind": "k"})";
  const size_t at = line.find(part);
  if (at == std::string::npos) throw std::logic_error("not in the line: " + std::string(part));
  return line.replace(at, part.size(), replacement);
}

TEST(SampleJson, NamesWhatIsWrong) {
  ASSERT_TRUE(parse_sample(with("", ""), "x"));
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "ends after 0 bytes"},
      {"{", "ends after 1 bytes"},
      {with("}", "}}"), "not JSON in UTF-8 from byte"},
      {with("\"T\"", "\"\xff\""), "not JSON in UTF-8 from byte 26"},
      {with("\"T\"", "\"\t\""), "not JSON in UTF-8 from byte 26"},
      {with("\"T\"", "NaN"), "not JSON"},
      {with("[1]", "[1e999]"), "not JSON"},
      {with("}, \"y\"", "}, \"y\",]"), "not JSON"},
      {"[1]", "the line is array, not an object"},
      {"null", "the line is null, not an object"},
      {"7", "the line is number"},
      {with("\"kind\"", "\"sort\""), "unknown key \"sort\"; known are documents, question"},
      {with("\"kind\"", "\"questions\""), "unknown key \"answer\"; known are documents, questions"},
      {with("\"title\"", "\"name\""),
       "document 0: unknown key \"name\"; known are title, text, id"},
      {with("\"title\"", "\"a\\nb\""), "unknown key \"a?b\""},
      {with("\"kind\"", "\"answer\""), "the key \"answer\" is twice"},
      {with("\"title\"", "\"text\""), "the key \"text\" is twice"},
      {with("\"documents\"", "\"kind\""), "the key \"kind\" is twice"},
      {with("\"T\"", "7"), "document 0: \"title\" is number, not a string"},
      {with("\"x\"", "null"), "document 0: \"text\" is null, not a string"},
      {with("\"7\"", "7"), "document 0: \"id\" is number, not a string"},
      {with("\"text\": \"x\", ", ""), "document 0: \"text\" is missing"},
      {with("\"y\"", "5"), "document 1 is number, not an object"},
      {with("\"y\"", "\"\""), "document 1 of 2 has no text"},
      {with("\"x\"", "\"\""), "document 0 of 2 has no text"},
      {with("\"Q?\"", "\"\""), "question 1: it has no text"},
      {with("\"Q?\"", "[]"), "\"question\" is array, not a string"},
      {with("\"question\": \"Q?\",", ""), "\"question\" is missing"},
      {with("\"A\"", "\"\""), "its answer is empty"},
      {with("\"A\"", "[]"), "\"answer\" is an empty list"},
      {with("\"A\"", "[\"A\", \"\"]"), "one of its answers is empty"},
      {with("\"A\"", "[\"A\", 3]"), "an entry of \"answer\" is number"},
      {with("\"A\"", "{}"), "\"answer\" is object, not a string"},
      {with("\"answer\": \"A\",", ""), "\"answer\" is missing"},
      {with("[\"v\"]", "\"v\""), "\"values\" is string, not a list"},
      {with("[\"v\"]", R"(["v"], "values_in_reading_order": 1)"),
       "\"values_in_reading_order\" is number"},
      {with("[\"v\"]", R"(["v"], "values_in_reading_order": true)"),
       "its values are to be given in reading order"},
      {with("[\"v\"]", "[\"\"]"), "one of its values is empty"},
      {with("[\"v\"]", "[[]]"), "an entry of \"values\" is array"},
      {with("\"k\"", "{}"), "\"kind\" is object"},
      {with("[[1], [0]]", "1"), "\"relevant\" is number, not a list"},
      {with("[[1], [0]]", "[]"), "question 1: it has no relevant documents"},
      {with("[[1], [0]]", "[[1], []]"), "step 2 of its 2 has no relevant document"},
      {with("[[1], [0]]", "[2]"), "document 2 is relevant to it, but there are 2"},
      {with("[[1], [0]]", "[4294967296]"), "\"relevant\" holds 4294967296"},
      {with("[[1], [0]]", "[18446744073709551616]"), "which is no position"},
      {with("[[1], [0]]", "[-1]"), "\"relevant\" holds -1"},
      {with("[[1], [0]]", "[1.0]"), "\"relevant\" holds 1.0"},
      {with("[[1], [0]]", "[\"1\"]"), "\"relevant\" holds \"1\""},
      {with("[[1], [0]]", "[1, [0]]"), "\"relevant\" holds [0]"},
      {with("[[1], [0]]", "[[1], 0]"), "an entry of \"relevant\" is number, not a list"},
      {with("[[1], [0]]", "[[1], [0, 1]]"), "document 1 is relevant to it twice"},
      {with("[[1], [0]]", "[0, 0]"), "document 0 is relevant to it twice"},
      {with("[[1], [0]]", std::string(100'000, '[')), "nest deeper"},
      {with("\"k\"", std::string(100'000, '[') + std::string(100'000, ']')), "nest deeper"},
      {R"({"documents": [], "questions": []})", "it has no question"},
      {R"({"documents": {}, "questions": []})", "\"documents\" is object, not a list"},
      {R"({"questions": []})", "\"documents\" is missing"},
      {R"({"documents": ["a"], "questions": {}})", "\"questions\" is object, not a list"},
      {R"({"documents": ["a"], "questions": ["Q?"]})", "question 1 is string, not an object"},
      {R"({"documents": ["a"], "questions": [{"question": "Q", "relevant": [0], "answer": "A"},)"
       R"({"question": "Q", "relevant": [0], "answer": "A", "documents": []}]})",
       "question 2: unknown key \"documents\""},
      {R"({"documents": ["a"], "questions": [{"question": "Q", "relevant": [0]}]})",
       "question 1: \"answer\" is missing"},
  };
  for (const auto& [line, message] : cases) {
    const auto sample = parse_sample(line, "train.jsonl:17");
    ASSERT_FALSE(sample) << line.substr(0, 200);
    EXPECT_EQ(sample.error().code, Code::corrupt);
    EXPECT_THAT(sample.error().message, AllOf(StartsWith("train.jsonl:17: "), HasSubstr(message),
                                              HasSubstr("; "), Not(HasSubstr("\n"))))
        << line.substr(0, 200);
    EXPECT_LT(sample.error().message.size(), 250u);
  }
}

// Cut anywhere or with any byte changed, a line is a sample or an error, and nothing else.
TEST(SampleJson, SurvivesDamage) {
  const std::string line = with("", "");
  for (size_t cut = 0; cut < line.size(); ++cut)
    EXPECT_FALSE(parse_sample(line.substr(0, cut), ""));
  Random random(5);
  size_t good = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string damaged = line;
    for (uint64_t n = random.between(1, 3); n > 0; --n)
      damaged[random.below(damaged.size())] = static_cast<char>(random.below(256));
    if (const auto sample = parse_sample(damaged, "x")) {
      EXPECT_EQ(sample_problem(*sample), "");
      ++good;
    } else {
      EXPECT_THAT(sample.error().message, StartsWith("x: "));
    }
  }
  EXPECT_GT(good, 0u);  // a letter in a text may change
}

}  // namespace
}  // namespace msa
