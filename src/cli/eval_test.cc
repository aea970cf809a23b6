// msa eval against the fake library: options, tables, failures.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "cli/app.h"
#include "cli/json_output.h"
#include "cli/testing/fake_msa.h"

namespace msa::cli {
namespace {

using msa::testing::fake;
using msa::testing::FakeLibrary;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class Eval : public ::testing::Test {
 protected:
  void SetUp() override {
    fake() = FakeLibrary();
    ::unsetenv("MSA_MODEL");
    folder_ = std::filesystem::path(::testing::TempDir()) /
              ("msa_cli_eval_" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
    samples_ = file("samples.jsonl",
                    R"({"documents":[{"text":"a","id":"A"},{"text":"b","id":"B"}],"questions":[)"
                    R"({"question":"one?","relevant":[0],"answer":"the right one","kind":"k1"},)"
                    R"({"question":"two?","relevant":[[1],[0]],"answer":"other","kind":"k2"}]})");
    fake().answer.text = "Right one.";
    fake().answer.routing.ranking = {{3, "A", 1}, {4, "B", 0.5f}};
    Round round;
    round.numbers = {3};
    round.routing = fake().answer.routing;
    fake().answer.rounds = {round};
    Citation citation;
    citation.number = 3;
    citation.id = "A";
    fake().answer.citations = {citation};
    fake().answer.timing.total_ms = 1500;
    fake().answer.finish = "stop";
    fake().bank_info.documents = 2;
    fake().bank_info.tokens = 1234;
    fake().model_info.top_k = 4;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string file(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return (folder_ / name).string();
  }
  std::string read(const std::string& name) const {
    std::ifstream in(folder_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  int eval(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"eval", "-m", "model"});
    return msa(std::move(arguments));
  }
  int msa(std::vector<std::string> arguments) {
    out_.clear();
    err_.clear();
    Output out(out_), err(err_);
    Console console(err, {});
    return static_cast<int>(run(arguments, out, {}, console));
  }
  void expect_failure(int code, int expected, const std::string& what) {
    EXPECT_EQ(code, expected) << err_;
    EXPECT_THAT(err_, HasSubstr("msa: "));
    EXPECT_THAT(err_, HasSubstr(what));
    EXPECT_EQ(out_, "");
  }

  std::filesystem::path folder_;
  std::string samples_, out_, err_;
};

TEST_F(Eval, PrintsATablePerKind) {
  EXPECT_EQ(eval({samples_, "--questions", "2"}), 0) << err_;
  EXPECT_THAT(fake().questions, ElementsAre("one?", "two?"));
  EXPECT_THAT(out_, HasSubstr("memory  mode        kind           n  right"));
  EXPECT_THAT(out_, HasSubstr("own     interleave  k1             1  100.0"));
  EXPECT_THAT(out_, HasSubstr("own     interleave  k2             1    0.0"));
  EXPECT_THAT(out_, HasSubstr("own     interleave  mean of kinds  2   50.0"));
  EXPECT_THAT(out_, HasSubstr("own     interleave  all            2   50.0"));
  EXPECT_THAT(out_, HasSubstr("own: 1 memory of up to 1,234 tokens, 2 documents"));
  EXPECT_THAT(err_, Not(HasSubstr("msa: ")));
}

TEST_F(Eval, JsonAndFiles) {
  const std::string out = (folder_ / "r.json").string(), plot = (folder_ / "p.svg").string();
  EXPECT_EQ(eval({samples_, "--questions", "2", "--json", "--out", out, "--plot", plot,
                  "--baseline", "bm25", "--seed", "5"}),
            0)
      << err_;
  const Json json = Json::parse(out_);
  EXPECT_EQ(json["settings"]["seed"], "5");
  EXPECT_EQ(json["top_k"], 4);
  EXPECT_EQ(json["results"].size(), 4u);
  EXPECT_EQ(json["results"][1]["route_k"], 1.0);
  EXPECT_EQ(json["results"][1]["routed_later"], 0.0);
  EXPECT_EQ(json["results"][0]["injected_first"], 1.0);
  EXPECT_EQ(json["results"][0]["total_ms_p50"], 1500.0);
  EXPECT_TRUE(json.contains("bm25"));
  EXPECT_FALSE(json.contains("answers"));
  EXPECT_EQ(Json::parse(read("r.json"))["answers"][0]["answer"], "Right one.");
  EXPECT_THAT(read("p.svg"), HasSubstr("</svg>"));
}

TEST_F(Eval, OptionsArrive) {
  EXPECT_EQ(eval({samples_, "--questions", "1", "--top-k", "9", "--max-tokens", "33",
                  "--passage-tokens", "77"}),
            0);
  EXPECT_EQ(fake().ask_options.top_k, 9u);
  EXPECT_EQ(fake().ask_options.max_tokens, 33u);
  EXPECT_EQ(fake().ask_options.max_rounds, AskOptions().max_rounds);
  EXPECT_TRUE(fake().ask_options.original_text);
  EXPECT_EQ(fake().encode_options.passage_tokens, 77u);
  EXPECT_EQ(eval({samples_, "--questions", "1", "--interleave", "off"}), 0);
  EXPECT_EQ(fake().ask_options.max_rounds, 1u);
  EXPECT_EQ(eval({samples_, "--questions", "1", "--original-text", "off"}), 0);
  EXPECT_FALSE(fake().ask_options.original_text);
}

TEST_F(Eval, SwitchesMakeModes) {
  const auto asked = [&](const std::string& interleave, const std::string& text) {
    fake().questions.clear();
    EXPECT_EQ(
        eval({samples_, "--questions", "1", "--interleave", interleave, "--original-text", text}),
        0);
    return fake().questions.size();
  };
  EXPECT_EQ(asked("on", "on"), 1u);
  EXPECT_EQ(asked("both", "on"), 2u);
  EXPECT_EQ(asked("both", "both"), 3u);  // without text there is one round anyway
  EXPECT_THAT(out_, HasSubstr("one round"));
  EXPECT_THAT(out_, HasSubstr("no text"));
  EXPECT_EQ(asked("both", "off"), 1u);
  EXPECT_EQ(asked("off", "both"), 2u);
}

TEST_F(Eval, FewerQuestionsThanAskedForAreSaid) {
  EXPECT_EQ(eval({samples_, "--questions", "50"}), 0);
  EXPECT_THAT(err_, HasSubstr("note: there are only 2 questions, not 50"));
}

TEST_F(Eval, RefusedQuestionsAreSaid) {
  fake().ask_error = Error{Code::invalid_argument, "the question is too long"};
  EXPECT_EQ(eval({samples_}), 0);
  EXPECT_THAT(err_, HasSubstr("warning: 2 questions could not be asked and count as wrong; "));
  EXPECT_THAT(err_, HasSubstr("samples.jsonl:1, question 1: the question is too long"));
}

TEST_F(Eval, AFailureOfTheMachineEndsItWithWhatIsDone) {
  fake().ask_error = Error{Code::io, "bank: cannot be read"};
  EXPECT_EQ(eval({samples_, "--out", (folder_ / "r.json").string()}), 5);
  EXPECT_THAT(err_, HasSubstr("msa: bank: cannot be read"));
  EXPECT_THAT(read("r.json"), HasSubstr("\"answers\""));
}

TEST_F(Eval, SizesThatAreTooSmallAreSkipped) {
  EXPECT_EQ(eval({samples_, "--tokens", "3"}), 2);
  EXPECT_THAT(out_, HasSubstr("3: skipped, the documents of any question alone are more than 3"));
  EXPECT_THAT(err_, HasSubstr("no memory size was large enough"));
}

TEST_F(Eval, WrongUsageIsFoundBeforeTheModelIsOpened) {
  expect_failure(eval({}), 2, "no questions given; pass --task NAME, or files of samples");
  expect_failure(eval({"--task", "needel"}), 2, "task 'needel'");
  expect_failure(eval({"--task", "needle", "--set", "x"}), 2, "'x' is not of the form KEY=VALUE");
  expect_failure(eval({"--task", "needle", "--set", "nonsense=1"}), 2, "nonsense");
  expect_failure(eval({samples_, "--set", "a=b"}), 2, "--set needs --task");
  expect_failure(eval({samples_, "--tokens", "16Q"}), 2, "'16Q' is no memory size");
  expect_failure(eval({samples_, "--questions", "0"}), 2, "'0' is not a whole number");
  expect_failure(eval({samples_, "--interleave", "maybe"}), 2, "not one of on, off, both");
  expect_failure(eval({samples_, "--split", "dev"}), 2, "not one of test, train");
  expect_failure(eval({samples_, "--baseline", "tfidf"}), 2, "not one of none, bm25");
  expect_failure(eval({samples_, "--out", (folder_ / "none" / "r.json").string()}), 3, "none");
  expect_failure(eval({samples_, "--plot", folder_.string()}), 2, "is a folder");
  expect_failure(eval({(folder_ / "missing.jsonl").string()}), 3, "missing.jsonl");
  expect_failure(eval({file("bad.jsonl", "{}\n")}), 4, "bad.jsonl:1");
  expect_failure(msa({"eval", samples_}), 2, "pass --model FOLDER or set MSA_MODEL");
  EXPECT_THAT(fake().calls, ::testing::IsEmpty());
}

TEST_F(Eval, HelpNamesTheTasks) {
  EXPECT_EQ(msa({"eval", "--help"}), 0);
  for (const char* text : {"needle:", "factbook:", "prose:", "Examples:"})
    EXPECT_THAT(out_, HasSubstr(text));
}

}  // namespace
}  // namespace msa::cli
