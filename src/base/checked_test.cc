#include "base/checked.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace msa {
namespace {

// Small enough to try everything against wider arithmetic.
TEST(Checked, AgreesWithWiderArithmeticOnAllBytes) {
  for (unsigned a = 0; a < 256; ++a)
    for (unsigned b = 0; b < 256; ++b) {
      const auto x = static_cast<uint8_t>(a), y = static_cast<uint8_t>(b);
      const auto sum = checked_add(x, y), product = checked_mul(x, y);
      ASSERT_EQ(sum.has_value(), a + b < 256) << a << " + " << b;
      if (sum) {
        ASSERT_EQ(*sum, a + b);
      }
      ASSERT_EQ(product.has_value(), a * b < 256) << a << " * " << b;
      if (product) {
        ASSERT_EQ(*product, a * b);
      }
      for (unsigned size = 0; size < 256; size += 5)
        ASSERT_EQ(in_bounds(x, y, static_cast<uint8_t>(size)), a + b <= size)
            << a << " " << b << " " << size;
    }
}

TEST(Checked, WorksAtTheEndOf64Bits) {
  EXPECT_EQ(checked_add<uint64_t>(UINT64_MAX - 1, 1), UINT64_MAX);
  EXPECT_FALSE(checked_add<uint64_t>(UINT64_MAX, 1));
  EXPECT_EQ(checked_mul<uint64_t>(1ull << 32, (1ull << 32) - 1), 0xffffffff00000000ull);
  EXPECT_FALSE(checked_mul<uint64_t>(1ull << 32, 1ull << 32));
  EXPECT_FALSE(in_bounds<uint64_t>(UINT64_MAX, 2, 100));
  EXPECT_FALSE(in_bounds<uint64_t>(2, UINT64_MAX, 100));
  EXPECT_TRUE(in_bounds<uint64_t>(100, 0, 100));
  EXPECT_FALSE(in_bounds<uint64_t>(101, 0, 100));
}

TEST(Checked, ProductOfSeveral) {
  EXPECT_EQ(checked_product<uint64_t>({}), 1u);
  EXPECT_EQ(checked_product<uint64_t>({3, 5, 7}), 105u);
  EXPECT_FALSE(checked_product<uint64_t>({1ull << 22, 1ull << 22, 1ull << 22}));
}

}  // namespace
}  // namespace msa
