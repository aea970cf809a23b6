#include "train/loop/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <tuple>

#include "base/test_folder.h"
#include "train/loop/metrics.h"
#include "train/loop/plot.h"

namespace msa::train {
namespace {

using testing::HasSubstr;

LogRecord record_at(uint64_t step, std::string phase = "main") {
  LogRecord record;
  record.step = step;
  record.phase = std::move(phase);
  record.tokens = step * 1000;
  record.metrics.loss = 2.0 / static_cast<double>(step);
  record.metrics.lm_loss = 1.0 / static_cast<double>(step);
  record.metrics.recall_at_1 = 0.123456;
  record.learning_rate = 1.5e-4;
  record.gradient_norm = 12.25;
  record.tokens_per_second = 10234;
  record.resident_bytes = 5'000'000'000;
  record.seconds = 61.5;
  record.skipped_steps = 2;
  record.samples_skipped = 3;
  return record;
}

TEST(Log, RecordsAreReadBackAsWritten) {
  const std::string line = write_log_record(record_at(4));
  EXPECT_THAT(line, Not(HasSubstr("\n")));
  EXPECT_THAT(line, Not(HasSubstr("answer_loss")));  // no batch had any
  const Result<LogRecord> read = parse_log_record(line, "x:1");
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(write_log_record(*read), line);
  EXPECT_EQ(read->step, 4u);
  EXPECT_EQ(read->metrics.loss, 0.5);
  EXPECT_EQ(read->metrics.recall_at_1, 0.123456);
  EXPECT_EQ(read->resident_bytes, 5'000'000'000u);
  EXPECT_EQ(read->samples_skipped, 3u);
  EXPECT_FALSE(read->metrics.answer_loss);

  LogRecord evaluation = record_at(3);
  evaluation.evaluation = true;
  const Result<LogRecord> back = parse_log_record(write_log_record(evaluation), "x:1");
  ASSERT_TRUE(back.ok());
  EXPECT_TRUE(back->evaluation);
  EXPECT_EQ(back->metrics.lm_loss, 0.333333);
}

// Not every batch routes, and those that do not have no auxiliary loss.
TEST(Log, TheLossIsTheSumOfWhatIsLogged) {
  MetricsSum sum;
  for (const auto& [lm_loss, aux_loss, routed] :
       {std::tuple(2.0, 0.5, 3), std::tuple(1.0, 0.0, 0), std::tuple(4.0, 0.25, 1),
        std::tuple(1.0, 0.0, 0)}) {
    StepMetrics step;
    step.lm_loss = lm_loss;
    step.aux_loss = aux_loss;
    step.loss = 0.5 * lm_loss + 2 * aux_loss;
    step.routed_queries = routed;
    sum.add(step);
  }
  LogRecord record = record_at(1);
  record.metrics = sum.mean();
  const Metrics logged = parse_log_record(write_log_record(record), "x:1")->metrics;
  EXPECT_DOUBLE_EQ(*logged.routed_share, 0.5);
  EXPECT_DOUBLE_EQ(*logged.aux_loss, 0.375);
  EXPECT_NEAR(logged.loss, 0.5 * *logged.lm_loss + 2 * *logged.routed_share * *logged.aux_loss,
              1e-5);
  EXPECT_FALSE(MetricsSum().mean().routed_share);
}

TEST(Log, WhatIsNotFiniteIsNull) {
  LogRecord record = record_at(1);
  record.metrics.loss = NAN;
  record.gradient_norm = INFINITY;
  const std::string line = write_log_record(record);
  EXPECT_THAT(line, HasSubstr("\"loss\":null"));
  EXPECT_TRUE(std::isnan(parse_log_record(line, "x")->metrics.loss));
}

TEST(Log, ABadLineIsNamed) {
  const TestFolder folder;
  const auto file = folder.put("log.jsonl", write_log_record(record_at(1)) + "\n{\"step\": -1}\n");
  const auto read = read_log(file);
  ASSERT_FALSE(read.ok());
  EXPECT_THAT(read.error().message, HasSubstr("log.jsonl:2"));
}

TEST(Log, ResumingDropsWhatCameAfterTheCheckpointAndHalfALine) {
  const TestFolder folder;
  const auto file = folder / "log.jsonl";
  {
    Result<LogFile> log = LogFile::create(file);
    ASSERT_TRUE(log.ok());
    for (uint64_t step = 1; step <= 5; ++step) ASSERT_TRUE(log->append(record_at(step)).ok());
  }
  const std::string whole = TestFolder::get(file);
  folder.put("log.jsonl", whole + R"({"step":6,"pha)");
  EXPECT_EQ(read_log(file)->size(), 5u);
  {
    Result<LogFile> log = LogFile::resume(file, 3);
    ASSERT_TRUE(log.ok());
    ASSERT_TRUE(log->append(record_at(4)).ok());
    ASSERT_TRUE(log->append(record_at(5)).ok());
  }
  EXPECT_EQ(TestFolder::get(file), whole);
  ASSERT_TRUE(LogFile::create(file).ok());
  EXPECT_EQ(TestFolder::get(file), "");
}

TEST(Plot, DrawsEveryCurveWithinThePage) {
  std::vector<LogRecord> records;
  for (uint64_t step = 1; step <= 1000; ++step)
    records.push_back(record_at(step, step <= 300 ? "warm <up>" : "main & more"));
  LogRecord evaluation = record_at(500);
  evaluation.evaluation = true;
  records.insert(records.begin() + 500, evaluation);
  const Result<std::string> svg = plot_svg(records, "a & b");
  ASSERT_TRUE(svg.ok());
  EXPECT_THAT(*svg, testing::StartsWith("<svg "));
  for (const char* part : {"a &amp; b", "warm &lt;up&gt;", "main &amp; more", "language model",
                           "language model, held out", "recall@1", "learning rate", "tokens"})
    EXPECT_THAT(*svg, HasSubstr(part));
  EXPECT_THAT(*svg, Not(HasSubstr("nan")));
  EXPECT_THAT(*svg, Not(HasSubstr("inf")));
  EXPECT_LT(svg->size(), 60'000u);  // a thousand points are thinned out
}

TEST(Plot, OddLogsDraw) {
  std::vector<LogRecord> flat(2, record_at(1));
  for (LogRecord& record : flat) {
    record.tokens = 0;
    record.learning_rate = 0;
    record.metrics = {};
    record.metrics.lm_loss = 0;
  }
  const Result<std::string> svg = plot_svg(flat, "flat");
  ASSERT_TRUE(svg.ok());
  EXPECT_THAT(*svg, Not(HasSubstr("nan")));
  EXPECT_FALSE(plot_svg({record_at(1)}, "one").ok());
  EXPECT_FALSE(plot_svg({}, "none").ok());
}

}  // namespace
}  // namespace msa::train
