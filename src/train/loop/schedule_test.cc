#include "train/loop/schedule.h"

#include <gtest/gtest.h>

#include <set>

namespace msa::train {
namespace {

Phase phase_of(ScheduleKind kind) {
  Phase phase;
  phase.steps = 100;
  phase.learning_rate = 0.2;
  phase.schedule = {kind, 10, 0.1};
  return phase;
}

TEST(Schedule, WarmsUpInEqualSteps) {
  const Phase phase = phase_of(ScheduleKind::constant);
  for (uint64_t step = 0; step < 10; ++step)
    EXPECT_DOUBLE_EQ(learning_rate(phase, step, 0), 0.02 * static_cast<double>(step + 1));
  EXPECT_DOUBLE_EQ(learning_rate(phase, 10, 0.1), 0.2);
  EXPECT_DOUBLE_EQ(learning_rate(phase, 99, 1), 0.2);
}

TEST(Schedule, WarmsUpFromWhereThePhaseBeforeEnded) {
  Phase phase = phase_of(ScheduleKind::constant);
  phase.start_rate = 0.1;
  EXPECT_DOUBLE_EQ(learning_rate(phase, 0, 0), 0.11);
  EXPECT_DOUBLE_EQ(learning_rate(phase, 9, 0), 0.2);
  phase.start_rate = 0.4;  // down to the peak as well
  EXPECT_DOUBLE_EQ(learning_rate(phase, 4, 0), 0.3);
}

TEST(Schedule, FallsToTheFinalShare) {
  for (const ScheduleKind kind : {ScheduleKind::linear, ScheduleKind::cosine}) {
    const Phase phase = phase_of(kind);
    EXPECT_DOUBLE_EQ(learning_rate(phase, 10, 0), 0.2);
    EXPECT_NEAR(learning_rate(phase, 50, 0.5), 0.2 * 0.55, 1e-12);
    EXPECT_NEAR(learning_rate(phase, 99, 1), 0.02, 1e-12);
    for (uint64_t step = 11; step < 100; ++step)
      EXPECT_LT(learning_rate(phase, step, static_cast<double>(step) / 100),
                learning_rate(phase, step - 1, static_cast<double>(step - 1) / 100));
  }
}

TEST(Schedule, CountsStepsOrTokens) {
  Phase phase = phase_of(ScheduleKind::cosine);
  EXPECT_DOUBLE_EQ(share_done(phase, 25, 1'000'000), 0.25);
  EXPECT_DOUBLE_EQ(share_done(phase, 100, 0), 1);
  phase.steps = 0;
  phase.tokens = 1000;
  EXPECT_DOUBLE_EQ(share_done(phase, 25, 400), 0.4);
  EXPECT_DOUBLE_EQ(share_done(phase, 25, 1700), 1);
}

TEST(Schedule, DrawsEveryTopKAboutAsOften) {
  Phase phase;
  phase.top_k = {1, 2, 4, 8};
  std::map<size_t, int> drawn;
  for (uint64_t step = 0; step < 4000; ++step) ++drawn[drawn_top_k(phase, 7, step)];
  ASSERT_EQ(drawn.size(), 4u);
  for (const auto& [k, count] : drawn) EXPECT_NEAR(count, 1000, 120) << k;
  EXPECT_EQ(drawn_top_k(phase, 7, 123), drawn_top_k(phase, 7, 123));
  int different = 0;
  for (uint64_t step = 0; step < 100; ++step)
    different += drawn_top_k(phase, 7, step) != drawn_top_k(phase, 8, step);
  EXPECT_GT(different, 50);
}

TEST(IncludePositives, HappensInItsShareOfTheSteps) {
  Phase phase;
  const auto count = [&](double share) {
    phase.include_positives = share;
    size_t yes = 0;
    for (uint64_t step = 0; step < 4000; ++step) yes += drawn_include_positives(phase, 7, step);
    return yes;
  };
  EXPECT_EQ(count(0), 0u);
  EXPECT_EQ(count(1), 4000u);
  EXPECT_NEAR(static_cast<double>(count(0.3)), 1200, 120);
}

}  // namespace
}  // namespace msa::train
