#include "cli/format.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace msa::cli {
namespace {

TEST(Format, CountsAreGrouped) {
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_count(999), "999");
  EXPECT_EQ(format_count(1000), "1,000");
  EXPECT_EQ(format_count(1234567), "1,234,567");
  EXPECT_EQ(format_count(std::numeric_limits<uint64_t>::max()), "18,446,744,073,709,551,615");
}

TEST(Format, BytesHaveAUnit) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1536), "1.5 KiB");
  EXPECT_EQ(format_bytes((1u << 20) - 1), "1.0 MiB");
  EXPECT_EQ(format_bytes(uint64_t{5000} << 40), "5000.0 TiB");
}

TEST(Format, DecimalBytesAreAsDisksAreSold) {
  EXPECT_EQ(format_decimal_bytes(999), "999 B");
  EXPECT_EQ(format_decimal_bytes(1536), "1.5 kB");
  EXPECT_EQ(format_decimal_bytes(57'600'000'000), "57.6 GB");
  EXPECT_EQ(format_decimal_bytes(999'960'000), "1.0 GB");
  EXPECT_EQ(format_decimal_bytes(5'000'000'000'000'000), "5000.0 TB");
}

TEST(Format, RatesAndDurations) {
  EXPECT_EQ(format_rate(12.34), "12.3");
  EXPECT_EQ(format_rate(1234.5), "1,235");
  EXPECT_EQ(format_rate(std::nan("")), "?");
  EXPECT_EQ(format_rate(-1), "?");
  EXPECT_EQ(format_duration(0.84), "0.8 s");
  EXPECT_EQ(format_duration(59.4), "59 s");
  EXPECT_EQ(format_duration(75), "1:15");
  EXPECT_EQ(format_duration(3661), "1:01:01");
  EXPECT_EQ(format_duration(INFINITY), "?");
}

TEST(Format, NumbersHaveThreeDigits) {
  EXPECT_EQ(format_number(0.123456), "0.123");
  EXPECT_EQ(format_number(12.3456), "12.3");
  EXPECT_EQ(format_number(1234.5), "1,235");
  EXPECT_EQ(format_number(-98765.4), "-98,765");
  EXPECT_EQ(format_number(std::nan("")), "?");
}

TEST(Format, OneAndMany) {
  EXPECT_EQ(counted(1, "token", "tokens"), "1 token");
  EXPECT_EQ(counted(0, "token", "tokens"), "0 tokens");
  EXPECT_EQ(counted(2500, "token", "tokens"), "2,500 tokens");
}

}  // namespace
}  // namespace msa::cli
