#include "cli/text_layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <clocale>
#include <random>

namespace msa::cli {
namespace {

using ::testing::ElementsAre;

class TextLayout : public ::testing::Test {
 protected:
  void SetUp() override { std::setlocale(LC_CTYPE, "C.UTF-8"); }
};

TEST_F(TextLayout, EscapeSequencesLoseTheirPower) {
  EXPECT_EQ(printable("a\x1b[2Jb"), "a\uFFFD[2Jb");
  EXPECT_EQ(printable("a\rb\x7f"), "a\uFFFDb\uFFFD");
  EXPECT_EQ(printable("\xC2\x9B"
                      "31m"),
            "\uFFFD31m")
      << "C1 control characters";
  EXPECT_EQ(printable("a\tb\nc"), "a\tb\nc");
  EXPECT_EQ(printable_line("a\tb\nc"), "a b c");
  EXPECT_EQ(printable(std::string_view("a\0b", 3)), "a\uFFFDb");
}

TEST_F(TextLayout, InvalidUtf8IsReplaced) {
  EXPECT_EQ(printable("é漢😀"), "é漢😀");
  EXPECT_EQ(printable("a\xFFz"), "a\uFFFDz");
  EXPECT_EQ(printable("\xE6\xBC"), "\uFFFD");                            // cut short
  EXPECT_EQ(printable("\xC0\xAF"), "\uFFFD\uFFFD");                      // overlong
  EXPECT_EQ(printable("\xED\xA0\x80").find('\xED'), std::string::npos);  // surrogate
}

TEST_F(TextLayout, AnyBytesBecomeTextThatStaysAsItIs) {
  std::mt19937 random(7);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes(random() % 24, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    const std::string text = printable(bytes);
    EXPECT_EQ(printable(text), text);
    for (size_t width : {1u, 5u, 20u})
      EXPECT_LE(display_width(fit(printable_line(bytes), width)), width);
  }
}

TEST_F(TextLayout, WideCharactersTakeTwoColumns) {
  EXPECT_EQ(display_width("abc"), 3u);
  EXPECT_EQ(display_width("é"), 1u);
  EXPECT_EQ(display_width("漢字"), 4u);
}

TEST_F(TextLayout, FitCutsAndSaysSo) {
  EXPECT_EQ(fit("abcdef", 6), "abcdef");
  EXPECT_EQ(fit("abcdef", 5), "abcd…");
  EXPECT_EQ(fit("漢字漢字", 5), "漢字…");
  EXPECT_EQ(fit("漢字漢字", 6), "漢字…");
  EXPECT_EQ(fit("abc", 0), "");
}

TEST_F(TextLayout, WrapBreaksAtSpaces) {
  EXPECT_THAT(wrap("one two three", 7), ElementsAre("one two", "three"));
  EXPECT_THAT(wrap("incomprehensible no", 5), ElementsAre("incomprehensible", "no"));
  EXPECT_THAT(wrap("a\r\n\nb", 10), ElementsAre("a", "", "b"));
  EXPECT_THAT(wrap("one two three", 0), ElementsAre("one two three"));
  EXPECT_THAT(wrap("", 10), ElementsAre(""));
}

}  // namespace
}  // namespace msa::cli
