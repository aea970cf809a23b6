#include "eval/evaluate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>
#include <map>
#include <optional>

#include "base/test_folder.h"
#include "eval/test_exam.h"

namespace msa::eval {
namespace {

using Unit = MemorySize::Unit;
using ::testing::HasSubstr;

class Evaluate : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    models_ = new TestFolder;
    model_ = new Model(tiny_model(*models_ / "model"));
  }
  static void TearDownTestSuite() {
    delete model_;
    delete models_;
  }
  void SetUp() override {
    if (const char* old = ::getenv("TMPDIR")) old_tmpdir_ = old;
    ::setenv("TMPDIR", temporary_.path().c_str(), 1);
    exam_ = *exam_from_task(std::make_shared<TownTask>(), {6, 0, 1});
    options_.sizes = {{Unit::documents, 12}, {Unit::documents, 30}};
    options_.max_tokens = 12;
  }
  void TearDown() override {
    if (old_tmpdir_)
      ::setenv("TMPDIR", old_tmpdir_->c_str(), 1);
    else
      ::unsetenv("TMPDIR");
    EXPECT_EQ(temporary_.entries(), 0u) << "something was left behind";
  }
  EvalReport run(const EvalCallbacks& callbacks = {}, std::stop_token stop = {}) {
    EvalReport report;
    const auto done = evaluate(*model_, exam_, options_, callbacks, stop, report);
    EXPECT_TRUE(done) << done.error().message;
    return report;
  }

  static TestFolder* models_;
  static Model* model_;
  TestFolder temporary_;
  std::optional<std::string> old_tmpdir_;
  Exam exam_;
  EvalOptions options_;
};
TestFolder* Evaluate::models_ = nullptr;
Model* Evaluate::model_ = nullptr;

TEST_F(Evaluate, AsksEveryQuestionInEverySizeAndMode) {
  options_.modes = {{true, true}, {false, true}, {false, false}};
  options_.bm25 = true;
  std::map<EvalProgress::Doing, int> seen;
  int saved = 0;
  const EvalReport report = run({[&](const EvalProgress& now) {
                                   ++seen[now.doing];
                                   EXPECT_TRUE(now.all == 0 || now.done <= now.all);
                                 },
                                 [&](const EvalReport& so_far) -> Result<void> {
                                   EXPECT_EQ(so_far.outcomes.size(), 18u * ++saved);
                                   return {};
                                 }});
  EXPECT_FALSE(report.stopped);
  EXPECT_EQ(report.top_k, 2u);
  ASSERT_EQ(report.sizes.size(), 2u);
  EXPECT_EQ(saved, 2);
  EXPECT_EQ(seen.size(), 4u);
  for (uint32_t s = 0; s < 2; ++s) {
    const SizeReport& size = report.sizes[s];
    EXPECT_EQ(size.documents, options_.sizes[s].amount);
    EXPECT_EQ(size.memories, 1u);
    EXPECT_EQ(size.questions, 6u);
    EXPECT_EQ(size.rejected, 0u);
    EXPECT_EQ(size.encoded_tokens, size.tokens);
    EXPECT_GT(size.tokens, 10 * size.documents);
  }
  std::map<std::pair<uint32_t, uint32_t>, std::set<uint32_t>> asked;
  for (const Outcome& o : report.outcomes) {
    EXPECT_EQ(o.error, "");
    EXPECT_GT(o.total_ms, 0);
    EXPECT_GE(o.rounds, 1u);
    if (o.mode > 0) {
      EXPECT_EQ(o.rounds, 1u);
    }
    asked[{o.size, o.mode}].insert(o.question);
  }
  ASSERT_EQ(asked.size(), 6u);
  for (const auto& [at, questions] : asked) EXPECT_EQ(questions.size(), 6u);
  ASSERT_EQ(report.keyword.size(), 12u);
  for (const KeywordOutcome& k : report.keyword) EXPECT_EQ(k.in_16, 1) << k.question;
}

TEST_F(Evaluate, DocumentsAreKnownAgainWhenTheyAreRouted) {
  // As many documents are chosen as there are: all of the right ones among them, whether a document
  // is one passage or several.
  options_.sizes = {{}};
  options_.top_k = 1000;
  for (const size_t passage : {512u, 16u}) {
    options_.passage_tokens = passage;
    exam_.documents[1].text += std::string(passage == 16 ? 400 : 0, '.') + " and more words here";
    const EvalReport report = run();
    ASSERT_EQ(report.outcomes.size(), 6u);
    for (const Outcome& o : report.outcomes) {
      EXPECT_EQ(o.retrieval.route_k, 1);
      EXPECT_EQ(o.retrieval.routed, 1);
    }
  }
}

TEST_F(Evaluate, IsTheSameEveryTime) {
  options_.sizes = {{Unit::tokens, 400}};
  const EvalReport first = run(), second = run();
  ASSERT_EQ(first.outcomes.size(), second.outcomes.size());
  EXPECT_GT(first.sizes[0].memories, 0u);
  EXPECT_LE(first.sizes[0].tokens, 400u);
  for (size_t i = 0; i < first.outcomes.size(); ++i) {
    EXPECT_EQ(first.outcomes[i].answer, second.outcomes[i].answer);
    EXPECT_EQ(first.outcomes[i].retrieval.routed, second.outcomes[i].retrieval.routed);
  }
}

TEST_F(Evaluate, SamplesAreSpreadOverMemoriesThatHoldThem) {
  options_.sizes = {{Unit::documents, 2}, {Unit::documents, 4}, {Unit::tokens, 1'000}};
  const EvalReport report = run();
  ASSERT_EQ(report.sizes.size(), 3u);
  EXPECT_EQ(report.sizes[0].left_out, 6u);
  EXPECT_THAT(report.sizes[0].skipped, HasSubstr("more than 2docs"));
  EXPECT_EQ(report.sizes[1].memories, 3u);
  EXPECT_EQ(report.sizes[1].documents, 4u);
  EXPECT_EQ(report.sizes[2].memories, 1u);
  EXPECT_NEAR(static_cast<double>(report.sizes[2].tokens), 1000, 30);
  EXPECT_EQ(report.outcomes.size(), 12u);
}

TEST_F(Evaluate, KeptMemoriesAreFoundAgain) {
  TestFolder work;
  options_.work = work / "memories";
  const EvalReport first = run();
  const EvalReport second = run();
  EXPECT_GT(first.sizes[1].encoded_tokens, 0u);
  EXPECT_EQ(second.sizes[1].encoded_tokens, 0u);
  EXPECT_EQ(second.sizes[1].tokens, first.sizes[1].tokens);
  for (size_t i = 0; i < first.outcomes.size(); ++i)
    EXPECT_EQ(first.outcomes[i].answer, second.outcomes[i].answer);
  // Another order of documents is another memory.
  options_.seed = 2;
  EXPECT_GT(run().sizes[1].encoded_tokens, 0u);
}

TEST_F(Evaluate, AStopKeepsWhatIsDone) {
  std::stop_source before;
  before.request_stop();
  const EvalReport nothing = run({}, before.get_token());
  EXPECT_TRUE(nothing.stopped);
  EXPECT_TRUE(nothing.outcomes.empty());

  std::stop_source asking;
  const EvalReport some = run({[&](const EvalProgress& now) {
                                 if (now.doing == EvalProgress::Doing::asking && now.done == 4)
                                   asking.request_stop();
                               },
                               {}},
                              asking.get_token());
  EXPECT_TRUE(some.stopped);
  EXPECT_EQ(some.outcomes.size(), 4u);

  std::stop_source encoding;
  TestFolder work;
  options_.work = work / "memories";
  options_.sizes = {{Unit::documents, 2000}};
  const EvalReport none = run({[&](const EvalProgress& now) {
                                 if (now.doing == EvalProgress::Doing::encoding)
                                   encoding.request_stop();
                               },
                               {}},
                              encoding.get_token());
  EXPECT_TRUE(none.stopped);
  EXPECT_TRUE(none.outcomes.empty());
  const uint64_t done = none.sizes[0].encoded_tokens;
  EXPECT_GT(done, 0u);
  // Goes on where it was.
  const EvalReport rest = run();
  EXPECT_FALSE(rest.stopped);
  EXPECT_EQ(rest.sizes[0].encoded_tokens + done, rest.sizes[0].tokens);
}

TEST_F(Evaluate, AFailureKeepsWhatIsDone) {
  EvalReport report;
  const auto failed = evaluate(*model_, exam_, options_,
                               {{},
                                [](const EvalReport&) -> Result<void> {
                                  return Error{Code::no_space, "disk full"};
                                }},
                               {}, report);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Code::no_space);
  EXPECT_EQ(report.outcomes.size(), 6u);

  TestFolder folder;
  options_.work = folder.put("file", "not a folder");
  EvalReport other;
  EXPECT_FALSE(evaluate(*model_, exam_, options_, {}, {}, other));
}

TEST_F(Evaluate, AQuestionThatIsRefusedCountsAsWrong) {
  // Longer than the model's positions.
  const size_t positions = model_->info().max_positions;
  for (size_t i = 0; i < positions; ++i) exam_.questions[2].question += " word";
  options_.sizes = {{}};
  const EvalReport report = run();
  ASSERT_EQ(report.outcomes.size(), 6u);
  EXPECT_NE(report.outcomes[2].error, "");
  EXPECT_EQ(report.outcomes[2].score.accuracy, 0);
  EXPECT_EQ(report.outcomes[3].error, "");
}

}  // namespace
}  // namespace msa::eval
