#include "plan/quantity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace msa::plan {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(Quantity, CountsAreDecimal) {
  const std::pair<const char*, uint64_t> cases[] = {{"1", 1},
                                                    {"250000", 250'000},
                                                    {"16k", 16'000},
                                                    {"100M", 100'000'000},
                                                    {"1.5G", 1'500'000'000},
                                                    {"1.5b", 1'500'000'000},
                                                    {"2T", 2'000'000'000'000},
                                                    {"0.000001M", 1},
                                                    {"1.500000K", 1500},
                                                    {"18446744073709551615", UINT64_MAX}};
  for (const auto& [text, value] : cases) {
    const auto parsed = parse_count(text, "--tokens");
    ASSERT_TRUE(parsed) << text << ": " << parsed.error().message;
    EXPECT_EQ(*parsed, value) << text;
  }
}

TEST(Quantity, BytesAreBinaryUnlessTheySayOtherwise) {
  const std::pair<const char*, uint64_t> cases[] = {{"4096", 4096},
                                                    {"7B", 7},
                                                    {"24G", uint64_t{24} << 30},
                                                    {"64GiB", uint64_t{64} << 30},
                                                    {"64gib", uint64_t{64} << 30},
                                                    {"80GB", 80'000'000'000},
                                                    {"1.5KiB", 1536},
                                                    {"1.5KB", 1500},
                                                    {"1.5", 1},  // parts of a byte are dropped
                                                    {"2T", uint64_t{2} << 40},
                                                    {"512m", uint64_t{512} << 20}};
  for (const auto& [text, value] : cases) {
    const auto parsed = parse_bytes(text, "--ram");
    ASSERT_TRUE(parsed) << text << ": " << parsed.error().message;
    EXPECT_EQ(*parsed, value) << text;
  }
}

TEST(Quantity, RatesMayBeParts) {
  EXPECT_DOUBLE_EQ(*parse_bandwidth("900GB/s", "x"), 900e9);
  EXPECT_DOUBLE_EQ(*parse_bandwidth("40G", "x"), 40e9);
  EXPECT_DOUBLE_EQ(*parse_bandwidth("1GiB/s", "x"), 1024.0 * 1024 * 1024);
  EXPECT_DOUBLE_EQ(*parse_bandwidth("2.5T", "x"), 2.5e12);
  EXPECT_DOUBLE_EQ(*parse_rate("12.5", "x"), 12.5);
  EXPECT_DOUBLE_EQ(*parse_rate("100T", "x"), 100e12);
}

TEST(Quantity, ErrorsQuoteTheTextAndNameTheOption) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "does not begin with a digit"},
      {"-1", "does not begin with a digit"},
      {"+1", "does not begin with a digit"},
      {" 1", "does not begin with a digit"},
      {".5M", "does not begin with a digit"},
      {"many", "does not begin with a digit"},
      {"1.", "has no digit after its point"},
      {"1.M", "has no digit after its point"},
      {"1.1234567M", "more than 6 digits"},
      {"0", "is zero"},
      {"0.0G", "is zero"},
      {"1 M", "ends in ' M'"},
      {"1e9", "ends in 'e9'"},
      {"100,000", "ends in ',000'"},
      {"1X", "ends in 'X'"},
      {"1MM", "ends in 'MM'"},
      {"1KiB", "ends in 'KiB'"},  // bytes of tokens are not tokens
      {"1.5", "is not a whole number"},
      {"0.0001K", "is not a whole number"},
      {"18446744073709551616", "is too large"},
      {"18446744073709551615K", "is too large"},
      {"99999999999999999999999999", "is too large"},
      {"20000000T", "is too large"}};
  for (const auto& [text, why] : cases) {
    const auto parsed = parse_count(text, "--tokens");
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code, Code::invalid_argument);
    EXPECT_THAT(parsed.error().message, StartsWith("--tokens: '" + std::string(text) + "' "));
    EXPECT_THAT(parsed.error().message, HasSubstr(why)) << text;
    EXPECT_THAT(parsed.error().message, HasSubstr("; write for example"));
  }
  EXPECT_FALSE(parse_bytes("16777216T", "--ram"));  // 2^64
  EXPECT_TRUE(parse_bytes("16777215T", "--ram"));
  EXPECT_FALSE(parse_bytes("0.1", "--ram"));
  EXPECT_FALSE(parse_bytes("24Gb/s", "--ram"));
  EXPECT_FALSE(parse_bandwidth("0GB/s", "x"));
  EXPECT_FALSE(parse_bandwidth("/s", "x"));
  EXPECT_FALSE(parse_bandwidth("1G/m", "x"));
  EXPECT_FALSE(parse_rate("1GB", "x"));
}

}  // namespace
}  // namespace msa::plan
