#include "base/memory_room.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <vector>

#include "base/page_advice.h"

namespace msa {
namespace {

TEST(MemoryRoom, ReadsLinesOfTheSystem) {
  const char* text =
      "MemTotal:       24000000 kB\nMemAvailable:     2048 kB\nMemAvailableX: 1 kB\n";
  EXPECT_EQ(kilobytes_line(text, "MemAvailable"), 2048u * 1024);
  EXPECT_EQ(kilobytes_line(text, "MemTotal"), 24000000ull * 1024);
  for (const char* bad : {"", "MemAvailable", "MemAvailable:", "MemAvailable: x kB",
                          "MemAvailable: -5 kB", "MemAvailable: 18446744073709551615 kB"})
    EXPECT_EQ(kilobytes_line(bad, "MemAvailable"), std::nullopt) << bad;
}

TEST(MemoryRoom, AControlGroupLeavesWhatIsNotUsed) {
  EXPECT_EQ(room_in_cgroup("1000\n", "400\n", "anon 300\ninactive_file 100\n"), 700u);
  EXPECT_EQ(room_in_cgroup("1000\n", "400\n", ""), 600u);
  EXPECT_EQ(room_in_cgroup("1000\n", "1500\n", "inactive_file 0\n"), 0u);
  EXPECT_EQ(room_in_cgroup("1000\n", "400\n", "inactive_file 900\n"), 1000u);
  EXPECT_EQ(room_in_cgroup("max\n", "400\n", ""), std::nullopt);
  EXPECT_EQ(room_in_cgroup("", "", ""), std::nullopt);
}

TEST(MemoryRoom, ThisProcessHasSomeAndThereIsMore) {
  EXPECT_GT(resident_memory(), 1u << 20);
  EXPECT_GT(available_memory(), 1u << 20);
}

TEST(MemoryRoom, Text) {
  EXPECT_EQ(memory_text(0), "0 B");
  EXPECT_EQ(memory_text(999), "999 B");
  EXPECT_EQ(memory_text(7'340), "7.34 kB");
  EXPECT_EQ(memory_text(400'000'000), "400 MB");
  EXPECT_EQ(memory_text(57'600'000'000), "57.6 GB");
}

TEST(MemoryRoom, WhatIsMissingCountsWhatOthersOverdraw) {
  EXPECT_EQ((MemoryBudget{100, true, 0}.missing_for(250)), 150u);
  EXPECT_EQ((MemoryBudget{0, true, 40}.missing_for(250)), 290u);
  EXPECT_EQ((MemoryBudget{0, true, UINT64_MAX - 10}.missing_for(250)), UINT64_MAX);
}

TEST(PageAdvice, NeverChangesWhatIsThere) {
  std::vector<std::byte> bytes(20000, std::byte{7});
  fetch_ahead({});
  fetch_ahead(bytes);
  fetch_ahead(std::span(bytes).subspan(4097, 3));
  for (const std::byte b : bytes) ASSERT_EQ(b, std::byte{7});
}

}  // namespace
}  // namespace msa
