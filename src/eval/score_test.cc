#include "eval/score.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "base/random.h"

namespace msa::eval {
namespace {

Score score(std::string_view answer, std::vector<std::string> expected,
            std::vector<std::string> values = {}) {
  return score_answer(answer, expected, values);
}

TEST(Score, NormalisesAsSquadDoes) {
  EXPECT_EQ(normalise("The  Brooklyn\tBridge."), "brooklyn bridge");
  EXPECT_EQ(normalise("a An THE anthem"), "anthem");
  EXPECT_EQ(normalise("N'Djamena, Chad"), "ndjamena chad");
  EXPECT_EQ(normalise("1,234.5"), "12345");
  EXPECT_EQ(normalise("thea, the-a"), "thea thea");
  EXPECT_EQ(normalise(" \n "), "");
  EXPECT_EQ(normalise("the"), "");
  EXPECT_EQ(normalise("Émile ÉCOLE"), "Émile École");  // beyond ASCII, letters stay
}

TEST(Score, ExactMatchIgnoresWhatNormalisingDrops) {
  EXPECT_EQ(score("the Blue, Whale", {"blue whale"}).exact, 1);
  EXPECT_EQ(score("blue whales", {"blue whale"}).exact, 0);
  EXPECT_EQ(score("1001", {"code 1001", "1001"}).exact, 1);
  EXPECT_EQ(score("", {"blue whale"}).exact, 0);
}

TEST(Score, F1CountsCommonWordsOnceEach) {
  EXPECT_DOUBLE_EQ(score("big blue whale", {"blue whale"}).f1, 0.8);
  EXPECT_DOUBLE_EQ(score("blue blue blue", {"blue"}).f1, 0.5);
  EXPECT_DOUBLE_EQ(score("red", {"blue"}).f1, 0);
  EXPECT_DOUBLE_EQ(score("", {"blue"}).f1, 0);
  EXPECT_DOUBLE_EQ(score("whale blue", {"blue whale"}).f1, 1);
  EXPECT_DOUBLE_EQ(score("one", {"two", "one three"}).f1, 2.0 / 3);
}

TEST(Score, ContainsComparesWholeWordsInOrder) {
  EXPECT_EQ(score("It is the blue whale.", {"blue whale"}).contains, 1);
  EXPECT_EQ(score("It is 15 metres", {"5"}).contains, 0);
  EXPECT_EQ(score("the whale is blue", {"blue whale"}).contains, 0);
  EXPECT_EQ(score("of 3.5%", {"3.5%"}).contains, 1);
}

TEST(Score, ValuesAreFoundAnywhereWhateverTheirCase) {
  const Score s = score("They are 123 and abcDEF.", {"123, 456, ABCdef"}, {"123", "456", "ABCdef"});
  EXPECT_DOUBLE_EQ(s.values, 2.0 / 3);
  EXPECT_DOUBLE_EQ(s.accuracy, s.values);
  EXPECT_EQ(s.exact, 0);
  EXPECT_EQ(score("456, abcdef and 123", {"123, 456, ABCdef"}, {"123", "456", "ABCdef"}).exact, 0);
  EXPECT_EQ(score("456, abcdef, 123", {"123, 456, ABCdef"}, {"123", "456", "ABCdef"}).exact, 1);
  EXPECT_EQ(score("456, 456, 123", {"123, 456, ABCdef"}, {"123", "456", "ABCdef"}).exact, 0);
  EXPECT_EQ(score("blue the whale", {"whale blue"}, {"whale blue"}).exact, 0);
  const Score without = score("code 7 it is", {"code 7"});
  EXPECT_EQ(without.values, 1);
  EXPECT_EQ(without.accuracy, 0);
  EXPECT_EQ(score("code 7", {"code 7"}).accuracy, 1);
}

TEST(Score, TextsThatNormaliseToNothingAreComparedAsTheyAre) {
  EXPECT_EQ(score("%", {"%"}).exact, 1);
  EXPECT_EQ(score("", {"%"}).exact, 0);
  EXPECT_EQ(score("5 %", {"%"}).contains, 1);
  EXPECT_EQ(score("!", {"the"}).exact, 0);
}

TEST(Score, EveryScoreIsAShareAndTheAnswerItselfIsRight) {
  Random draw(1);
  const std::string letters = "ab the,.%\n\xc3\xa9";
  const auto text = [&] {
    std::string t;
    for (uint64_t i = draw.below(12); i > 0; --i) t += letters[draw.below(letters.size())];
    return t;
  };
  for (int i = 0; i < 3000; ++i) {
    const std::string answer = text();
    const std::vector<std::string> expected = {text(), text()};
    const Score s = score_answer(answer, expected, std::vector<std::string>{text() + "x"});
    for (const double value : {s.exact, s.f1, s.contains, s.values, s.accuracy}) {
      EXPECT_GE(value, 0);
      EXPECT_LE(value, 1);
    }
    EXPECT_LE(s.exact, s.f1) << answer << " | " << expected[0] << " | " << expected[1];
    EXPECT_LE(s.exact, s.contains) << answer;
    EXPECT_EQ(score(expected[1], expected).exact, 1);
    EXPECT_EQ(score(expected[1], expected).f1, 1);
  }
}

}  // namespace
}  // namespace msa::eval
