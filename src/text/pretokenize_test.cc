#include "text/pretokenize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "text/testing_tokenizer.h"

namespace msa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::string_view kQwenPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

struct Collector final : PieceSink {
  void piece(std::string_view text) override { pieces.emplace_back(text); }
  std::vector<std::string> pieces;
};

std::vector<std::string> split(const std::vector<SplitStep>& steps, std::string_view text) {
  const auto made = PreTokenizer::create(steps);
  EXPECT_TRUE(made.ok()) << made.error().message;
  if (!made) return {};
  PreTokenizer::Scratch scratch;
  Collector collector;
  made->split(text, scratch, collector);
  return collector.pieces;
}

std::string error_of(std::string_view pattern) {
  const auto made = PreTokenizer::create({{.pattern = std::string(pattern)}});
  return made.ok() ? "" : made.error().message;
}

TEST(PreTokenizer, WithoutStepsTheTextIsOnePiece) {
  EXPECT_THAT(split({}, "a b"), ElementsAre("a b"));
  EXPECT_THAT(split({}, ""), IsEmpty());
}

TEST(PreTokenizer, PatternOfQwen) {
  const std::vector<SplitStep> steps = {{.pattern = std::string(kQwenPattern)}};
  EXPECT_THAT(split(steps, "It's  12 o'CLOCK\n\n ok!!\n"),
              ElementsAre("It", "'s", " ", " ", "1", "2", " o", "'CLOCK", "\n\n", " ok", "!!\n"));
  EXPECT_THAT(split(steps, "WE'LL"), ElementsAre("WE", "'LL"));
}

TEST(PreTokenizer, KeepsOrDropsMatches) {
  const SplitStep base = {.pattern = "[0-9]+"};
  SplitStep drop = base, inverted = base;
  drop.discard = true;
  inverted.discard = inverted.invert = true;
  EXPECT_THAT(split({base}, "12ab3"), ElementsAre("12", "ab", "3"));
  EXPECT_THAT(split({drop}, "12ab3"), ElementsAre("ab"));
  EXPECT_THAT(split({inverted}, "12ab3"), ElementsAre("12", "3"));
}

TEST(PreTokenizer, LiteralPatternsAreNoRegularExpressions) {
  EXPECT_THAT(split({{.pattern = "a.", .literal = true}}, "aba.b"), ElementsAre("ab", "a.", "b"));
}

TEST(PreTokenizer, StepsApplyToThePiecesOfTheOneBefore) {
  // The second step's anchor sees each piece as a text of its own.
  EXPECT_THAT(split({{.pattern = "-"}, {.pattern = "^."}}, "ab-cd"),
              ElementsAre("a", "b", "-", "c", "d"));
}

TEST(PreTokenizer, EmptyMatchesCutWithoutPieces) {
  EXPECT_THAT(split({{.pattern = "(?=b)"}}, "abab"), ElementsAre("a", "ba", "b"));
  EXPECT_THAT(split({{.pattern = "x*"}}, "a\u00e9"), ElementsAre("a", "\u00e9"));
}

TEST(PreTokenizer, AddsASpace) {
  EXPECT_THAT(split({{.add_space = true}}, "a"), ElementsAre(" a"));
  EXPECT_THAT(split({{.add_space = true}}, " a"), ElementsAre(" a"));
  EXPECT_THAT(split({{.pattern = "-"}, {.add_space = true}}, "a-b"), ElementsAre(" a", " -", " b"));
}

TEST(PreTokenizer, WhiteSpaceIsUnicodes) {
  const std::vector<SplitStep> runs = {{.pattern = R"(\s+)"}};
  EXPECT_THAT(split(runs, "a\u0085\u00a0\u2028\u3000b"),
              ElementsAre("a", "\u0085\u00a0\u2028\u3000", "b"));
  // Mongolian vowel separator: not a space since Unicode 6.3, whatever PCRE2's \s says.
  EXPECT_THAT(split(runs, "a\u180eb"), ElementsAre("a\u180eb"));
  EXPECT_THAT(split({{.pattern = R"(\S+)"}}, "a\u180eb c"), ElementsAre("a\u180eb", " ", "c"));
  EXPECT_THAT(split({{.pattern = R"([^\S]+)"}}, "a\u180e b"), ElementsAre("a\u180e", " ", "b"));
}

TEST(PreTokenizer, AnchorsMatchAtLines) {
  EXPECT_THAT(split({{.pattern = "a$"}}, "ba\na"), ElementsAre("b", "a", "\n", "a"));
}

TEST(PreTokenizer, PiecesMakeUpTheText) {
  const auto made = PreTokenizer::create({{.pattern = std::string(kQwenPattern)}});
  PreTokenizer::Scratch scratch;
  std::mt19937 random(1);
  for (int round = 0; round < 500; ++round) {
    const std::string text = testing::random_text(random, random() % 60);
    Collector collector;
    made->split(text, scratch, collector);
    std::string joined;
    for (const std::string& piece : collector.pieces) {
      EXPECT_FALSE(piece.empty());
      joined += piece;
    }
    EXPECT_EQ(joined, text);
  }
}

TEST(PreTokenizer, ReportsBadPatterns) {
  EXPECT_THAT(error_of("(a"), ::testing::AllOf(HasSubstr("\"(a\""), HasSubstr("parenthesis")));
  EXPECT_THAT(error_of("[z-a]"), HasSubstr("range out of order"));
  EXPECT_THAT(error_of(R"(\p{Nonsense})"), HasSubstr("unknown property"));
  EXPECT_THAT(error_of("a\\"), HasSubstr("\\ at end of pattern"));
  EXPECT_THAT(error_of("a\n("), ::testing::Not(HasSubstr("\n")));
  EXPECT_THAT(error_of(std::string(1 << 20, 'a')), HasSubstr("1048576 bytes"));
  EXPECT_NE(error_of(std::string(5000, '(') + std::string(5000, ')')), "");
}

TEST(PreTokenizer, RefusesWhatOnigurumaReadsDifferently) {
  for (const std::string_view pattern :
       {R"(\w+)", R"(\h)", R"(\bx)", R"([\w])", R"(\X)", "[a-z&&[^b]]", "[a[b]]", "(?m:.)", "(?s).",
        "(*UCP)a", R"(\Qa\E)"})
    EXPECT_THAT(error_of(pattern), HasSubstr("is not supported")) << pattern;
  for (const std::string_view pattern :
       {"(?i:a)", "(?:a)", "(?=a)", "(?!a)", "(?<=a)", "(?<!a)", "(?>a)", "[[:alpha:]]", "[]a]",
        "[^]a]", R"([\]a])", R"(\p{L}\P{N}\d\D\n\t\x{41}\.)", "a++", "[&]"})
    EXPECT_EQ(error_of(pattern), "") << pattern;
}

TEST(PreTokenizer, TranslatesWhiteSpaceOnly) {
  EXPECT_EQ(to_pcre2_dialect(R"([^\r\n\p{L}]?\p{L}+|(?i:'s)|\\s)").value(),
            R"([^\r\n\p{L}]?\p{L}+|(?i:'s)|\\s)");
  EXPECT_EQ(to_pcre2_dialect(R"(\S)").value(), R"([\S\x{180e}])");
  EXPECT_EQ(to_pcre2_dialect(R"([\S])").value(), R"([\S\x{180e}])");
}

TEST(PreTokenizer, GivesUpOnExponentialPatternsAndGoesOn) {
  const std::string text = std::string(3000, 'a') + "c";
  const auto pieces = split({{.pattern = "(a+)+b|c"}}, text);
  std::string joined;
  for (const std::string& piece : pieces) joined += piece;
  EXPECT_EQ(joined, text);
  EXPECT_LE(pieces.size(), 8u);
}

TEST(PreTokenizer, DeepMatchesDoNotOverflowTheStack) {
  const std::string text(200'000, 'a');
  std::string joined;
  for (const std::string& piece : split({{.pattern = "(?:a|(b))+"}}, text)) joined += piece;
  EXPECT_EQ(joined, text);
}

}  // namespace
}  // namespace msa
