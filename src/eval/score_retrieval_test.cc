#include "eval/score_retrieval.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace msa::eval {
namespace {

class ScoreRetrieval : public ::testing::Test {
 protected:
  ScoreRetrieval() {
    for (const std::string id : {"a", "b", "c", "d"}) exam_.documents.push_back({"", id, id});
    exam_.first_of_text = {0, 1, 2, 3};
  }
  static Routing routing(const std::vector<std::string>& ranking) {
    Routing r;
    for (const std::string& id : ranking) r.ranking.push_back({0, id, 0});
    return r;
  }
  // An answer whose rounds found and brought these documents.
  static Answer answer(
      const std::vector<std::pair<std::vector<std::string>, std::vector<std::string>>>& rounds) {
    Answer a;
    for (const auto& [found, brought] : rounds) {
      Round round;
      round.routing = routing(found);
      for (const std::string& id : brought) {
        const auto number = static_cast<uint32_t>(100 + a.citations.size());
        round.numbers.push_back(number);
        Citation citation;
        citation.number = number;
        citation.id = id;
        a.citations.push_back(citation);
      }
      a.rounds.push_back(round);
    }
    if (!a.rounds.empty()) a.routing = a.rounds.front().routing;
    return a;
  }
  RetrievalScore score(const std::vector<std::vector<uint32_t>>& steps, const Answer& a,
                       size_t k = 2) {
    ExamQuestion question;
    question.steps = steps;
    return score_retrieval(question, a, DocumentIds(exam_), k);
  }
  Exam exam_;
};

TEST_F(ScoreRetrieval, OneStep) {
  const RetrievalScore s =
      score({{1}}, answer({{{"x", "b", "a"}, {"b#2", "distractor/1"}}, {{"c"}, {"c"}}}));
  EXPECT_EQ(s.route_first, 0);
  EXPECT_EQ(s.route_k, 1);
  EXPECT_EQ(s.routed, 1);
  EXPECT_FALSE(s.routed_later);
  EXPECT_EQ(s.injected_first, 1);
  EXPECT_EQ(s.injected_all, 1);
  EXPECT_EQ(score({{0}}, answer({{{"x", "b", "a"}, {"b"}}})).route_k, 0);
  EXPECT_EQ(score({{0}}, answer({{{"x", "b", "a"}, {"b"}}})).routed, 1);
  EXPECT_EQ(score({{0}}, answer({{{"a#9", "b"}, {}}})).route_first, 1);
}

TEST_F(ScoreRetrieval, SeveralDocumentsOfAStepAreShares) {
  const RetrievalScore s = score({{0, 1, 2, 3}}, answer({{{"a", "b", "c"}, {"d"}}}));
  EXPECT_EQ(s.route_first, 1);
  EXPECT_EQ(s.route_k, 0.5);
  EXPECT_EQ(s.routed, 0.75);
  EXPECT_EQ(s.injected_first, 0.25);
}

TEST_F(ScoreRetrieval, LaterStepsLookAtTheirRounds) {
  const Answer both = answer({{{"a"}, {"a"}}, {{"d", "b"}, {"b"}}, {{}, {}}});
  const RetrievalScore s = score({{0}, {1}}, both);
  EXPECT_EQ(s.routed, 1);
  EXPECT_EQ(s.routed_later, 1);
  EXPECT_EQ(s.injected_first, 1);
  EXPECT_EQ(s.injected_all, 1);
  EXPECT_EQ(score({{0}, {1}, {2}}, both).routed_later, 0.5);
  // One round: there is nothing that could have found the second document.
  const RetrievalScore one = score({{0}, {1}}, answer({{{"a", "b"}, {"a"}}}));
  EXPECT_EQ(one.routed_later, 0);
  EXPECT_EQ(one.injected_first, 1);
  EXPECT_EQ(one.injected_all, 0.5);
}

TEST_F(ScoreRetrieval, NothingFoundIsNothing) {
  const RetrievalScore s = score({{0}, {1}}, Answer());
  EXPECT_EQ(s.route_first, 0);
  EXPECT_EQ(s.route_k, 0);
  EXPECT_EQ(s.routed, 0);
  EXPECT_EQ(s.routed_later, 0);
  EXPECT_EQ(s.injected_first, 0);
  EXPECT_EQ(s.injected_all, 0);
}

}  // namespace
}  // namespace msa::eval
