#include "cli/signals.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace msa::cli {
namespace {

void wait_until(const std::function<bool()>& done) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!done() && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

class StopOnSignalTest : public ::testing::Test {
 protected:
  // Whoever runs the tests may have it ignored; then it rightly stays so.
  void SetUp() override { ::signal(SIGINT, SIG_DFL), ::signal(SIGTERM, SIG_DFL); }
};

TEST_F(StopOnSignalTest, TheFirstSignalRequestsAStop) {
  std::atomic<int> calls = 0;
  StopOnSignal stop([&] { ++calls; });
  EXPECT_FALSE(stop.requested());
  EXPECT_EQ(stop.signal(), 0);
  ::raise(SIGTERM);
  wait_until([&] { return calls > 0; });
  EXPECT_TRUE(stop.token().stop_requested());
  EXPECT_EQ(stop.signal(), SIGTERM);
  EXPECT_EQ(calls, 1);
}

TEST_F(StopOnSignalTest, EachOneStartsAfresh) {
  for (int i = 0; i < 20; ++i) {
    StopOnSignal stop;
    EXPECT_FALSE(stop.requested());
    ::raise(SIGINT);
    wait_until([&] { return stop.requested(); });
    EXPECT_EQ(stop.signal(), SIGINT);
  }
}

TEST_F(StopOnSignalTest, HandlersArePutBack) {
  { StopOnSignal stop; }
  struct sigaction now {};
  ::sigaction(SIGINT, nullptr, &now);
  EXPECT_EQ(now.sa_handler, SIG_DFL);
}

TEST_F(StopOnSignalTest, AnIgnoredSignalStaysIgnored) {
  ::signal(SIGINT, SIG_IGN);
  StopOnSignal stop;
  ::raise(SIGINT);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_FALSE(stop.requested());
}

TEST(StopOnSignalDeathTest, TheSecondSignalEndsTheProcess) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(
      {
        ::signal(SIGINT, SIG_DFL);
        StopOnSignal stop;
        ::raise(SIGINT);
        ::raise(SIGINT);
      },
      ::testing::KilledBySignal(SIGINT), "");
}

}  // namespace
}  // namespace msa::cli
