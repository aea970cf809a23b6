// Runs all tests of this program as on a lesser processor, where the environment asks for it:
// MSA_TEST_INSTRUCTIONS=AVX2 or BASELINE keeps Highway from dispatching to anything better.
#include <gtest/gtest.h>
#include <hwy/highway.h>

#include <cstdlib>
#include <string>

namespace msa::train_kernels {
namespace {

std::string asked_for() {
  const char* value = std::getenv("MSA_TEST_INSTRUCTIONS");
  return value ? value : "";
}

class LesserProcessor : public testing::Environment {
 public:
  void SetUp() override {
    int64_t disabled = 0;
    if (asked_for() == "AVX2" || asked_for() == "BASELINE") disabled |= HWY_AVX3 | HWY_AVX3_DL;
    if (asked_for() == "BASELINE") disabled |= HWY_AVX2;
    hwy::DisableTargets(disabled);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
};
[[maybe_unused]] const auto* const kRegistered =
    testing::AddGlobalTestEnvironment(new LesserProcessor);

TEST(InstructionSet, IsNoneBetterThanAskedFor) {
  const int64_t supported = hwy::SupportedTargets();
  if (asked_for() == "AVX2" || asked_for() == "BASELINE") {
    EXPECT_EQ(supported & (HWY_AVX3 | HWY_AVX3_DL), 0);
  }
  if (asked_for() == "BASELINE") {
    EXPECT_EQ(supported & HWY_AVX2, 0);
  }
}

}  // namespace
}  // namespace msa::train_kernels
