#include "train/model/golden.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/test_folder.h"

namespace msa::train {
namespace {

class Golden : public testing::TestWithParam<const char*> {};

TEST_P(Golden, LossesGradientsLogitsAndRoutesAgree) {
  const auto report = check_golden(std::filesystem::path(MSA_GOLDEN) / GetParam());
  ASSERT_TRUE(report.ok()) << report.error().message;
  for (const GoldenReport::Line& line : report->lines)
    EXPECT_LE(line.error, report->tolerance) << line.name;
  // Both kinds of operations, each with gradients of all parameters for two methods.
  EXPECT_GT(report->lines.size(), 200u);
  EXPECT_TRUE(report->ok());
}

INSTANTIATE_TEST_SUITE_P(Cases, Golden, testing::Values("cosine", "max_head"));

TEST(GoldenReport, OneWrongNumberIsSeen) {
  GoldenReport report;
  report.lines = {{"a", 1e-6}, {"b", 2e-4}, {"c", 0}};
  EXPECT_FALSE(report.ok());
  EXPECT_EQ(report.worst().name, "b");
  report.lines[1].error = 5e-5;
  EXPECT_TRUE(report.ok());
}

TEST(GoldenReport, AWrongWeightIsSeen) {
  const TestFolder folder;
  const auto golden = std::filesystem::path(MSA_GOLDEN) / "cosine";
  for (const char* name : {"config.json", "expected.safetensors", "model.safetensors"})
    std::filesystem::copy_file(golden / name, folder / name);
  // One of the last weights becomes 2.
  std::fstream file(folder / "model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-64, std::ios::end);
  const float two = 2;
  file.write(reinterpret_cast<const char*>(&two), sizeof(two));
  file.close();
  const auto report = check_golden(folder.path());
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_FALSE(report->ok());
}

TEST(GoldenReport, AFolderWithoutExpectedNumbersIsAnError) {
  const TestFolder folder;
  const auto report = check_golden(folder.path());
  ASSERT_FALSE(report.ok());
  EXPECT_NE(report.error().message.find("expected.safetensors"), std::string::npos);
}

}  // namespace
}  // namespace msa::train
