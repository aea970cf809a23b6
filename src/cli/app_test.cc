// Whole commands against the fake library: what is parsed, printed and returned.
#include "cli/app.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "cli/json_output.h"
#include "cli/testing/fake_msa.h"

namespace msa::cli {
namespace {

using msa::testing::fake;
using msa::testing::FakeLibrary;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class App : public ::testing::Test {
 protected:
  void SetUp() override {
    fake() = FakeLibrary();
    for (const char* name : {"MSA_MODEL", "MSA_BANK"}) ::unsetenv(name);
    ::signal(SIGINT, SIG_DFL);
  }

  int msa(std::vector<std::string> arguments) {
    out_.clear();
    err_.clear();
    Output out(out_), err(err_);
    Console console(err, {});
    return static_cast<int>(run(arguments, out, terminal_, console));
  }
  // With a model and a bank.
  int msa_with(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"-m", "model", "-b", "bank"});
    return msa(std::move(arguments));
  }
  // The usual shape of a failure: nothing printed, one line that begins with "msa: ".
  void expect_failure(int code, int expected, const std::string& what) {
    EXPECT_EQ(code, expected) << err_;
    EXPECT_THAT(err_, StartsWith("msa: "));
    EXPECT_THAT(err_, HasSubstr(what));
    EXPECT_EQ(std::count(err_.begin(), err_.end(), '\n'), 1) << err_;
    EXPECT_EQ(out_, "");
  }
  std::string file(const std::string& text) {
    const auto path = std::filesystem::path(::testing::TempDir()) /
                      (std::string("msa_cli_") + std::to_string(::getpid()) + ".jsonl");
    std::ofstream(path, std::ios::binary) << text;
    return path.string();
  }

  Terminal terminal_;
  std::string out_, err_;
};

TEST_F(App, VersionAndHelp) {
  EXPECT_EQ(msa({"--version"}), 0);
  EXPECT_EQ(out_, "msa 1.2.3\n");
  EXPECT_EQ(msa({"--help"}), 0);
  EXPECT_THAT(out_, HasSubstr("Exit codes:"));
  EXPECT_THAT(out_, HasSubstr("encode"));
  for (const std::vector<std::string>& command :
       std::vector<std::vector<std::string>>{{"encode"},
                                             {"ask"},
                                             {"chat"},
                                             {"route"},
                                             {"tokenize"},
                                             {"bench"},
                                             {"plan"},
                                             {"memory"},
                                             {"memory", "info"},
                                             {"memory", "list"},
                                             {"memory", "show"},
                                             {"memory", "verify"},
                                             {"memory", "repair"},
                                             {"memory", "add"},
                                             {"memory", "update"},
                                             {"memory", "remove"},
                                             {"memory", "compact"},
                                             {"memory", "attach"},
                                             {"memory", "export"},
                                             {"memory", "import"},
                                             {"model"},
                                             {"model", "info"},
                                             {"model", "init"},
                                             {"model", "convert"}}) {
    std::vector<std::string> arguments = command;
    arguments.push_back("--help");
    EXPECT_EQ(msa(arguments), 0);
    EXPECT_THAT(out_, HasSubstr("Example")) << command.back();
    EXPECT_EQ(err_, "");
  }
}

TEST_F(App, WrongUsageIsOneHelpfulLine) {
  expect_failure(msa({}), 2, "no command given");
  expect_failure(msa({"aks", "x"}), 2, "unknown command 'aks'; did you mean 'ask'?");
  expect_failure(msa({"memory"}), 2, "info, list, show, verify, repair, add, update, remove");
  expect_failure(msa({"memory", "lsit"}), 2, "did you mean 'list'?; see 'msa memory --help'");
  expect_failure(msa({"ask", "x", "--tok-k", "3"}), 2,
                 "unknown option '--tok-k'; did you mean '--top-k'?; see 'msa ask --help'");
  expect_failure(msa({"ask", "x", "--thread=3"}), 2, "did you mean '--threads'?");
  expect_failure(msa({"ask", "x", "--top-k", "0"}), 2,
                 "--top-k: '0' is not a whole number from 1 to 100000");
  expect_failure(msa({"ask", "x", "--top-k", "many"}), 2, "'many' is not a whole number");
  expect_failure(msa({"ask", "x", "--top-k", "-1"}), 2, "'-1' is not a whole number");
  expect_failure(msa({"ask", "x", "--top-k", "99999999999999999999"}), 2, "not a whole number");
  expect_failure(msa({"ask", "x", "--top-p", "0"}), 2, "not a number above 0 and up to 1");
  expect_failure(msa({"ask", "x", "--temperature", "nan"}), 2, "'nan' is not a number from 0");
  expect_failure(msa({"ask", "x", "--retrieval", "bm25"}), 2, "not one of interleave, router");
  expect_failure(msa({"encode"}), 2, "PATH");
  expect_failure(msa({"encode", "x", "-b", "x", "-m", "y", "--shard", "4/4"}), 2, "from 0/N");
  expect_failure(msa({"memory", "attach", "x"}), 2, "OTHER");
  expect_failure(msa({"memory", "export", "x"}), 2, "no file given");
  expect_failure(msa({"memory", "import", "x"}), 2, "BANK");
  expect_failure(msa({"memory", "show", "-b", "x"}), 2, "no document given");
  expect_failure(msa({"ask", "-m", "x", "-b", "y"}), 2, "no question given");
}

TEST_F(App, ModelAndBankMustBeGiven) {
  expect_failure(msa({"ask", "x"}), 2, "no memory bank given; pass --bank FOLDER or set MSA_BANK");
  expect_failure(msa({"ask", "x", "-b", "b"}), 2, "pass --model FOLDER or set MSA_MODEL");
  EXPECT_TRUE(fake().calls.empty());
  ::setenv("MSA_MODEL", "from-environment", 1);
  ::setenv("MSA_BANK", "bank-from-environment", 1);
  EXPECT_EQ(msa({"ask", "x"}), 0);
  EXPECT_EQ(fake().model_path, "from-environment");
  EXPECT_EQ(fake().bank_path, "bank-from-environment");
  EXPECT_EQ(msa({"ask", "x", "--model", "given"}), 0);
  EXPECT_EQ(fake().model_path, "given");
}

TEST_F(App, EveryAskOptionArrives) {
  EXPECT_EQ(msa_with({"ask",
                      "two",
                      "words",
                      "--top-k",
                      "3",
                      "--retrieval",
                      "router",
                      "--router-documents",
                      "7",
                      "--no-constrain-numbers",
                      "--no-original-text",
                      "--max-rounds",
                      "2",
                      "--max-tokens",
                      "99",
                      "--temperature",
                      "0.5",
                      "--top-p",
                      "0.25",
                      "--seed",
                      "18446744073709551615",
                      "--threads",
                      "3",
                      "--precision",
                      "bf16",
                      "--similarity",
                      "cosine"}),
            0)
      << err_;
  const AskOptions& o = fake().ask_options;
  EXPECT_THAT(fake().questions, ElementsAre("two words"));
  EXPECT_EQ(o.top_k, 3u);
  EXPECT_EQ(o.retrieval, Retrieval::router);
  EXPECT_EQ(o.router_documents, 7u);
  EXPECT_FALSE(o.constrain_numbers);
  EXPECT_FALSE(o.original_text);
  EXPECT_EQ(o.max_rounds, 2u);
  EXPECT_EQ(o.max_tokens, 99u);
  EXPECT_EQ(o.temperature, 0.5f);
  EXPECT_EQ(o.top_p, 0.25f);
  EXPECT_EQ(o.seed, UINT64_MAX);
  EXPECT_EQ(fake().model_options.threads, 3);
  EXPECT_EQ(fake().model_options.precision, Precision::bf16);
  EXPECT_EQ(fake().model_options.similarity, Similarity::cosine);
}

TEST_F(App, AskDefaultsAreTheLibrarys) {
  EXPECT_EQ(msa_with({"ask", "x"}), 0);
  const AskOptions defaults;
  EXPECT_EQ(fake().ask_options.top_k, defaults.top_k);
  EXPECT_EQ(fake().ask_options.max_tokens, defaults.max_tokens);
  EXPECT_EQ(fake().ask_options.top_p, defaults.top_p);
  EXPECT_TRUE(fake().ask_options.constrain_numbers);
  EXPECT_TRUE(fake().ask_options.original_text);
  EXPECT_FALSE(fake().ask_options.seed);
}

TEST_F(App, HowKeysAreHeldArrives) {
  for (const char* command : {"ask", "route"}) {
    EXPECT_EQ(msa_with({command, "x"}), 0) << err_;
    EXPECT_EQ(fake().engine_options.keys, KeyTier::automatic);
    EXPECT_EQ(fake().engine_options.memory_limit, 0u);
    EXPECT_EQ(msa_with({command, "x", "--keys", "int8", "--memory-limit", "1.5G"}), 0) << err_;
    EXPECT_EQ(fake().engine_options.keys, KeyTier::int8);
    EXPECT_EQ(fake().engine_options.memory_limit, (uint64_t{3} << 30) / 2);
    EXPECT_EQ(msa_with({command, "x", "--keys", "int4"}), 0) << err_;
    EXPECT_EQ(fake().engine_options.keys, KeyTier::int4);
    EXPECT_EQ(msa_with({command, "x", "--keys", "bf16"}), 0) << err_;
    EXPECT_EQ(fake().engine_options.keys, KeyTier::full);
  }
  expect_failure(msa_with({"ask", "x", "--keys", "int2"}), 2,
                 "'int2' is not one of auto, bf16, int8, int4");
  fake().calls.clear();
  for (const char* size : {"0", "16X", "99999999T", "much"})
    expect_failure(msa_with({"ask", "x", "--memory-limit", size}), 2, "--memory-limit");
  EXPECT_TRUE(fake().calls.empty());  // said before anything is opened
  fake().engine_error = Error{Code::no_space, "bank: the routing keys take 3 GB even as int4"};
  expect_failure(msa_with({"ask", "x", "--memory-limit", "1G"}), 5, "3 GB even as int4");
  fake().engine_error.reset();
  fake().engine_info = {"int8", 3u << 20};
  EXPECT_EQ(msa_with({"ask", "x", "-v"}), 0) << err_;
  EXPECT_THAT(err_, HasSubstr("routing keys: 3.0 MiB as int8"));
  EXPECT_THAT(err_, HasSubstr("pooled keys and values: mapped"));
}

TEST_F(App, WhereContentIsHeldArrives) {
  for (const char* command : {"ask", "route"}) {
    EXPECT_EQ(msa_with({command, "x"}), 0) << err_;
    EXPECT_EQ(fake().engine_options.content, ContentTier::mapped);
    EXPECT_EQ(msa_with({command, "x", "--content-tier", "held"}), 0) << err_;
    EXPECT_EQ(fake().engine_options.content, ContentTier::held);
    EXPECT_EQ(msa_with({command, "x", "--content-tier", "mapped"}), 0) << err_;
    EXPECT_EQ(fake().engine_options.content, ContentTier::mapped);
  }
  expect_failure(msa_with({"ask", "x", "--content-tier", "ram"}), 2,
                 "'ram' is not one of mapped, held");
  fake().engine_info.content = ContentTier::held;
  fake().engine_info.content_bytes = 5u << 20;
  EXPECT_EQ(msa_with({"route", "x", "-v"}), 0) << err_;
  EXPECT_THAT(err_, HasSubstr("pooled keys and values: 5.0 MiB, held in memory"));
}

TEST_F(App, HowDocumentsAreFoundArrives) {
  for (const char* command : {"ask", "route"}) {
    EXPECT_EQ(msa_with({command, "x"}), 0) << err_;
    EXPECT_EQ(fake().engine_options.routing, RoutingMode::exact);
    EXPECT_EQ(msa_with({command, "x", "--routing", "approximate"}), 0) << err_;
    EXPECT_EQ(fake().engine_options.routing, RoutingMode::approximate);
  }
  expect_failure(msa_with({"ask", "x", "--routing", "fast"}), 2,
                 "'fast' is not one of exact, approximate");
  fake().engine_error = Error{Code::unsupported, "approximate routing: this build has no FAISS"};
  expect_failure(msa_with({"ask", "x", "--routing", "approximate"}), 4, "has no FAISS");
  fake().engine_error.reset();
  fake().engine_info = {"BF16", 3u << 20, 2u << 20};
  EXPECT_EQ(msa_with({"ask", "x", "-v"}), 0) << err_;
  EXPECT_THAT(err_, HasSubstr("index: 2.0 MiB"));
}

TEST_F(App, IndexIsBuiltAsAskedFor) {
  IndexReport& index = fake().index;
  index.lists = 1000, index.documents = 12'000, index.chunks = 62'500, index.left_out = 7;
  index.questions = 100, index.question_tokens = 4, index.recall = 0.9912;
  index.question_bytes = 5 << 20, index.exact_bytes = 120 << 20, index.bytes = 70 << 20;
  index.build_seconds = 3, index.measure_seconds = 0.5;
  index.layers = {{18, 9, 4, 0.9912, 5 << 20, 120 << 20, 70 << 20}};
  EXPECT_EQ(msa({"memory", "index", "--bank", "b"}), 0) << err_;
  EXPECT_EQ(fake().bank_path, "b");
  EXPECT_EQ(fake().index_options.type, IndexType::ivf);
  EXPECT_EQ(fake().index_options.lists, 0u);
  EXPECT_EQ(fake().index_options.recall, 0.98);
  EXPECT_FALSE(fake().index_options.model);
  EXPECT_THAT(out_, HasSubstr("   18       9          64     99.12%       5.0 MiB     120.0 MiB   "
                              "24.0\n"));
  EXPECT_THAT(out_, HasSubstr("50 questions of 4.0 routing tokens (keys of the bank with noise)"));
  EXPECT_THAT(out_, HasSubstr("12,000 documents, 62,500 chunks in 1,000 lists per layer"));
  EXPECT_THAT(out_, HasSubstr("left out: 7 chunks"));

  EXPECT_EQ(msa({"memory", "index", "-b", "b", "--type", "ivfpq", "--lists", "12", "--recall",
                 "0.995", "--seed", "9", "--threads", "3", "--json"}),
            0)
      << err_;
  EXPECT_EQ(fake().index_options.type, IndexType::ivfpq);
  EXPECT_EQ(fake().index_options.lists, 12u);
  EXPECT_EQ(fake().index_options.recall, 0.995);
  EXPECT_EQ(fake().index_options.seed, 9u);
  EXPECT_EQ(fake().index_options.threads, 3);
  const Json json = Json::parse(out_);
  EXPECT_EQ(json["type"], "ivfpq");
  EXPECT_EQ(json["layers"][0]["probes"], 9);
  EXPECT_EQ(json["real_questions"], false);
  EXPECT_THAT(err_, HasSubstr("note: recall is below the 99.50% asked for"));

  expect_failure(msa({"memory", "index", "-b", "b", "--type", "hnsw"}), 2,
                 "'hnsw' is not one of ivf, ivfpq");
  for (const char* recall : {"0", "1.1", "nan", "x"})
    expect_failure(msa({"memory", "index", "-b", "b", "--recall", recall}), 2, recall);
  expect_failure(msa({"memory", "index", "-b", "b", "--lists", "0"}), 2, "'0'");
  expect_failure(msa({"memory", "index"}), 2, "no memory bank given");
  expect_failure(msa({"memory", "index", "-b", "b", "--questions", "q.jsonl"}), 2,
                 "no model given");
  fake().change_error = Error{Code::busy, "b/index: someone else is writing"};
  expect_failure(msa({"memory", "index", "-b", "b"}), 6, "someone else");
}

TEST_F(App, IndexIsMeasuredWithQuestions) {
  const auto index_with = [&](const std::string& questions) {
    return msa_with({"memory", "index", "--questions", file(questions)});
  };
  EXPECT_EQ(index_with(R"({"id":1,"question":"Who?"})"
                       "\n\n"
                       R"({"id":"b","question":"When?"})"),
            0)
      << err_;
  EXPECT_THAT(fake().index_options.questions, ElementsAre("Who?", "When?"));
  EXPECT_TRUE(fake().index_options.model);
  expect_failure(index_with("\n \n"), 2, "holds no question");
  expect_failure(index_with(R"({"id":1,"question":"Who?"})"
                            "\n"
                            R"({"id":2})"),
                 2, ".jsonl:2: has no \"question\"");
  expect_failure(msa_with({"memory", "index", "--questions", "/nowhere/q.jsonl"}), 3,
                 "/nowhere/q.jsonl: cannot be opened");
}

TEST_F(App, QuestionsMayLookLikeAnything) {
  for (const std::string question : {"[4]", "a,b", "{x}", "%s", "=", "what's up?", "-q", ""}) {
    fake() = FakeLibrary();
    msa_with({"ask", "--question", question});
    EXPECT_THAT(fake().questions, ElementsAre(question)) << err_;
  }
  msa({"ask", "-m", "m", "-b", "b", "--", "--help"});
  EXPECT_EQ(fake().questions.back(), "--help");
}

TEST_F(App, AnEmptyQuestionIsTheLibrarysError) {
  expect_failure(msa_with({"ask", ""}), 2, "the question is empty");
  expect_failure(msa_with({"route", "-q", ""}), 2, "the question is empty");
}

TEST_F(App, AskStreamsAndCites) {
  fake().pieces = {" ", "Emily ", "Roeb\x1bling"};
  fake().answer.text = "Emily Roebling";
  fake().answer.citations = {{4, "doc", "Bridge", "a.md", "line 1\nline 2", 10, 24}};
  EXPECT_EQ(msa_with({"ask", "x"}), 0);
  EXPECT_EQ(out_,
            "Emily Roeb\uFFFDling\n\n[4] Bridge\n    a.md, characters 10 to 24\n"
            "    > line 1\n    > line 2\n");
  EXPECT_EQ(err_, "");
  fake().pieces.clear();
  msa_with({"ask", "x"});
  EXPECT_THAT(out_, StartsWith("Emily Roebling\n")) << "printed even if it was not streamed";
}

TEST_F(App, AskJsonIsOneObject) {
  fake().answer.text = "x";
  fake().answer.finish = "stop";
  EXPECT_EQ(msa_with({"ask", "x", "--json"}), 0);
  EXPECT_EQ(std::count(out_.begin(), out_.end(), '\n'), 1);
  EXPECT_EQ(Json::parse(out_)["finish"], "stop");
}

TEST_F(App, ACutAnswerIsSaidToBe) {
  fake().answer.finish = "length";
  EXPECT_EQ(msa_with({"ask", "x", "--max-tokens", "5"}), 0);
  EXPECT_THAT(err_, HasSubstr("note: the answer was cut off"));
  EXPECT_THAT(err_, HasSubstr("now 5"));
}

TEST_F(App, CtrlCStopsAnAnswer) {
  fake().answer.text = "so far";
  fake().during_ask = [](std::stop_token stop) {
    ::raise(SIGINT);
    for (int i = 0; i < 5000 && !stop.stop_requested(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  };
  EXPECT_EQ(msa_with({"ask", "x"}), 130);
  EXPECT_EQ(out_, "so far\n");
  EXPECT_THAT(err_, HasSubstr("msa: ask: stopped"));
}

TEST_F(App, RandomWeightsAreMentionedOnce) {
  fake().model_info.random_weights = true;
  for (const char* command : {"ask", "route", "encode"}) {
    msa_with({command, "x"});
    EXPECT_EQ(std::count(err_.begin(), err_.end(), '\n'), 1) << err_;
    EXPECT_THAT(err_, StartsWith("note: "));
    EXPECT_THAT(err_, HasSubstr("random"));
  }
}

TEST_F(App, QuestionsOfAFile) {
  fake().answer.text = "yes";
  const std::string path = file(
      "\xEF\xBB\xBF{\"id\":\"a\",\"question\":\"one\"}\r\n"
      "\n"
      "not json\n"
      "[1]\n"
      "{\"question\":\"no id\"}\n"
      "{\"id\":7}\n"
      "{\"id\":8,\"question\":\"\"}\n"
      "{\"id\":9,\"question\":\"" +
      std::string(5 << 20, 'x') +
      "\"}\n"
      "{\"id\":10,\"question\":\"last\"}");
  EXPECT_EQ(msa_with({"ask", "--questions", path}), 7);
  EXPECT_THAT(fake().questions, ElementsAre("one", "", "last"));
  EXPECT_THAT(out_, StartsWith("{\"id\":\"a\",\"answer\":\"yes\""));
  EXPECT_THAT(out_, HasSubstr("\n{\"id\":10,\"answer\":\"yes\""));
  EXPECT_EQ(std::count(out_.begin(), out_.end(), '\n'), 2);
  for (const char* line : {":3: is not valid JSON", ":4: is no JSON object", ":5: has no \"id\"",
                           ":6: has no \"question\"", ":7: the question is empty", ":8: the line"})
    EXPECT_THAT(err_, HasSubstr("msa: " + path + line));
  EXPECT_EQ(msa_with({"route", "--questions", file("{\"id\":1,\"question\":\"q\"}\n")}), 0);
  EXPECT_THAT(out_, StartsWith("{\"id\":1,\"layers\":[]"));
  expect_failure(msa_with({"ask", "--questions", path + ".missing"}), 3, "cannot be opened");
  EXPECT_EQ(msa_with({"ask", "x", "--questions", path}), 2);
  std::filesystem::remove(path);
}

TEST_F(App, RouteWithTitles) {
  fake().documents = {{4, "doc", "The\tBridge", "", "", 0, 0, 0, 0}};
  fake().routing.layers = {{18, {{4, "doc", 0.5f}, {9, "gone", 0.25f}}}, {19, {}}};
  fake().routing.ranking = {{4, "doc", 1.0f}};
  EXPECT_EQ(msa_with({"route", "x", "--top-k", "2"}), 0);
  EXPECT_EQ(fake().top_k, 2u);
  EXPECT_EQ(out_,
            "layer 18\n    0.5000  [4]      The Bridge\n    0.2500  [9]      gone\n"
            "layer 19\n  no document\n"
            "all layers\n    1.0000  [4]      The Bridge\n");
}

TEST_F(App, EncodeReports) {
  fake().report.documents = 2, fake().report.passages = 3, fake().report.tokens = 1500;
  fake().report.already_there = 1;
  fake().report.input.empty = 1, fake().report.input.bad = 1;
  fake().report.input.replaced_utf8 = 4;
  fake().problems.assign(12, {"a.jsonl:17", "no \"text\" field"});
  EXPECT_EQ(
      msa_with({"encode", "a.jsonl", "notes", "--passage-tokens", "256", "--segment-mib", "2"}), 0);
  EXPECT_EQ(fake().encode_options.passage_tokens, 256u);
  EXPECT_EQ(fake().encode_options.segment_bytes, 2u << 20);
  EXPECT_EQ(fake().bank_options.content, ContentType::automatic);
  EXPECT_THAT(fake().document_paths, ElementsAre("a.jsonl", "notes"));
  EXPECT_THAT(out_, HasSubstr("encoded 3 passages (1,500 tokens, 0 chunks) of 2 documents in "));
  EXPECT_THAT(out_, HasSubstr("already in the bank: 1 passage\n"));
  EXPECT_THAT(out_, HasSubstr("left out: 1 empty, 1 unreadable, 0 rejected\n"));
  EXPECT_THAT(out_, HasSubstr("4 invalid UTF-8 sequences"));
  EXPECT_THAT(err_, HasSubstr("warning: a.jsonl:17: no \"text\" field\n"));
  EXPECT_THAT(err_, HasSubstr("warning: 2 more problems; -v shows them all\n"));
  EXPECT_EQ(std::count(err_.begin(), err_.end(), '\n'), 11);
  msa_with({"encode", "-v", "a.jsonl"});
  EXPECT_EQ(std::count(err_.begin(), err_.end(), '\n'), 12);
}

TEST_F(App, EncodeExitCodes) {
  fake().report.passages = 1, fake().report.rejected = 1;
  EXPECT_EQ(msa_with({"encode", "x"}), 0);
  EXPECT_EQ(msa_with({"encode", "x", "--strict"}), 7);
  fake().report.passages = 0;
  EXPECT_EQ(msa_with({"encode", "x"}), 7);
  EXPECT_THAT(err_, HasSubstr("msa: encode: 1 document could not be encoded"));
  fake().report.rejected = 0;
  EXPECT_EQ(msa_with({"encode", "x"}), 0);
  fake().encode_error = Error{Code::no_space, "bank: disk full"};
  expect_failure(msa_with({"encode", "x"}), 5, "bank: disk full");
  fake().bank_error = Error{Code::busy, "bank: in use"};
  expect_failure(msa_with({"encode", "x"}), 6, "bank: in use");
  fake().model_error = Error{Code::corrupt, "model.safetensors: broken"};
  expect_failure(msa_with({"encode", "x"}), 4, "model.safetensors: broken");
}

TEST_F(App, AStoppedEncodeSaysHowToGoOn) {
  fake().report.passages = 5;
  fake().during_encode = [](std::stop_token stop) {
    ::raise(SIGINT);
    for (int i = 0; i < 5000 && !stop.stop_requested(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  };
  EXPECT_EQ(msa_with({"encode", "x", "--json"}), 130);
  EXPECT_EQ(Json::parse(out_)["stopped"], true);
  EXPECT_THAT(err_, HasSubstr("msa: encode: stopped after 5 passages, which are committed to bank; "
                              "run the same command again to go on\n"));
}

TEST_F(App, MemoryListPagesAndStaysJson) {
  for (uint32_t i = 0; i < 2500; ++i)
    fake().documents.push_back({i * 2, "id" + std::to_string(i), "t", "", "", 0, 0, 1, 1});
  EXPECT_EQ(msa({"memory", "list", "-b", "x", "--json"}), 0);
  EXPECT_EQ(Json::parse(out_)["documents"].size(), 2500u);
  EXPECT_EQ(Json::parse(out_)["documents"][2499]["number"], 4998);
  EXPECT_EQ(msa({"memory", "list", "-b", "x", "--first", "3", "--limit", "2", "--json"}), 0);
  EXPECT_EQ(Json::parse(out_)["documents"].size(), 2u);
  EXPECT_EQ(Json::parse(out_)["documents"][0]["number"], 4);
  fake().documents = {{UINT32_MAX, "last", "", "", "", 0, 0, 1, 1}};
  EXPECT_EQ(msa({"memory", "list", "-b", "x"}), 0);
  EXPECT_THAT(out_, HasSubstr("4294967295"));
}

TEST_F(App, MemoryShow) {
  fake().documents = {{4, "doc", "Bridge", "a.md", "text", 0, 4, 2, 1}};
  EXPECT_EQ(msa({"memory", "show", "4", "-b", "x"}), 0);
  EXPECT_THAT(out_, HasSubstr("title    Bridge\n"));
  EXPECT_THAT(out_, HasSubstr("\n\ntext\n"));
  EXPECT_EQ(msa({"memory", "show", "--id", "doc", "-b", "x", "--json"}), 0);
  EXPECT_EQ(Json::parse(out_)["text"], "text");
  expect_failure(msa({"memory", "show", "5", "-b", "x"}), 3, "no document 5");
  expect_failure(msa({"memory", "show", "five", "-b", "x"}), 2, "'five' is not a whole number");
}

TEST_F(App, VerifyFailsIfAnythingIsWrong) {
  fake().verify.segments = 1;
  EXPECT_EQ(msa({"memory", "verify", "-b", "x"}), 0);
  EXPECT_THAT(out_, HasSubstr("1 segment, 0 documents, 0 B read: no problem"));
  EXPECT_TRUE(fake().verify_can_stop);
  fake().verify.problems = {"segments/1: checksum differs"};
  EXPECT_EQ(msa({"memory", "verify", "-b", "x"}), 4);
  EXPECT_THAT(out_, HasSubstr("segments/1: checksum differs\n"));
  EXPECT_THAT(err_, HasSubstr("msa: x: verify found 1 problem"));
  EXPECT_EQ(msa({"memory", "verify", "-b", "x", "--json"}), 4);
  EXPECT_EQ(Json::parse(out_)["ok"], false);
}

TEST_F(App, MemoryRepair) {
  EXPECT_EQ(msa({"memory", "repair", "-b", "x", "--dry-run"}), 0);
  EXPECT_EQ(out_, "nothing is damaged\n");
  EXPECT_THAT(fake().calls, Not(::testing::Contains("Model::open")));
  EXPECT_EQ(msa({"memory", "repair", "-b", "x", "-m", "m", "--drop-lost"}), 0);
  EXPECT_EQ(out_, "nothing is damaged\n");
  EXPECT_TRUE(fake().repair_options.drop_lost);

  DamageReport damage;
  damage.problems = {"00000002.seg: is missing"};
  damage.segments = {"00000002.seg"};
  for (int i = 0; i < 30; ++i) damage.lost.push_back({i, "doc-" + std::to_string(i)});
  damage.beyond_repair = {{77, "gone"}};
  fake().damage = fake().repair.damage = damage;
  EXPECT_EQ(msa({"memory", "repair", "-b", "x", "--dry-run"}), 0);
  EXPECT_THAT(out_, HasSubstr("damaged segment: 00000002.seg\n"));
  EXPECT_THAT(out_, HasSubstr("lost with them: 30 documents\n"));
  EXPECT_THAT(out_, HasSubstr("19  doc-19\n  and 10 more; -v shows them all\n"));
  EXPECT_THAT(out_, HasSubstr("77  gone\n"));
  EXPECT_THAT(out_, HasSubstr("would encode 30 documents again; nothing was changed\n"));
  EXPECT_EQ(msa({"memory", "repair", "-b", "x", "--dry-run", "-v"}), 0);
  EXPECT_THAT(out_, HasSubstr("29  doc-29\n"));

  fake().repair.documents = 30, fake().repair.tokens = 900, fake().repair.dropped = 1;
  EXPECT_EQ(msa({"memory", "repair", "-b", "x", "-m", "m"}), 0);
  EXPECT_THAT(out_, HasSubstr("encoded 30 documents again (900 tokens)\n"));
  EXPECT_THAT(out_, HasSubstr("took 1 document out of the bank\n"));
  EXPECT_EQ(msa({"memory", "repair", "-b", "x", "-m", "m", "--json"}), 0);
  EXPECT_EQ(Json::parse(out_)["documents"], 30);
  EXPECT_EQ(Json::parse(out_)["damage"]["beyond_repair"][0]["id"], "gone");

  fake().repair.left = {"notes.txt: no record"};
  // What was repaired is told, and then what was not.
  EXPECT_EQ(msa({"memory", "repair", "-b", "x", "-m", "m"}), 4);
  EXPECT_THAT(out_, HasSubstr("encoded 30 documents again"));
  EXPECT_THAT(err_, HasSubstr("msa: x: 1 problem is left"));
  expect_failure(msa({"memory", "repair", "-b", "x"}), 2, "--model");
  fake().change_error = Error{Code::mismatch, "x: was made with another model"};
  expect_failure(msa({"memory", "repair", "-b", "x", "-m", "m"}), 4, "another model");
}

TEST_F(App, MemoryRemove) {
  fake().removal.documents = 2, fake().removal.names = 3;
  EXPECT_EQ(msa({"memory", "remove", "4", "17", "--id", "a.md", "--id", "b.md", "-b", "x"}), 0);
  EXPECT_THAT(fake().removed_numbers, ElementsAre(4u, 17u));
  EXPECT_THAT(fake().removed_ids, ElementsAre("a.md", "b.md"));
  EXPECT_THAT(out_, HasSubstr("removed 2 documents (3 ids)\n"));
  EXPECT_THAT(out_, HasSubstr("no chunk of removed ones"));
  fake().bank_info.dead_chunks = 5;
  EXPECT_EQ(msa({"memory", "remove", "4", "-b", "x"}), 0);
  EXPECT_THAT(out_, HasSubstr("5 chunks of removed ones, which `msa memory compact` takes out"));
  EXPECT_EQ(msa({"memory", "remove", "4", "-b", "x", "--json"}), 0);
  EXPECT_EQ(Json::parse(out_)["ids"], 3);
  EXPECT_EQ(Json::parse(out_)["bank"]["dead_chunks"], 5);
  expect_failure(msa({"memory", "remove", "-b", "x"}), 2, "no document given");
  expect_failure(msa({"memory", "remove", "five", "-b", "x"}), 2, "'five' is not a whole number");
  fake().change_error = Error{Code::not_found, "x: there is no document 9"};
  expect_failure(msa({"memory", "remove", "9", "-b", "x"}), 3, "there is no document 9");
}

TEST_F(App, MemoryCompact) {
  fake().compaction.segments_before = 3, fake().compaction.segments_after = 1;
  fake().compaction.removed_chunks = 12, fake().compaction.bytes_before = 4096;
  EXPECT_EQ(msa({"memory", "compact", "-b", "x", "--segment-mib", "64"}), 0);
  EXPECT_EQ(fake().compact_options.segment_bytes, 64u << 20);
  EXPECT_THAT(out_, HasSubstr("12 chunks of removed documents taken out; 3 segments, 4.0 KiB"));
  EXPECT_EQ(msa({"memory", "compact", "-b", "x", "--json"}), 0);
  EXPECT_EQ(Json::parse(out_)["removed_chunks"], 12);
  fake().compaction.stopped = true;
  EXPECT_EQ(msa({"memory", "compact", "-b", "x"}), 130);
  fake().change_error = Error{Code::busy, "x: in use"};
  expect_failure(msa({"memory", "compact", "-b", "x"}), 6, "x: in use");
}

TEST_F(App, ContentIsStoredAsAskedFor) {
  fake().report.passages = 1;
  const std::pair<const char*, ContentType> types[] = {{"auto", ContentType::automatic},
                                                       {"f32", ContentType::f32},
                                                       {"bf16", ContentType::bf16},
                                                       {"int8", ContentType::int8}};
  for (const auto& [name, type] : types) {
    EXPECT_EQ(msa_with({"encode", "x", "--content", name}), 0);
    EXPECT_EQ(fake().bank_options.content, type) << name;
  }
  EXPECT_EQ(msa_with({"memory", "add", "x"}), 0);
  EXPECT_EQ(fake().bank_options.content, ContentType::automatic);
  EXPECT_EQ(msa_with({"memory", "update", "x", "--content", "int8"}), 0);
  EXPECT_EQ(fake().bank_options.content, ContentType::int8);
  expect_failure(msa_with({"encode", "x", "--content", "int4"}), 2, "'int4' is not one of auto");
  fake().bank_info.dtype = "BF16", fake().bank_info.content = "int8";
  EXPECT_EQ(msa({"memory", "info", "-b", "x"}), 0);
  EXPECT_THAT(out_, HasSubstr("BF16, keys and values int8"));
  EXPECT_EQ(msa({"memory", "info", "-b", "x", "--json"}), 0);
  EXPECT_EQ(Json::parse(out_)["content"], "int8");
}

TEST_F(App, MemoryAddAndUpdateNeedABank) {
  fake().report.passages = 1;
  EXPECT_EQ(msa_with({"memory", "add", "a.md"}), 0);
  EXPECT_FALSE(fake().encode_options.replace);
  fake().report.replaced = 2, fake().report.duplicates = 1;
  EXPECT_EQ(msa_with({"memory", "update", "a.md"}), 0);
  EXPECT_TRUE(fake().encode_options.replace);
  EXPECT_THAT(out_, HasSubstr("replaced: 2 old passages\n"));
  EXPECT_THAT(out_, HasSubstr("not encoded again: 1 passage whose text"));
  fake().calls.clear();
  fake().bank_error = Error{Code::not_found, "bank: there is no such folder"};
  expect_failure(msa_with({"memory", "update", "a.md"}), 3, "no such folder");
  EXPECT_THAT(fake().calls, ElementsAre("Bank::open"));
}

TEST_F(App, ModelInit) {
  EXPECT_EQ(msa({"model", "init", "out", "--tokenizer", "tok.json", "--shape", "tiny", "--layers",
                 "6", "--router-layers", "2,4-5", "--untied", "--dtype", "f32", "--vocabulary",
                 "512", "--seed", "9"}),
            0)
      << err_;
  EXPECT_EQ(fake().model_path, "out");
  EXPECT_EQ(fake().tokenizer_path, "tok.json");
  EXPECT_EQ(fake().init_seed, 9u);
  EXPECT_EQ(fake().shape.layers, 6u);
  EXPECT_EQ(fake().shape.hidden, 64u);
  EXPECT_EQ(fake().shape.vocabulary, 512u);
  EXPECT_THAT(fake().shape.router_layers, ElementsAre(2, 4, 5));
  EXPECT_FALSE(fake().shape.tied_embeddings);
  EXPECT_EQ(fake().shape.precision, Precision::f32);
  expect_failure(
      msa({"model", "init", "out", "--tokenizer", "t", "--layers", "2", "--hidden", "4"}), 2,
      "--feed-forward, --query-heads, --kv-heads, --head-dim missing");
  expect_failure(msa({"model", "init", "out", "--tokenizer", "t", "--shape", "huge"}), 2,
                 "'huge' is not one of tiny");
  for (const char* layers : {"x", "1,", "5-2", "-1", "1-999999999"})
    expect_failure(msa({"model", "init", "out", "--tokenizer", "t", "--shape", "tiny",
                        "--router-layers", layers}),
                   2, "neither a layer nor a range");
  expect_failure(msa({"model", "init", "out", "--shape", "tiny"}), 2, "--tokenizer");
}

TEST_F(App, ModelConvert) {
  EXPECT_EQ(msa({"model", "convert", "qwen", "out"}), 0) << err_;
  EXPECT_EQ(fake().convert_source, "qwen");
  EXPECT_EQ(fake().model_path, "out");
  EXPECT_EQ(fake().convert_options.router, RouterStart::random);
  EXPECT_THAT(fake().convert_options.router_layers, ElementsAre());
  EXPECT_EQ(fake().convert_options.chunk_size, 64u);
  EXPECT_EQ(fake().convert_options.top_k, 16u);
  EXPECT_EQ(fake().convert_options.seed, 0u);
  EXPECT_THAT(err_, HasSubstr("out: the model of qwen with a router that is not trained"));

  EXPECT_EQ(msa({"model", "convert", "qwen", "out", "--router", "copy", "--router-layers",
                 "18,20-22", "--chunk-size", "32", "--top-k", "8", "--seed", "3"}),
            0)
      << err_;
  EXPECT_EQ(fake().convert_options.router, RouterStart::copy);
  EXPECT_THAT(fake().convert_options.router_layers, ElementsAre(18, 20, 21, 22));
  EXPECT_EQ(fake().convert_options.chunk_size, 32u);
  EXPECT_EQ(fake().convert_options.top_k, 8u);
  EXPECT_EQ(fake().convert_options.seed, 3u);

  expect_failure(msa({"model", "convert", "qwen"}), 2, "FOLDER");
  expect_failure(msa({"model", "convert", "a", "b", "--router", "zero"}), 2, "'zero'");
  expect_failure(msa({"model", "convert", "a", "b", "--router-layers", "top"}), 2,
                 "neither a layer nor a range");
  expect_failure(msa({"model", "convert", "a", "b", "--chunk-size", "0"}), 2, "--chunk-size");
  expect_failure(msa({"model", "convert", "a", "b", "--top-k", "many"}), 2, "'many'");
  fake().convert_error = Error{Code::corrupt, "qwen/config.json: is bad; correct it"};
  EXPECT_EQ(msa({"model", "convert", "qwen", "out"}), 4);
  EXPECT_EQ(err_, "converting: 25%, 1 B of 4 B\nmsa: qwen/config.json: is bad; correct it\n");

  fake().during_convert = [](std::stop_token stop) {
    ::raise(SIGINT);
    for (int i = 0; i < 5000 && !stop.stop_requested(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    fake().convert_error = Error{Code::cancelled, "stopped; convert it again"};
  };
  EXPECT_EQ(msa({"model", "convert", "qwen", "out"}), 130);
}

TEST_F(App, Tokenize) {
  EXPECT_EQ(msa({"tokenize", "A B", "--model", "m", "--ids"}), 0);
  EXPECT_EQ(fake().tokenizer_path, "m/tokenizer.json");
  EXPECT_EQ(out_, "65 32 66\n");
  EXPECT_EQ(msa({"tokenize", "A\n", "--tokenizer", "t.json", "--pieces"}), 0);
  EXPECT_EQ(fake().tokenizer_path, "t.json");
  EXPECT_EQ(out_, "\"A\"\n\"\\n\"\n");
  EXPECT_EQ(msa({"tokenize", "é", "--tokenizer", "t.json", "--json"}), 0);
  EXPECT_EQ(out_, "{\"count\":2,\"ids\":[195,169],\"pieces\":[\"\uFFFD\",\"\uFFFD\"]}\n");
  expect_failure(msa({"tokenize", "x"}), 2, "no tokenizer given");
}

TEST_F(App, BenchTable) {
  fake().bench.machine = "machine";
  fake().bench.figures = {{"encode", "tokens/s", 1234.4, "matrix product rate", 2000, 0.617, ""},
                          {"load", "s", 0.5, "", 0, 0, "cold"}};
  EXPECT_EQ(msa_with({"bench", "--route-chunks", "10"}), 2) << "bench has no bank";
  EXPECT_EQ(msa({"bench", "-m", "model", "--only", "encode,route", "--route-chunks", "10"}), 0);
  EXPECT_THAT(fake().calls, ElementsAre("Model::open", "benchmark"));
  EXPECT_FALSE(fake().bench_options.generate);
  EXPECT_EQ(fake().bench_options.route_chunks, 10u);
  EXPECT_THAT(out_, StartsWith("name    value  unit      limit  share\n"
                               "encode  1,234  tokens/s  2,000    62%\n"
                               "load      0.5  s             -      -\n"));
  EXPECT_EQ(msa({"bench", "--json"}), 0);
  EXPECT_EQ(fake().calls.back(), "benchmark_routing");
  EXPECT_EQ(Json::parse(out_)["figures"][1]["note"], "cold");
  expect_failure(msa({"bench", "--only", "encode"}), 2, "no model given");
  expect_failure(msa({"bench", "--only", "train"}), 2, "not one of encode, generate, route, index");
  EXPECT_EQ(msa({"bench"}), 0);
  EXPECT_FALSE(fake().bench_options.index);  // only where it is asked for
  EXPECT_EQ(msa({"bench", "--only", "index", "--index-chunks", "99"}), 0);
  EXPECT_TRUE(fake().bench_options.index);
  EXPECT_FALSE(fake().bench_options.route);
  EXPECT_EQ(fake().bench_options.index_chunks, 99u);
}

TEST_F(App, EveryErrorCodeHasItsExitCode) {
  const std::pair<Code, int> table[] = {
      {Code::internal, 1}, {Code::invalid_argument, 2}, {Code::not_found, 3},
      {Code::corrupt, 4},  {Code::mismatch, 4},         {Code::unsupported, 4},
      {Code::io, 5},       {Code::no_space, 5},         {Code::permission, 5},
      {Code::busy, 6},     {Code::cancelled, 130}};
  for (const auto& [code, expected] : table) {
    fake().ask_error = Error{code, "what and where"};
    expect_failure(msa_with({"ask", "x"}), expected, "what and where");
  }
}

TEST_F(App, NoExceptionGetsOut) {
  fake().during_ask = [](std::stop_token) { throw std::runtime_error("boom"); };
  expect_failure(msa_with({"ask", "x", "--json"}), 1, "internal error: boom");
  fake().during_ask = [](std::stop_token) { throw std::bad_alloc(); };
  expect_failure(msa_with({"ask", "x", "--json"}), 5, "out of memory");
  fake().during_ask = [](std::stop_token) { throw 7; };
  expect_failure(msa_with({"ask", "x", "--json"}), 1, "internal error");
}

}  // namespace
}  // namespace msa::cli
