#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/hash.h"
#include "base/test_folder.h"
#include "text/nfc.h"
#include "text/testing_tokenizer.h"
#include "text/utf8.h"

namespace msa {
namespace {

using nlohmann::json;
using testing::added_token;
using testing::byte_level_json;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::qwen;
using testing::random_text;
using Tokens = std::vector<TokenId>;

json read_json(std::string_view file) {
  return json::parse(read_file(file, size_t{1} << 30).value());
}

std::shared_ptr<const Tokenizer> made(const json& description) {
  const TestFolder folder;
  auto tokenizer = Tokenizer::load(folder.put("tokenizer.json", description.dump()));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  return tokenizer.ok() ? *tokenizer : nullptr;
}

// ---------------------------------------------------------------------------------------------
// Qwen's tokenizer

TEST(QwenTokenizer, GivesTheExpectedIdsForEveryText) {
  const json cases = read_json(MSA_TESTDATA "/qwen3-tokenizer/expected_ids.json");
  ASSERT_EQ(cases.size(), 449u);
  for (const json& item : cases) {
    const auto text = item["text"].get<std::string>();
    EXPECT_EQ(qwen().encode(text), item["ids"].get<Tokens>()) << text;
  }
}

TEST(QwenTokenizer, DecodingGivesTheNormalizedTextBack) {
  std::mt19937 random(1);
  for (int i = 0; i < 300; ++i) {
    const std::string text = random_text(random, random() % 80);
    std::string storage;
    EXPECT_EQ(qwen().decode(qwen().encode(text)), to_nfc(text, storage)) << text;
  }
}

TEST(QwenTokenizer, KnowsItsSize) {
  EXPECT_EQ(qwen().vocabulary_size(), 151'669u);
  EXPECT_EQ(qwen().fingerprint(), hash64(read_file(testing::kQwenFile, size_t{1} << 30).value()));
}

TEST(QwenTokenizer, FindsTokensByTheirBytes) {
  EXPECT_EQ(qwen().find("<|im_start|>"), 151'644);
  EXPECT_EQ(qwen().find("a"), 64);
  EXPECT_EQ(qwen().find(" "), 220);
  EXPECT_EQ(qwen().find(" the"), 279);
  EXPECT_EQ(qwen().find("no token is as long as this one"), std::nullopt);
  EXPECT_EQ(qwen().find(""), std::nullopt);
}

TEST(QwenTokenizer, EveryTokenIsFoundByItsBytes) {
  for (TokenId id = 0; static_cast<size_t>(id) < qwen().vocabulary_size(); ++id) {
    const std::string_view bytes = qwen().token_bytes(id);
    ASSERT_FALSE(bytes.empty()) << id;
    ASSERT_EQ(qwen().find(bytes), id);
  }
}

TEST(QwenTokenizer, IdsOutsideTheVocabularyAreNothing) {
  for (const TokenId id : {-1, 151'669, 1 << 30, INT32_MIN, INT32_MAX}) {
    EXPECT_EQ(qwen().token_bytes(id), "");
    EXPECT_FALSE(qwen().is_special(id));
    EXPECT_EQ(qwen().decode(Tokens{64, id, 65}), "ab");
  }
}

TEST(QwenTokenizer, LeavesSpecialTokensOutWhenAsked) {
  const Tokens tokens = qwen().encode("<|im_start|>a<tool_call><|im_end|>");
  ASSERT_THAT(tokens, ElementsAre(151'644, 64, 151'657, 151'645));
  EXPECT_EQ(qwen().decode(tokens), "<|im_start|>a<tool_call><|im_end|>");
  EXPECT_EQ(qwen().decode(tokens, /*special=*/false), "a<tool_call>");  // added, but not special
  EXPECT_TRUE(qwen().is_special(151'644));
  EXPECT_FALSE(qwen().is_special(151'657));
  EXPECT_FALSE(qwen().is_special(64));
}

TEST(QwenTokenizer, AddedTokensAreTextWhenAsked) {
  const Tokens tokens = qwen().encode("<|im_start|>", /*added_tokens=*/false);
  EXPECT_GT(tokens.size(), 1u);
  EXPECT_EQ(qwen().decode(tokens, /*special=*/false), "<|im_start|>");
}

TEST(QwenTokenizer, ReplacesInvalidUtf8) {
  for (const std::string_view bytes : {"\xff", "a\xc3", "\xe2\x82 b", "\xed\xa0\x80", "x\x80y"}) {
    const std::string clean = clean_utf8(bytes).text;
    EXPECT_EQ(qwen().encode(bytes), qwen().encode(clean));
    EXPECT_EQ(qwen().decode(qwen().encode(bytes)), clean);
  }
  EXPECT_EQ(qwen().decode(qwen().encode(std::string_view("a\0b", 3))), std::string_view("a\0b", 3));
}

TEST(QwenTokenizer, StreamsTheSameTextAsItDecodes) {
  std::mt19937 random(2);
  for (int i = 0; i < 300; ++i) {
    // Random tokens break characters everywhere; tokens of a text do so where characters are rare.
    Tokens tokens;
    if (i % 2 == 0)
      for (size_t n = random() % 60; n > 0; --n)
        tokens.push_back(static_cast<TokenId>(random() % 151'700));
    else
      tokens = qwen().encode(random_text(random, random() % 60));
    for (const bool special : {true, false}) {
      StreamDecoder decoder(qwen(), special);
      std::string streamed;
      for (const TokenId token : tokens) {
        const std::string piece = decoder.push(token);
        EXPECT_TRUE(is_valid_utf8(piece));
        streamed += piece;
      }
      streamed += decoder.finish();
      EXPECT_EQ(streamed, qwen().decode(tokens, special));
      EXPECT_EQ(decoder.finish(), "");
    }
  }
}

TEST(QwenTokenizer, StreamsACharacterWhenItIsWhole) {
  const Tokens tokens = qwen().encode("\U00010380");  // has no token of its own
  ASSERT_GT(tokens.size(), 1u);
  StreamDecoder decoder(qwen());
  for (size_t i = 0; i + 1 < tokens.size(); ++i) EXPECT_EQ(decoder.push(tokens[i]), "");
  EXPECT_EQ(decoder.push(tokens.back()), "\U00010380");
  decoder.push(tokens[0]);
  EXPECT_EQ(decoder.finish(), "\ufffd");
}

TEST(QwenTokenizer, ManyThreadsGetTheSameTokens) {
  std::mt19937 random(3);
  std::vector<std::string> texts;
  std::vector<Tokens> expected;
  for (int i = 0; i < 50; ++i) {
    texts.push_back(random_text(random, 100));
    expected.push_back(qwen().encode(texts.back()));
  }
  std::vector<int> wrong(4);
  std::vector<std::thread> threads;
  for (int& count : wrong)
    threads.emplace_back([&] {
      for (int round = 0; round < 5; ++round)
        for (size_t i = 0; i < texts.size(); ++i)
          if (qwen().encode(texts[i]) != expected[i]) ++count;
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(wrong, ::testing::Each(0));
}

// Texts that make careless implementations quadratic or overflow a stack.
TEST(QwenTokenizer, LongRunsTakeLinearTime) {
  const size_t n = size_t{1} << 20;
  std::vector<std::string> texts = {
      std::string(n, 'a'),  std::string(n, ' '), std::string(n, ' ') + "x",
      std::string(n, '\n'), std::string(n, '!'), std::string(n, '7'),
      std::string(n, '\''), std::string(n, '<'), std::string(n, '\x80'),
  };
  std::string marks = "a", spaces_and_breaks, letters;
  for (size_t i = 0; i < n / 8; ++i) marks += i % 2 == 0 ? "\u0301" : "\u0323";
  for (size_t i = 0; i < n / 4; ++i) spaces_and_breaks += i % 3 == 0 ? "\r" : " \t";
  std::mt19937 random(4);
  for (size_t i = 0; i < n; ++i) letters += static_cast<char>('a' + random() % 26);
  texts.push_back(marks);
  texts.push_back(spaces_and_breaks);
  texts.push_back(letters);
  for (const std::string& text : texts) {
    const auto start = std::chrono::steady_clock::now();
    const Tokens tokens = qwen().encode(text);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    std::string storage;
    const std::string clean = clean_utf8(text).text;
    EXPECT_EQ(qwen().decode(tokens), to_nfc(clean, storage));
    EXPECT_LT(seconds.count(), 60) << text.substr(0, 8);  // generous: sanitizers, busy machines
  }
}

// ---------------------------------------------------------------------------------------------
// Other kinds of tokenizer.json

TEST(Tokenizer, MergesLikeTheSlowMethod) {
  std::mt19937 random(5);
  for (int round = 0; round < 20; ++round) {
    // A random tree of merges over four letters, so that many compete.
    std::vector<std::string> tokens = {"a", "b", "c", "d"};
    std::vector<std::pair<std::string, std::string>> merges;
    for (int i = 0; i < 40; ++i) {
      const std::string left = tokens[random() % tokens.size()];
      const std::string right = tokens[random() % tokens.size()];
      if (left.size() + right.size() > 16) continue;
      if (std::find(tokens.begin(), tokens.end(), left + right) == tokens.end())
        tokens.push_back(left + right);
      merges.emplace_back(left, right);
    }
    std::shuffle(merges.begin(), merges.end(), random);  // a merge may need a later one's result
    const json description = byte_level_json(merges);
    const auto tokenizer = made(description);
    const testing::SlowMerger slow(description);
    for (int i = 0; i < 60; ++i) {
      std::string piece;  // of letters only: one piece
      for (size_t n = random() % (i < 40 ? 20 : 300); n > 0; --n)
        piece += static_cast<char>('a' + random() % 4);
      EXPECT_EQ(tokenizer->encode(piece), slow.merge(piece)) << piece;
    }
  }
}

TEST(Tokenizer, TheLaterOfTwoEqualMergesCounts) {
  json description = byte_level_json({{"a", "b"}, {"b", "c"}});
  EXPECT_THAT(made(description)->encode("abc"), ElementsAre(256, 'c'));
  description["model"]["merges"].push_back("a b");
  EXPECT_THAT(made(description)->encode("abc"), ElementsAre('a', 257));
}

TEST(Tokenizer, ReadsMergesAsPairs) {
  json description = byte_level_json({{"a", "b"}, {"ab", "c"}});
  const Tokens expected = made(description)->encode("abcab");
  description["model"]["merges"] = json::array({json::array({"a", "b"}), json::array({"ab", "c"})});
  EXPECT_EQ(made(description)->encode("abcab"), expected);
  EXPECT_THAT(expected, ElementsAre(257, 256));
}

TEST(Tokenizer, IgnoreMergesTakesWholePieces) {
  json description = byte_level_json({{"a", "b"}});
  description["model"]["vocab"]["abc"] = 300;
  EXPECT_THAT(made(description)->encode("abc abcd"), ElementsAre(256, 'c', ' ', 256, 'c', 'd'));
  description["model"]["ignore_merges"] = true;
  EXPECT_THAT(made(description)->encode("abc abcd"), ElementsAre(300, ' ', 256, 'c', 'd'));
}

TEST(Tokenizer, ByteLevelPatternOfGpt2) {
  // Merges within a piece only: every token but the last of a pair shows where a piece begins.
  const json description =
      byte_level_json({{"Ġ", "a"}, {"'", "s"}, {"a", "'"}, {"1", "1"}, {"Ġ", "Ġ"}, {"a", "1"}});
  const auto tokenizer = made(description);
  EXPECT_THAT(tokenizer->encode(" a's"), ElementsAre(256, 257));
  EXPECT_THAT(tokenizer->encode("11a1"), ElementsAre(259, 'a', '1'));
  EXPECT_THAT(tokenizer->encode("   a"), ElementsAre(260, 256));
  EXPECT_THAT(tokenizer->encode("   "), ElementsAre(260, ' '));
}

TEST(Tokenizer, AddPrefixSpace) {
  json description = byte_level_json({{"Ġ", "a"}});
  description["pre_tokenizer"]["add_prefix_space"] = true;
  description["added_tokens"] = {added_token(300, "<x>")};
  const auto tokenizer = made(description);
  EXPECT_THAT(tokenizer->encode("a"), ElementsAre(256));
  EXPECT_THAT(tokenizer->encode(" a"), ElementsAre(256));
  EXPECT_THAT(tokenizer->encode("\na"), ElementsAre(' ', '\n', 'a'));
  EXPECT_THAT(tokenizer->encode("a<x>a"), ElementsAre(256, 300, 256));
  EXPECT_THAT(tokenizer->encode(""), IsEmpty());
  description["pre_tokenizer"]["use_regex"] = false;
  EXPECT_THAT(made(description)->encode("a a"), ElementsAre(256, 256));
  description["pre_tokenizer"] = {{"type", "ByteLevel"}};  // both are on where nothing is said
  EXPECT_THAT(made(description)->encode("a"), ElementsAre(256));
}

TEST(Tokenizer, SequenceOfSplitsAsInLlama3) {
  json description = byte_level_json({{"1", "1"}, {"11", "1"}, {"Ġ", "1"}});
  description["pre_tokenizer"] = {
      {"type", "Sequence"},
      {"pretokenizers",
       {{{"type", "Split"},
         {"pattern",
          {{"Regex",
            "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
            "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}}},
         {"behavior", "Isolated"},
         {"invert", false}},
        {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}};
  const auto tokenizer = made(description);
  EXPECT_THAT(tokenizer->encode("1111"), ElementsAre(257, '1'));
  EXPECT_THAT(tokenizer->encode(" 1"), ElementsAre(' ', '1'));
}

TEST(Tokenizer, DigitsAloneOrTogether) {
  json description = byte_level_json({{"1", "1"}});
  const json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  for (const bool individual : {true, false}) {
    description["pre_tokenizer"] = {
        {"type", "Sequence"},
        {"pretokenizers", {{{"type", "Digits"}, {"individual_digits", individual}}, byte_level}}};
    const auto tokenizer = made(description);
    if (individual)
      EXPECT_THAT(tokenizer->encode("a11"), ElementsAre('a', '1', '1'));
    else
      EXPECT_THAT(tokenizer->encode("a11"), ElementsAre('a', 256));
  }
}

TEST(Tokenizer, NormalizesOnlyWhenAsked) {
  json description = byte_level_json({});
  EXPECT_EQ(made(description)->encode("e\u0301").size(), 3u);
  description["normalizer"] = {{"type", "NFC"}};
  EXPECT_EQ(made(description)->encode("e\u0301").size(), 2u);
  description["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}}}};
  EXPECT_EQ(made(description)->encode("e\u0301").size(), 2u);
}

TEST(Tokenizer, BytesThatUtf8NeverHoldsMayBeMissing) {
  json description = byte_level_json({});
  description["model"]["vocab"].erase("\u00ff");
  const auto tokenizer = made(description);
  EXPECT_THAT(tokenizer->encode("\xff"), ElementsAre(0xef, 0xbf, 0xbd));
}

TEST(Tokenizer, EntriesOutsideTheByteAlphabetAreReadButNeverWritten) {
  json description = byte_level_json({});
  description["model"]["vocab"]["\u4f60 x"] = 300;
  const auto tokenizer = made(description);
  EXPECT_EQ(tokenizer->decode(Tokens{300}), "\u4f60 x");
  EXPECT_EQ(tokenizer->encode("\u4f60 x").size(), 5u);
}

// ---------------------------------------------------------------------------------------------
// Added tokens

TEST(Tokenizer, LongestAddedTokenThatBeginsFirst) {
  json description = byte_level_json({});
  description["added_tokens"] = {added_token(300, "ab"), added_token(301, "abcd"),
                                 added_token(302, "bcde"), added_token(303, "abc")};
  const auto tokenizer = made(description);
  EXPECT_THAT(tokenizer->encode("abcde"), ElementsAre(301, 'e'));
  EXPECT_THAT(tokenizer->encode("abcx"), ElementsAre(303, 'x'));
  EXPECT_THAT(tokenizer->encode("abx"), ElementsAre(300, 'x'));
  EXPECT_THAT(tokenizer->encode("xbcdeab"), ElementsAre('x', 302, 300));
  EXPECT_THAT(tokenizer->encode("ababc"), ElementsAre(300, 303));
}

TEST(Tokenizer, AddedTokensTakeWhiteSpaceAlong) {
  json description = byte_level_json({});
  json left = added_token(300, "<l>"), right = added_token(301, "<r>");
  left["lstrip"] = true;
  right["rstrip"] = true;
  description["added_tokens"] = {left, right};
  const auto tokenizer = made(description);
  EXPECT_THAT(tokenizer->encode("a \u3000\n<l> b"), ElementsAre('a', 300, ' ', 'b'));
  EXPECT_THAT(tokenizer->encode("a <r> \u00a0\tb"), ElementsAre('a', ' ', 301, 'b'));
  EXPECT_THAT(tokenizer->encode("<r>  <l>"), ElementsAre(301, 300));
  EXPECT_THAT(tokenizer->encode("  <l>"), ElementsAre(300));
  EXPECT_THAT(tokenizer->encode("<r>  "), ElementsAre(301));
}

TEST(Tokenizer, SingleWordAddedTokens) {
  json description = byte_level_json({});
  json word = added_token(300, "cat");
  word["single_word"] = true;
  description["added_tokens"] = {word};
  const auto tokenizer = made(description);
  EXPECT_THAT(tokenizer->encode("cat"), ElementsAre(300));
  EXPECT_THAT(tokenizer->encode("(cat)"), ElementsAre('(', 300, ')'));
  EXPECT_THAT(tokenizer->encode("cats"), ElementsAre('c', 'a', 't', 's'));
  for (const std::string_view beside : {"a", "_", "7", "\u00e9", "\u4f60", "\u0301", "\u24b6"}) {
    EXPECT_EQ(tokenizer->encode(std::string(beside) + "cat").size(), beside.size() + 3) << beside;
    EXPECT_EQ(tokenizer->encode("cat" + std::string(beside)).size(), beside.size() + 3) << beside;
  }
  for (const std::string_view beside : {" ", "-", "\u00b2", "\u3002", "\U0001f600"})
    EXPECT_EQ(tokenizer->encode("cat" + std::string(beside)).size(), beside.size() + 1) << beside;
}

TEST(Tokenizer, NormalizedAddedTokensAreFoundAfterNormalization) {
  json description = byte_level_json({});
  description["normalizer"] = {{"type", "NFC"}};
  json raw = added_token(300, "<\u00e9>"), normalized = added_token(301, "[e\u0301]");
  normalized["normalized"] = true;
  description["added_tokens"] = {raw, normalized};
  const auto tokenizer = made(description);
  EXPECT_THAT(tokenizer->encode("<\u00e9>"), ElementsAre(300));
  EXPECT_THAT(tokenizer->encode("<e\u0301>"), ElementsAre('<', 0xc3, 0xa9, '>'));
  EXPECT_THAT(tokenizer->encode("[e\u0301]"), ElementsAre(301));
  EXPECT_THAT(tokenizer->encode("[\u00e9]"), ElementsAre(301));
  EXPECT_EQ(tokenizer->decode(Tokens{301}), "[e\u0301]");
  EXPECT_THAT(tokenizer->encode("[\u00e9]", false), ElementsAre('[', 0xc3, 0xa9, ']'));
}

TEST(Tokenizer, AnAddedTokenMayShareItsIdWithItsEntry) {
  json description = byte_level_json({{"<", "x"}});
  description["added_tokens"] = {added_token(256, "<x")};
  const auto tokenizer = made(description);
  EXPECT_THAT(tokenizer->encode("<x"), ElementsAre(256));
  EXPECT_EQ(tokenizer->vocabulary_size(), 257u);
}

}  // namespace
}  // namespace msa
