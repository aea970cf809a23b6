// Runs all tests of this program as on a lesser processor, where the environment asks for it:
// MSA_TEST_INSTRUCTIONS=AVX2 or BASELINE keeps Highway from dispatching to anything better.

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <cstdlib>
#include <string>

#include "kernels/backend.h"

namespace msa {
namespace {

std::string asked_for() {
  const char* value = std::getenv("MSA_TEST_INSTRUCTIONS");
  return value ? value : "";
}

class LesserProcessor : public testing::Environment {
 public:
  void SetUp() override {
#if HWY_ARCH_X86
    int64_t disabled = 0;
    if (asked_for() == "AVX2" || asked_for() == "BASELINE") disabled |= HWY_AVX3 | HWY_AVX3_DL;
    if (asked_for() == "BASELINE") disabled |= HWY_AVX2;
    hwy::DisableTargets(disabled);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
#endif
  }
};
[[maybe_unused]] const auto* const kRegistered =
    testing::AddGlobalTestEnvironment(new LesserProcessor);

TEST(InstructionSet, IsNoneBetterThanAskedFor) {
  const auto backend = make_cpu_backend(Runtime{});
  ASSERT_TRUE(backend.ok());
  const std::string name = (*backend)->describe();
  if (asked_for() == "AVX2") {
    EXPECT_EQ(name.find("AVX3"), std::string::npos) << name;
  }
  if (asked_for() == "BASELINE") {
    EXPECT_EQ(name.find(" AVX"), std::string::npos) << name;
  }
}

}  // namespace
}  // namespace msa
