#include "text/utf8.h"

#include <gtest/gtest.h>

#include <random>

namespace msa {
namespace {

constexpr std::string_view kR = "\ufffd";

std::string repeated(std::string_view text, size_t times) {
  std::string all;
  for (size_t i = 0; i < times; ++i) all += text;
  return all;
}

TEST(Utf8, ValidTextStaysAsItIs) {
  for (const std::string_view text :
       {"", "a", "\u00e9", "\u4f60", "\U0001f600", "\u0080\u07ff\u0800\uffff\U00010000\U0010ffff",
        "twenty-three characters \u00e9 and more", "\ud7ff\ue000"}) {
    EXPECT_TRUE(is_valid_utf8(text));
    const CleanText clean = clean_utf8(text);
    EXPECT_EQ(clean.text, text);
    EXPECT_EQ(clean.replaced, 0u);
  }
  EXPECT_EQ(clean_utf8(std::string_view("a\0b", 3)).text, std::string_view("a\0b", 3));
}

TEST(Utf8, MaximalInvalidSequencesBecomeOneReplacementEach) {
  const struct {
    std::string_view bytes;
    size_t replaced;  // they make up all of `bytes`
  } cases[] = {
      {"\x80", 1},              // continuation alone
      {"\xff\xfe", 2},          // never in UTF-8
      {"\xc0\xaf", 2},          // overlong
      {"\xc1\xbf", 2},          //
      {"\xe0\x80\xaf", 3},      //
      {"\xf0\x80\x80\xaf", 4},  //
      {"\xed\xa0\x80", 3},      // surrogate
      {"\xf4\x90\x80\x80", 4},  // above U+10FFFF
      {"\xf5\x80\x80\x80", 4},  //
      {"\xc3", 1},              // cut off
      {"\xe2\x82", 1},          //
      {"\xf0\x9f\x98", 1},      //
      {"\xf0\x9f\xf0\x9f\x98", 2},
      {"\xe2\xe2\x82", 2},
  };
  for (const auto& item : cases) {
    EXPECT_FALSE(is_valid_utf8(item.bytes));
    const CleanText clean = clean_utf8(item.bytes);
    EXPECT_EQ(clean.text, repeated(kR, item.replaced));
    EXPECT_EQ(clean.replaced, item.replaced);
  }
  // The example of the Unicode standard, section 3.9.
  EXPECT_EQ(clean_utf8("\x61\xf1\x80\x80\xe1\x80\xc2\x62\x80\x63\x80\xbf\x64").text,
            "a\ufffd\ufffd\ufffdb\ufffdc\ufffd\ufffdd");
}

TEST(Utf8, CompletePrefixStopsBeforeACutCharacter) {
  EXPECT_EQ(complete_utf8_prefix(""), 0u);
  EXPECT_EQ(complete_utf8_prefix("abc"), 3u);
  for (const std::string_view character :
       {"\u00e9", "\u4f60", "\ud7ff", "\U0001f600", "\U0010ffff"})
    for (size_t cut = 1; cut < character.size(); ++cut)
      for (const std::string_view before : {"", "a", "\u4f60", "\x80\x80\x80"}) {
        const std::string text = std::string(before).append(character.substr(0, cut));
        EXPECT_EQ(complete_utf8_prefix(text), before.size());
        EXPECT_EQ(complete_utf8_prefix(std::string(before).append(character)),
                  before.size() + character.size());
      }
  // Nothing that could follow makes these valid.
  for (const std::string_view text : {"\x80", "\xff", "\xc0", "\xe0\x80", "\xed\xa0", "\xf4\x90",
                                      "\xf0\x9f\x98\x80\x80", "\x80\x80\x80\x80"})
    EXPECT_EQ(complete_utf8_prefix(text), text.size());
}

TEST(Utf8, CleaningInPiecesIsCleaningTheWhole) {
  std::mt19937 random(1);
  const std::string_view bytes =
      "ab\x80\xbf\xc3\xa9\xe2\x82\xac\xed\xa0\xf0\x9f\x98\x90\xf4\xff\xc0";
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (size_t n = random() % 40; n > 0; --n) text += bytes[random() % bytes.size()];
    std::string streamed, pending;
    for (size_t at = 0; at < text.size();) {
      const size_t step = 1 + random() % 5;
      pending += text.substr(at, step);
      at += step;
      const size_t complete = complete_utf8_prefix(pending);
      ASSERT_LE(pending.size() - complete, 3u);
      streamed += clean_utf8(std::string_view(pending).substr(0, complete)).text;
      pending.erase(0, complete);
    }
    streamed += clean_utf8(pending).text;
    const CleanText whole = clean_utf8(text);
    ASSERT_EQ(streamed, whole.text);
    ASSERT_TRUE(is_valid_utf8(whole.text));
    ASSERT_EQ(is_valid_utf8(text), whole.replaced == 0);
  }
}

TEST(Utf8, CountsCharacters) {
  EXPECT_EQ(count_characters(""), 0u);
  EXPECT_EQ(count_characters("a\u00e9\u4f60\U0001f600"), 4u);
}

}  // namespace
}  // namespace msa
