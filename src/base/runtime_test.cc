#include "base/runtime.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <string>
#include <thread>
#include <vector>

#include "base/cpu_quota.h"

namespace msa {
namespace {

TEST(Threads, AskedForIsWhatOneGets) {
  EXPECT_EQ(resolve_threads(1), 1);
  EXPECT_EQ(resolve_threads(77), 77);
}

TEST(Threads, AutomaticIsBetweenOneAndTheCores) {
  for (int asked : {0, -1, -100}) {
    EXPECT_GE(resolve_threads(asked), 1);
    EXPECT_LE(resolve_threads(asked), static_cast<int>(std::thread::hardware_concurrency()));
  }
}

TEST(Threads, FollowTheAffinityMask) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  cpu_set_t one;
  CPU_ZERO(&one);
  for (size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &before)) {
      CPU_SET(cpu, &one);
      break;
    }
  if (sched_setaffinity(0, sizeof(one), &one) != 0) GTEST_SKIP() << "the mask cannot be changed";
  const int threads = resolve_threads(0);
  ASSERT_EQ(sched_setaffinity(0, sizeof(before), &before), 0);
  EXPECT_EQ(threads, 1);
}

TEST(CpuQuota, WholeCoresRoundedUp) {
  EXPECT_EQ(cores_of_cpu_max("100000 100000"), 1);
  EXPECT_EQ(cores_of_cpu_max("150000 100000\n"), 2);
  EXPECT_EQ(cores_of_cpu_max("50000 100000"), 1);
  EXPECT_EQ(cores_of_cpu_max(" 800000\t100000 "), 8);
  EXPECT_EQ(cores_of_cpu_max("9223372036854775807 1"), 2147483647);
}

TEST(CpuQuota, NoLimitOrNonsense) {
  for (const char* text : {"max 100000", "-1 100000", "", "\n", "100000", "100000 0", "0 100000",
                           "1e5 100000", "100000 x", "99999999999999999999 1"})
    EXPECT_EQ(cores_of_cpu_max(text), std::nullopt) << text;
}

TEST(CpuQuota, OfThisProcessIsPositive) {
  if (const auto cores = cgroup_cores()) {
    EXPECT_GE(*cores, 1);
    EXPECT_LE(resolve_threads(0), *cores);
  }
}

TEST(Logger, PassesWhatIsSevereEnough) {
  std::vector<std::string> lines;
  const Logger logger([&](LogLevel, std::string_view text) { lines.emplace_back(text); });
  logger.debug("a");
  logger.info("b");
  logger.warning("c");
  EXPECT_EQ(lines, (std::vector<std::string>{"b", "c"}));
  Logger().warning("dropped");
}

}  // namespace
}  // namespace msa
