#include "eval/summary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/test_folder.h"
#include "eval/report.h"

namespace msa::eval {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;

// Two sizes, two modes, three questions of kind "b" and one of kind "a".
class Summaries : public ::testing::Test {
 protected:
  Summaries() {
    exam_.name = "exam";
    exam_.documents = {{"", "text", "doc"}};
    exam_.first_of_text = {0};
    for (const std::string kind : {"b", "b", "a", "b"}) {
      ExamQuestion q;
      q.question = "question";
      q.steps = {{0}};
      q.expected = {"right"};
      q.kind = kind;
      q.where = "here";
      exam_.questions.push_back(q);
    }
    report_.top_k = 4;
    report_.modes = {{true, true}, {false, true}};
    for (const uint64_t amount : {1024u, 4096u}) {
      SizeReport size;
      size.size = {MemorySize::Unit::tokens, amount};
      size.tokens = amount - 1;
      report_.sizes.push_back(size);
    }
    for (uint32_t s = 0; s < 2; ++s)
      for (uint32_t m = 0; m < 2; ++m)
        for (uint32_t q = 0; q < 4; ++q) {
          Outcome o;
          o.size = s, o.mode = m, o.question = q;
          o.score.accuracy = o.score.exact = q == 0 || (q == 2 && m == 0) ? 1 : 0;
          o.retrieval.route_k = 0.5;
          o.total_ms = 10.0 * (q + 1);
          o.first_token_ms = q + 1;
          if (q == 3) o.retrieval.routed_later = 0.25;
          if (q == 1 && m == 1) o.error = "refused";
          report_.outcomes.push_back(o);
        }
    report_.outcomes[0].answer = "bad \xff byte";
  }
  Exam exam_;
  EvalReport report_;
};

TEST(Percentile, IsTheSmallestValueThatCoversTheShare) {
  EXPECT_EQ(percentile({}, 0.5), 0);
  EXPECT_EQ(percentile({3}, 0.95), 3);
  EXPECT_EQ(percentile({4, 1, 3, 2}, 0.5), 2);
  EXPECT_EQ(percentile({4, 1, 3, 2}, 0.51), 3);
  EXPECT_EQ(percentile({4, 1, 3, 2}, 1), 4);
  EXPECT_EQ(percentile({4, 1, 3, 2}, 0), 1);
}

TEST_F(Summaries, RowsPerSizeModeAndKind) {
  const std::vector<Summary> rows = summarise(exam_, report_);
  ASSERT_EQ(rows.size(), 16u);
  std::vector<std::string> kinds;
  for (size_t i = 0; i < 4; ++i) kinds.push_back(rows[i].kind);
  EXPECT_THAT(kinds, ElementsAre("a", "b", "mean of kinds", "all"));
  EXPECT_EQ(rows[4].mode, 1u);
  EXPECT_EQ(rows[8].size, 1u);
  EXPECT_DOUBLE_EQ(rows[0].accuracy, 1);
  EXPECT_DOUBLE_EQ(rows[1].accuracy, 1.0 / 3);
  EXPECT_DOUBLE_EQ(rows[2].accuracy, 2.0 / 3);  // kinds count the same
  EXPECT_DOUBLE_EQ(rows[3].accuracy, 0.5);      // questions count the same
  EXPECT_EQ(rows[3].questions, 4u);
  EXPECT_EQ(rows[3].errors, 0u);
  EXPECT_NEAR(rows[3].accuracy_error, std::sqrt(0.25 / 3), 1e-12);
  EXPECT_EQ(rows[0].accuracy_error, 0);
  EXPECT_FALSE(rows[0].routed_later);
  EXPECT_EQ(rows[1].routed_later, 0.25);
  EXPECT_EQ(rows[3].total_ms_p50, 20);
  EXPECT_EQ(rows[3].total_ms_p95, 40);
  EXPECT_EQ(rows[3].first_token_ms_p50, 2);
  // A question that was refused counts as wrong, and its time for nothing.
  EXPECT_EQ(rows[7].errors, 1u);
  EXPECT_DOUBLE_EQ(rows[7].accuracy, 0.25);
  EXPECT_EQ(rows[7].total_ms_p50, 30);
}

TEST_F(Summaries, OneKindNeedsNoMeanOfKinds) {
  for (ExamQuestion& q : exam_.questions) q.kind = "only";
  const std::vector<Summary> rows = summarise(exam_, report_);
  ASSERT_EQ(rows.size(), 4u);
  EXPECT_EQ(rows[0].kind, "all");
  EXPECT_TRUE(summarise(exam_, {}).empty());
}

TEST_F(Summaries, KeywordSearch) {
  report_.keyword = {{0, 0, 1, 1, 1}, {0, 1, 0, 1, 0.5}, {0, 2, 0, 0, 0}};
  const std::vector<KeywordSummary> rows = summarise_keywords(exam_, report_);
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[1].kind, "b");
  EXPECT_DOUBLE_EQ(rows[1].all_in_16, 0.75);
  EXPECT_DOUBLE_EQ(rows[2].first, 1.0 / 3);
  EXPECT_EQ(rows[2].questions, 3u);
}

TEST_F(Summaries, JsonHoldsEverything) {
  report_.sizes[1].skipped = "too small";
  report_.stopped = true;
  const std::string text = report_json(exam_, report_, {{"seed", "7"}}, true, 1);
  const Json json = Json::parse(text);
  EXPECT_EQ(json["name"], "exam");
  EXPECT_EQ(json["settings"]["seed"], "7");
  EXPECT_EQ(json["stopped"], true);
  EXPECT_EQ(json["sizes"][0]["size"], "1K");
  EXPECT_FALSE(json["sizes"][0].contains("skipped"));
  EXPECT_EQ(json["sizes"][1]["skipped"], "too small");
  EXPECT_EQ(json["results"].size(), 16u);
  EXPECT_EQ(json["results"][1]["accuracy"], 0.3333);
  EXPECT_EQ(json["results"][0]["routed_later"], nullptr);
  EXPECT_EQ(json["results"][4]["mode"], "one round");
  ASSERT_EQ(json["answers"].size(), 16u);
  EXPECT_EQ(json["answers"][0]["answer"], "bad \xef\xbf\xbd byte");
  EXPECT_EQ(json["answers"][0]["steps"][0][0], "doc");
  EXPECT_EQ(json["answers"][5]["error"], "refused");
  EXPECT_FALSE(json.contains("bm25"));
  const std::string line = report_json(exam_, report_, {}, false, -1);
  EXPECT_EQ(line.find('\n'), line.npos);
  EXPECT_FALSE(Json::parse(line).contains("answers"));
}

TEST_F(Summaries, ACurvePerKindAndModeAndTheRecall) {
  report_.keyword = {{0, 0, 1, 1, 1}, {1, 0, 1, 0.5, 1}};
  const Plot plot = report_plot(exam_, report_);
  std::vector<std::string> labels;
  for (const Curve& curve : plot.curves) labels.push_back(curve.label);
  EXPECT_THAT(labels, ElementsAre("a, interleave", "a, one round", "b, interleave", "b, one round",
                                  "routing recall@4", "BM25 recall@16"));
  EXPECT_EQ(plot.curves[1].colour, plot.curves[0].colour);
  EXPECT_NE(plot.curves[1].marker, plot.curves[0].marker);
  EXPECT_NE(plot.curves[2].colour, plot.curves[0].colour);
  ASSERT_EQ(plot.curves[0].points.size(), 2u);
  EXPECT_EQ(plot.curves[0].points[1].x, 4095);
  EXPECT_TRUE(plot.curves[4].dashed);
  ASSERT_EQ(plot.ticks.size(), 2u);
  EXPECT_EQ(plot.ticks[1].label, "4K");
}

TEST_F(Summaries, ManyKindsAreDrawnAsOne) {
  for (uint32_t i = 0; i < 10; ++i) {
    exam_.questions.push_back(exam_.questions[0]);
    exam_.questions.back().kind = "kind " + std::to_string(i);
    Outcome o;
    o.question = static_cast<uint32_t>(exam_.questions.size() - 1);
    report_.outcomes.push_back(o);
  }
  const Plot plot = report_plot(exam_, report_);
  ASSERT_EQ(plot.curves.size(), 3u);
  EXPECT_EQ(plot.curves[0].label, "interleave");
  EXPECT_EQ(plot.curves[1].label, "one round");
  EXPECT_NE(plot.curves[0].colour, plot.curves[1].colour);
}

TEST(ReportFiles, AreWrittenWholeOrNotAtAll) {
  TestFolder folder;
  ASSERT_TRUE(check_writable(folder / "new"));
  EXPECT_EQ(folder.entries(), 0u);
  folder.put("old", "content");
  ASSERT_TRUE(check_writable(folder / "old"));
  EXPECT_EQ(TestFolder::get(folder / "old"), "content");
  ASSERT_TRUE(write_file(folder / "old", "other"));
  EXPECT_EQ(TestFolder::get(folder / "old"), "other");
  const auto nowhere = check_writable(folder.path() / "none" / "file");
  ASSERT_FALSE(nowhere);
  EXPECT_THAT(nowhere.error().message, HasSubstr("none"));
  EXPECT_FALSE(check_writable(folder.path()));
  EXPECT_EQ(folder.entries(), 1u);
}

}  // namespace
}  // namespace msa::eval
