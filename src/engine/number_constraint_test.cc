#include "engine/number_constraint.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace msa {
namespace {

const Tokenizer& tokenizer() {
  static const auto loaded = Tokenizer::load(MSA_TESTDATA "/qwen3-tokenizer/tokenizer.json");
  if (!loaded) throw std::runtime_error(loaded.error().message);
  return **loaded;
}

bool allows(NumberConstraint& constraint, std::string_view bytes) {
  const std::optional<TokenId> token = tokenizer().find(bytes);
  if (!token) throw std::runtime_error("no token " + std::string(bytes));
  const auto mask = constraint.allowed();
  return mask.empty() || mask[static_cast<size_t>(*token)] != 0;
}

TEST(NumberConstraint, DigitsLeadToAnAllowedNumber) {
  const std::vector<uint32_t> numbers = {4, 17, 171, 20};
  NumberConstraint c(tokenizer(), numbers);
  EXPECT_TRUE(allows(c, "["));
  EXPECT_TRUE(allows(c, "Hello"));
  EXPECT_TRUE(allows(c, "<|object_ref_end|>"));
  EXPECT_TRUE(allows(c, "7")) << "digits outside brackets are text";
  c.push("[");
  EXPECT_TRUE(allows(c, "1"));
  EXPECT_TRUE(allows(c, "2"));
  EXPECT_TRUE(allows(c, "4"));
  EXPECT_FALSE(allows(c, "7"));
  EXPECT_FALSE(allows(c, "0"));
  EXPECT_FALSE(allows(c, "]"));
  EXPECT_FALSE(allows(c, "Hello"));
  EXPECT_FALSE(allows(c, "["));
  EXPECT_FALSE(allows(c, "<|object_ref_end|>"));
  c.push("1");
  EXPECT_TRUE(allows(c, "7"));
  EXPECT_FALSE(allows(c, "1"));
  EXPECT_FALSE(allows(c, "]")) << "1 is not in the set";
  c.push("7");
  EXPECT_TRUE(allows(c, "1"));
  EXPECT_TRUE(allows(c, "]"));
  EXPECT_TRUE(allows(c, "]["));
  EXPECT_FALSE(allows(c, "7"));
  c.push("]");
  EXPECT_TRUE(allows(c, "Hello"));
  EXPECT_TRUE(allows(c, "["));
}

TEST(NumberConstraint, TokensThatHoldBracketsAreFollowed) {
  const std::vector<uint32_t> numbers = {4};
  NumberConstraint c(tokenizer(), numbers);
  EXPECT_TRUE(allows(c, " ["));
  EXPECT_FALSE(allows(c, "[]"));
  EXPECT_FALSE(allows(c, "[i"));
  EXPECT_FALSE(allows(c, " [\""));
  EXPECT_TRUE(allows(c, "]["));
  EXPECT_TRUE(allows(c, "]")) << "closes nothing";
  c.push("[4");
  EXPECT_TRUE(allows(c, "]"));
  EXPECT_TRUE(allows(c, "]["));
  EXPECT_TRUE(allows(c, "]\n"));
  EXPECT_FALSE(allows(c, "][\""));
  c.push("][");
  EXPECT_TRUE(allows(c, "4"));
  EXPECT_FALSE(allows(c, "Hello"));
}

TEST(NumberConstraint, WithoutNumbersNoBracketOpens) {
  NumberConstraint c(tokenizer(), {});
  EXPECT_FALSE(allows(c, "["));
  EXPECT_FALSE(allows(c, " ["));
  EXPECT_FALSE(allows(c, "]["));
  EXPECT_TRUE(allows(c, "]"));
  EXPECT_TRUE(allows(c, "Hello"));
}

TEST(NumberConstraint, ZeroLargestAndDuplicates) {
  const std::vector<uint32_t> numbers = {0, UINT32_MAX, 0};
  NumberConstraint c(tokenizer(), numbers);
  c.push("[");
  EXPECT_TRUE(allows(c, "0"));
  c.push("0");
  EXPECT_FALSE(allows(c, "0"));
  EXPECT_TRUE(allows(c, "]"));
  c.push("][429496729");
  EXPECT_TRUE(allows(c, "5"));
  EXPECT_FALSE(allows(c, "6"));
  c.push("5");
  EXPECT_TRUE(allows(c, "]"));
}

TEST(NumberConstraint, TextThatBrokeTheRulesDoesNotBlockGeneration) {
  const std::vector<uint32_t> numbers = {4};
  NumberConstraint c(tokenizer(), numbers);
  c.push("[9");
  EXPECT_TRUE(c.allowed().empty());
  c.push(" and so on");
  EXPECT_TRUE(allows(c, "Hello"));
  EXPECT_TRUE(allows(c, "["));
}

// The rule, on whole texts: after each "[" come the digits of a number and "]", or the text ends
// before that.
bool keeps_rule(std::string_view text, const std::vector<uint32_t>& numbers) {
  for (size_t open = text.find('['); open != std::string_view::npos;
       open = text.find('[', open + 1)) {
    const std::string_view rest = text.substr(open + 1);
    const bool fits = std::any_of(numbers.begin(), numbers.end(), [&](uint32_t number) {
      const std::string closed = std::to_string(number) + "]";
      return rest.starts_with(closed) || (closed.starts_with(rest) && rest.size() < closed.size());
    });
    if (!fits) return false;
  }
  return true;
}

// Random walks through allowed tokens keep the rule, and every token that is refused would break
// it.
TEST(NumberConstraint, RandomWalksKeepToTheSet) {
  std::mt19937_64 random(5);
  std::vector<TokenId> interesting;
  for (size_t i = 0; i < tokenizer().vocabulary_size(); ++i) {
    const std::string_view bytes = tokenizer().token_bytes(static_cast<TokenId>(i));
    if (bytes.find_first_of("[]0123456789") != std::string_view::npos)
      interesting.push_back(static_cast<TokenId>(i));
  }
  ASSERT_GT(interesting.size(), 500u);
  for (int walk = 0; walk < 40; ++walk) {
    std::vector<uint32_t> numbers(1 + random() % 5);
    for (uint32_t& number : numbers) number = static_cast<uint32_t>(random() % 300);
    NumberConstraint c(tokenizer(), numbers);
    std::string text;
    for (int i = 0; i < 60 && text.size() < 200; ++i) {
      const TokenId token = interesting[random() % interesting.size()];
      const std::string bytes(tokenizer().token_bytes(token));
      if (bytes.size() > 12) continue;
      const auto mask = c.allowed();
      const bool allowed = mask.empty() || mask[static_cast<size_t>(token)] != 0;
      EXPECT_EQ(allowed, keeps_rule(text + bytes, numbers)) << text << " + " << bytes;
      if (!allowed) continue;
      text += bytes;
      c.push(bytes);
    }
  }
}

}  // namespace
}  // namespace msa
