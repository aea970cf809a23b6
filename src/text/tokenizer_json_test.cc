#include "text/tokenizer_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "base/test_folder.h"
#include "text/testing_tokenizer.h"
#include "text/utf8.h"

namespace msa {
namespace {

using nlohmann::json;
using testing::added_token;
using ::testing::AllOf;
using testing::byte_level_json;
using ::testing::HasSubstr;
using ::testing::Not;

const std::filesystem::path kFile = "some/tokenizer.json";

Error error_of(std::string_view text) {
  const auto read = read_tokenizer_json(text, kFile);
  EXPECT_FALSE(read.ok()) << text.substr(0, 200);
  if (read.ok()) return {};
  EXPECT_THAT(read.error().message, AllOf(HasSubstr(kFile.string()), Not(HasSubstr("\n"))));
  EXPECT_TRUE(is_valid_utf8(read.error().message));
  EXPECT_LT(read.error().message.size(), 600u);
  return read.error();
}

// The error for a good file with one change.
Error error_after(const std::function<void(json&)>& change) {
  json description = byte_level_json({{"a", "b"}, {"ab", "c"}});
  description["added_tokens"] = {added_token(300, "<x>"), added_token(301, "<y>")};
  EXPECT_TRUE(read_tokenizer_json(description.dump(), kFile).ok());
  change(description);
  return error_of(description.dump());
}

TEST(TokenizerJson, ReadsWhatItShould) {
  json description = byte_level_json({{"a", "b"}});
  description["added_tokens"] = {added_token(300, "<x>")};
  const auto read = read_tokenizer_json(description.dump(), kFile);
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->vocabulary.find("ab"), 256);
  EXPECT_EQ(read->merges.size(), 1u);
  EXPECT_EQ(read->byte_tokens['a'], 'a');
  ASSERT_EQ(read->added_tokens.size(), 1u);
  EXPECT_EQ(read->added_tokens[0].content, "<x>");
  ASSERT_EQ(read->steps.size(), 1u);
  EXPECT_FALSE(read->nfc);
}

TEST(TokenizerJson, WhatDoesNotConcernEncodingIsPassedOver) {
  json description = byte_level_json({});
  description["post_processor"] = {{"type", "TemplateProcessing"}, {"single", json::array()}};
  description["truncation"] = {{"max_length", 1}};
  description["padding"] = 7;
  description["decoder"] = nullptr;
  description["model"].erase("type");
  description["model"]["unk_token"] = "<unk>";
  description["model"]["dropout"] = 0.0;
  description["model"]["end_of_word_suffix"] = "";
  EXPECT_TRUE(read_tokenizer_json(description.dump(), kFile).ok());
}

TEST(TokenizerJson, TextThatIsNoJson) {
  for (const std::string_view text :
       {"", "{", "[1,", "nonsense", "{\"model\":", "\"\xff\"", "1e999"})
    EXPECT_EQ(error_of(text).code, Code::corrupt) << text;
  EXPECT_THAT(error_of("{\"a\":}").message, HasSubstr("at byte 6"));
  for (const std::string_view text : {"null", "[]", "7", "\"text\""})
    EXPECT_THAT(error_of(text).message, HasSubstr("not an object"));
}

TEST(TokenizerJson, EveryTruncationIsAnError) {
  json description = byte_level_json({{"a", "b"}});
  description["added_tokens"] = {added_token(300, "<x>")};
  const std::string text = description.dump();
  for (size_t size = 0; size < text.size(); size += 13) error_of(text.substr(0, size));
}

TEST(TokenizerJson, DeepNestingCostsNoMemory) {
  EXPECT_THAT(error_of(std::string(size_t{10} << 20, '[')).message, HasSubstr("deeper than"));
  EXPECT_THAT(error_of("{\"a\":\"[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[[[[\"}").message,
              Not(HasSubstr("deeper than")));
}

TEST(TokenizerJson, WrongTypesAreNamedWithTheirKey) {
  const struct {
    const char* pointer;
    const char* key;
  } cases[] = {
      {"/model", "model"},
      {"/model/vocab", "model.vocab"},
      {"/model/merges", "model.merges"},
      {"/model/merges/1", "model.merges[1]"},
      {"/model/ignore_merges", "model.ignore_merges"},
      {"/model/vocab/a", "model.vocab[\"a\"]"},
      {"/normalizer", "normalizer"},
      {"/pre_tokenizer", "pre_tokenizer"},
      {"/pre_tokenizer/type", "pre_tokenizer.type"},
      {"/pre_tokenizer/use_regex", "pre_tokenizer.use_regex"},
      {"/decoder", "decoder"},
      {"/added_tokens", "added_tokens"},
      {"/added_tokens/1", "added_tokens[1]"},
      {"/added_tokens/1/id", "added_tokens[1].id"},
      {"/added_tokens/1/content", "added_tokens[1].content"},
      {"/added_tokens/1/lstrip", "added_tokens[1].lstrip"},
  };
  for (const auto& item : cases) {
    const Error error = error_after([&](json& j) { j[json::json_pointer(item.pointer)] = 1.5; });
    EXPECT_EQ(error.code, Code::corrupt) << item.key;
    EXPECT_THAT(error.message, HasSubstr(std::string(": ") + item.key + ": is a number"));
  }
  for (const char* key : {"model", "pre_tokenizer"})
    EXPECT_THAT(error_after([&](json& j) { j.erase(key); }).message, HasSubstr(key));
  for (const char* key : {"vocab", "merges"})
    EXPECT_THAT(error_after([&](json& j) { j["model"].erase(key); }).message,
                HasSubstr("is missing"));
}

TEST(TokenizerJson, RandomDamageNeverCrashes) {
  json description = byte_level_json({{"a", "b"}, {"ab", "c"}});
  description["added_tokens"] = {added_token(300, "<x>"), added_token(301, "<y>")};
  const json flat = description.flatten();
  const std::vector<json> values = {
      nullptr,   true, -1, 1.5, 1u << 31, "x", json::array(), json::object(), json::array({1, "a"}),
      UINT64_MAX};
  std::mt19937 random(1);
  std::vector<std::string> pointers;
  for (const auto& item : flat.items()) pointers.push_back(item.key());
  for (int round = 0; round < 400; ++round) {
    json damaged = description;
    json::json_pointer pointer(pointers[random() % pointers.size()]);
    if (random() % 2 == 0) pointer = pointer.parent_pointer();
    if (pointer.empty()) continue;
    damaged[pointer] = values[random() % values.size()];
    (void)read_tokenizer_json(damaged.dump(), kFile).ok();
  }
}

TEST(TokenizerJson, IdsOutOfRange) {
  for (const json& id : {json(-1), json(INT64_MIN), json(Vocabulary::kMostIds), json(UINT64_MAX)}) {
    EXPECT_THAT(
        error_after([&](json& j) { j["model"]["vocab"]["a"] = id; }).message,
        HasSubstr("model.vocab[\"a\"]: is " + id.dump() + ", ids lie between 0 and 16777215"));
    EXPECT_THAT(error_after([&](json& j) { j["added_tokens"][0]["id"] = id; }).message,
                HasSubstr("added_tokens[0].id: is " + id.dump()));
  }
}

TEST(TokenizerJson, DuplicateIds) {
  EXPECT_THAT(error_after([](json& j) { j["model"]["vocab"]["ab"] = 98; }).message,
              HasSubstr("has id 98, and so has another"));
  EXPECT_THAT(error_after([](json& j) { j["added_tokens"][1]["id"] = 300; }).message,
              HasSubstr("added_tokens[1].id: \"<y>\" has id 300"));
  EXPECT_THAT(error_after([](json& j) { j["added_tokens"][1]["id"] = 97; }).message,
              HasSubstr("and so has another token"));
  EXPECT_THAT(error_after([](json& j) { j["added_tokens"][1]["content"] = "ab"; }).message,
              HasSubstr("\"ab\" has id 301 here, 256 in model.vocab"));
  EXPECT_THAT(error_after([](json& j) { j["added_tokens"][1]["content"] = "<x>"; }).message,
              HasSubstr("\"<x>\" is there twice"));
}

TEST(TokenizerJson, AddedTokensWithoutUsableContent) {
  EXPECT_THAT(error_after([](json& j) { j["added_tokens"][0]["content"] = ""; }).message,
              HasSubstr("is empty"));
  EXPECT_THAT(error_after([](json& j) {
                j["added_tokens"][0]["content"] = std::string(5000, 'x');
              }).message,
              HasSubstr("5000 bytes"));
}

TEST(TokenizerJson, MergesOfUnknownTokens) {
  for (const char* merge : {"a q1", "zz b", "b a", "\u4f60 a"})
    EXPECT_THAT(error_after([&](json& j) { j["model"]["merges"][1] = merge; }).message,
                AllOf(HasSubstr("model.merges[1]: needs \""), HasSubstr("model.vocab")));
  for (const json& merge : {json("ab"), json("a b c"), json(""), json::array({"a"}),
                            json::array({"a", 1}), json::array({"a", "b", "c"})})
    EXPECT_THAT(error_after([&](json& j) { j["model"]["merges"][1] = merge; }).message,
                HasSubstr("model.merges[1]"));
}

TEST(TokenizerJson, MissingBytes) {
  const Error error = error_after([](json& j) { j["model"]["vocab"].erase("\u0120"); });
  EXPECT_EQ(error.code, Code::unsupported);
  EXPECT_THAT(error.message, HasSubstr("byte 0x20"));
}

TEST(TokenizerJson, WhatIsNotSupportedIsNamed) {
  const auto unsupported = [](const std::function<void(json&)>& change, std::string_view part) {
    const Error error = error_after(change);
    EXPECT_EQ(error.code, Code::unsupported) << part;
    EXPECT_THAT(error.message, HasSubstr(std::string(part)));
  };
  const auto sequence = [](json steps) {
    return [steps](json& j) {
      j["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", steps}};
    };
  };
  const json byte_level = {{"type", "ByteLevel"}};
  unsupported([](json& j) { j["model"]["type"] = "Unigram"; }, "Unigram");
  unsupported([](json& j) { j["model"]["dropout"] = 0.1; }, "model.dropout");
  unsupported([](json& j) { j["model"]["end_of_word_suffix"] = "</w>"; }, "end_of_word_suffix");
  unsupported([](json& j) { j["normalizer"] = {{"type", "Lowercase"}}; }, "Lowercase");
  unsupported([](json& j) { j["pre_tokenizer"] = {{"type", "Metaspace"}}; }, "Metaspace");
  unsupported([](json& j) { j["pre_tokenizer"] = nullptr; }, "ByteLevel");
  unsupported([](json& j) { j["decoder"] = {{"type", "WordPiece"}}; }, "WordPiece");
  unsupported(sequence(json::array()), "no ByteLevel");
  unsupported(sequence(json::array({byte_level, {{"type", "Digits"}}})), "follows ByteLevel");
  unsupported(sequence(json::array({{{"type", "Sequence"}, {"pretokenizers", json::array()}}})),
              "Sequence within a Sequence");
  unsupported(
      sequence(json::array(
          {{{"type", "Split"}, {"pattern", {{"Regex", "a"}}}, {"behavior", "MergedWithNext"}},
           byte_level})),
      "MergedWithNext");
}

TEST(TokenizerJson, BadPatternsAreQuotedWithTheReason) {
  const Error error = error_after([](json& j) {
    j["pre_tokenizer"] = {
        {"type", "Sequence"},
        {"pretokenizers",
         {{{"type", "Split"}, {"pattern", {{"Regex", "(oops"}}}, {"behavior", "Isolated"}},
          {{"type", "ByteLevel"}}}}};
  });
  EXPECT_EQ(error.code, Code::corrupt);
  EXPECT_THAT(error.message, AllOf(HasSubstr("pre_tokenizer.pretokenizers[0].pattern"),
                                   HasSubstr("(oops"), HasSubstr("missing closing parenthesis")));
}

TEST(TokenizerJson, FilesThatAreTooLargeOrAbsent) {
  EXPECT_EQ(error_of(std::string(kMostTokenizerBytes + 1, ' ')).code, Code::unsupported);
  const auto absent = Tokenizer::load("no/such/tokenizer.json");
  ASSERT_FALSE(absent.ok());
  EXPECT_EQ(absent.error().code, Code::not_found);
  const TestFolder folder;
  EXPECT_FALSE(Tokenizer::load(folder.path()).ok());
}

}  // namespace
}  // namespace msa
