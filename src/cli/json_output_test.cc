#include "cli/json_output.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace msa::cli {
namespace {

TEST(JsonOutput, FloatsKeepTheirOwnDigits) {
  EXPECT_EQ(dump(json_number(0.71f)), "0.71");
  EXPECT_EQ(dump(json_number(-3e-8f)), "-3e-08");
  EXPECT_EQ(dump(json_number(1.0f)), "1.0");
  EXPECT_EQ(dump(json_number(0.1)), "0.1");
}

TEST(JsonOutput, NumbersThatAreNoneAreNull) {
  EXPECT_EQ(dump(json_number(NAN)), "null");
  EXPECT_EQ(dump(json_number(-std::numeric_limits<double>::infinity())), "null");
}

TEST(JsonOutput, RoutingHasItsPublishedShape) {
  Routing routing;
  routing.layers = {{18, {{4, "a", 0.71f}, {2, "b", std::nanf("")}}}, {19, {}}};
  routing.ranking = {{4, "a", 1.5f}};
  EXPECT_EQ(dump(to_json(routing)),
            R"({"layers":[{"layer":18,"documents":[{"number":4,"id":"a","score":0.71},)"
            R"({"number":2,"id":"b","score":null}]},{"layer":19,"documents":[]}],)"
            R"("ranking":[{"number":4,"id":"a","score":1.5}]})");
  routing.layers = {{18, {}, 37, false}};
  routing.ranking.clear();
  EXPECT_EQ(
      dump(to_json(routing)),
      R"({"layers":[{"layer":18,"documents":[],"rescored":37,"certain":false}],"ranking":[]})");
}

TEST(JsonOutput, InvalidUtf8DoesNotBreakIt) {
  Answer answer;
  answer.text = "caf\xE9";
  answer.rounds = {{"[4]\xFF", {4}, {}}};
  answer.citations = {{4, "\x80", "t", "s", "x\n\"y\"", 0, 5}};
  answer.timing.route_ms = INFINITY;
  const std::string text = dump(to_json(answer));
  EXPECT_EQ(text.find('\n'), std::string::npos);
  const Json back = Json::parse(text);
  EXPECT_EQ(back["answer"], "caf\uFFFD");
  EXPECT_EQ(back["rounds"][0]["generated"], "[4]\uFFFD");
  EXPECT_EQ(back["rounds"][0]["numbers"], Json::array({4}));
  EXPECT_EQ(back["citations"][0]["id"], "\uFFFD");
  EXPECT_EQ(back["citations"][0]["text"], "x\n\"y\"");
  EXPECT_TRUE(back["timing"]["route_ms"].is_null());
  for (const char* key : {"encode_question_ms", "route_ms", "first_token_ms", "tokens_per_second"})
    EXPECT_TRUE(back["timing"].contains(key)) << key;
  for (const char* key : {"prompt_tokens", "completion_tokens"})
    EXPECT_TRUE(back["usage"].contains(key)) << key;
  EXPECT_TRUE(back["routing"].contains("layers"));
}

TEST(JsonOutput, BenchFiguresThatAreNoneAreNull) {
  BenchReport report;
  report.figures = {{"encode", "tokens/s", NAN, "", 0, INFINITY, ""}};
  const Json json = Json::parse(dump(to_json(report)));
  EXPECT_TRUE(json["figures"][0]["value"].is_null());
  EXPECT_TRUE(json["figures"][0]["share"].is_null());
}

}  // namespace
}  // namespace msa::cli
