#include "corpus/record.h"

#include <gtest/gtest.h>

#include <random>

namespace msa {
namespace {

Document good(std::string_view json) {
  uint64_t replaced = 0;
  auto parsed = parse_record(json, replaced);
  if (auto* problem = std::get_if<RecordProblem>(&parsed))
    ADD_FAILURE() << json << ": " << problem->what;
  return std::holds_alternative<Document>(parsed) ? std::get<Document>(parsed) : Document();
}
std::string bad(std::string_view json) {
  uint64_t replaced = 0;
  auto parsed = parse_record(json, replaced);
  return std::holds_alternative<RecordProblem>(parsed) ? std::get<RecordProblem>(parsed).what
                                                       : "no problem";
}

TEST(Record, AllFields) {
  const Document d = good(R"({"source": "wiki", "text": "grün", "id": "a1", "title": "T"})");
  EXPECT_EQ(d.id, "a1");
  EXPECT_EQ(d.title, "T");
  EXPECT_EQ(d.text, "grün");
  EXPECT_EQ(d.source, "wiki");
  EXPECT_EQ(d.char_begin, 0u);
  EXPECT_EQ(d.char_end, 4u);
}

TEST(Record, IntegersAsIds) {
  EXPECT_EQ(good(R"({"id":17,"text":"x"})").id, "17");
  EXPECT_EQ(good(R"({"id":-3,"text":"x"})").id, "-3");
  EXPECT_EQ(good(R"({"id":18446744073709551615,"text":"x"})").id, "18446744073709551615");
  EXPECT_EQ(good(R"({"id":123456789012345678901234567890,"text":"x"})").id,
            "123456789012345678901234567890");
}

TEST(Record, OtherKeysAreOfNoConcern) {
  const Document d = good(
      R"({"meta":{"text":"inner","id":[1,{"title":2}]},"text":"outer","list":[[],"text",null],
         "n":1.5,"b":true,"z":null,"title":null})");
  EXPECT_EQ(d.text, "outer");
  EXPECT_EQ(d.id, "");
  EXPECT_EQ(d.title, "");
}

TEST(Record, WrongTypes) {
  EXPECT_EQ(bad(R"({"text":5})"), "\"text\" is a number, not a string");
  EXPECT_EQ(bad(R"({"text":["a"]})"), "\"text\" is an array, not a string");
  EXPECT_EQ(bad(R"({"text":{"a":1}})"), "\"text\" is an object, not a string");
  EXPECT_EQ(bad(R"({"text":true})"), "\"text\" is a boolean, not a string");
  EXPECT_EQ(bad(R"({"text":"a","id":1.5})"),
            "\"id\" is a number that is no integer, not a string or an integer");
  EXPECT_EQ(bad(R"({"text":"a","title":7})"), "\"title\" is a number, not a string");
  EXPECT_EQ(bad(R"({"text":"a","source":{}})"), "\"source\" is an object, not a string");
}

TEST(Record, NoText) {
  EXPECT_EQ(bad("{}"), "no \"text\" field with a string");
  EXPECT_EQ(bad(R"({"title":"a"})"), "no \"text\" field with a string");
  EXPECT_EQ(bad(R"({"text":null})"), "no \"text\" field with a string");
}

TEST(Record, NotAnObject) {
  for (const char* json :
       {"[1]", "\"text\"", "5", "-5", "1.5", "true", "null", "[{\"text\":\"a\"}]"})
    EXPECT_EQ(bad(json), "not a JSON object") << json;
}

TEST(Record, NotJson) {
  for (const char* json :
       {"{", "{\"text\":\"a\"", "{\"text\":\"a", "{\"text\" \"a\"}", "{\"text\":\"a\"} x",
        "{\"text\":\"a\",}", "text", "", "{\"text\":\"\\ud800\"}", "{\"text\":\"a\nb\"}"})
    EXPECT_TRUE(bad(json).starts_with("not valid JSON at byte ")) << json << ": " << bad(json);
}

TEST(Record, InvalidUtf8IsReplacedAndCounted) {
  uint64_t replaced = 0;
  const auto parsed = parse_record("{\"text\":\"a\xFF\xC3(b\",\"title\":\"\xE2\x82\"}", replaced);
  EXPECT_EQ(std::get<Document>(parsed).text, "a\uFFFD\uFFFD(b");
  EXPECT_EQ(std::get<Document>(parsed).title, "\uFFFD");
  EXPECT_EQ(replaced, 3u);
}

TEST(Record, DeepNestingCostsNoStack) {
  const size_t depth = 4'000'000;
  const std::string open(depth, '['), close(depth, ']');
  EXPECT_EQ(good("{\"deep\":" + open + close + ",\"text\":\"x\"}").text, "x");
  EXPECT_TRUE(bad("{\"deep\":" + open).starts_with("not valid JSON"));
  std::string objects;
  for (int i = 0; i < 200'000; ++i) objects += "{\"a\":";
  EXPECT_TRUE(bad(objects).starts_with("not valid JSON"));
}

TEST(Record, RandomDamageNeverThrows) {
  const std::string whole =
      R"({"id":"a","title":"b \u00e9","text":"some text \ud83e\udd99","x":[1,2.5e3,{"y":null}]})";
  std::mt19937_64 random(8);
  for (int i = 0; i < 5000; ++i) {
    std::string damaged = whole.substr(0, 1 + random() % whole.size());
    for (size_t k = 0; k < random() % 4; ++k)
      damaged[random() % damaged.size()] = static_cast<char>(random());
    uint64_t replaced = 0;
    (void)parse_record(damaged, replaced);
  }
}

}  // namespace
}  // namespace msa
