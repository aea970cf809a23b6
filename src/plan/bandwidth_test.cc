#include "plan/bandwidth.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace msa::plan {
namespace {

TEST(Bandwidth, IsThatOfSomeMemory) {
  for (const int threads : {0, 1, 3}) {
    const auto bandwidth = measure_memory_bandwidth(threads, size_t{8} << 20);
    ASSERT_TRUE(bandwidth) << bandwidth.error().message;
    // No machine is as slow or as fast as this, caches and sanitizers included.
    EXPECT_GT(*bandwidth, 1e6);
    EXPECT_LT(*bandwidth, 1e15);
  }
}

TEST(Bandwidth, WorksWithFewerWordsThanThreads) {
  EXPECT_TRUE(measure_memory_bandwidth(7, 1));
  EXPECT_TRUE(measure_memory_bandwidth(7, 100));
}

TEST(Bandwidth, TooMuchMemoryIsAnError) {
  const auto bandwidth = measure_memory_bandwidth(1, size_t{1} << 60);
  ASSERT_FALSE(bandwidth);
  EXPECT_EQ(bandwidth.error().code, Code::no_space);
  EXPECT_THAT(bandwidth.error().message, ::testing::HasSubstr("memory bandwidth"));
}

}  // namespace
}  // namespace msa::plan
