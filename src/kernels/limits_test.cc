#include "kernels/limits.h"

#include <gtest/gtest.h>

namespace msa {
namespace {

TEST(Limits, AreOfThisWorld) {
  const double bandwidth = measure_read_bandwidth(1);
  EXPECT_GT(bandwidth, 1e8);
  EXPECT_LT(bandwidth, 1e13);
  const MatmulShape shapes[] = {{64, 128, 64}, {1, 64, 64}};
  const double rate = measure_matmul_rate(1, shapes, DType::f32);
  EXPECT_GT(rate, 1e7);
  EXPECT_LT(rate, 1e15);
  EXPECT_EQ(measure_matmul_rate(1, {}, DType::f32), 0);
}

}  // namespace
}  // namespace msa
