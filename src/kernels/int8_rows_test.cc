// Rows as integers of 8 bits: against the scalar twins, and against what their header promises.
#include "kernels/int8_rows.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <vector>

#include "kernels/ref/int8_rows.h"
#include "kernels/test_matrices.h"

namespace msa {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class Int8 : public testing::TestWithParam<DType> {
 protected:
  // Filled with something else than zeros, and with a margin that has to stay as it is.
  static constexpr size_t kMargin = 64;
  static std::vector<std::byte> room(size_t rows, size_t heads, size_t head_dim) {
    return std::vector<std::byte>(rows * int8_row_bytes(heads, head_dim) + kMargin,
                                  std::byte{0xa5});
  }
  std::mt19937 random_{3};
};
INSTANTIATE_TEST_SUITE_P(Types, Int8, testing::Values(DType::f32, DType::bf16),
                         [](const auto& instance) { return std::string(name_of(instance.param)); });

TEST(Int8Layout, RowsAreScalesIntegersAndZerosToAMultipleOfFour) {
  EXPECT_EQ(int8_row_bytes(16, 128), 16u * 4 + 16 * 128);  // MSA-4B: 33 cache lines
  EXPECT_EQ(int8_row_bytes(2, 5), 20u);                    // 8 + 10, and two zeros
  const float row[] = {127, -127, 0, 63, 1, 0, 0, 0, 0, 0};
  std::vector<std::byte> bytes(20, std::byte{0xff});
  ASSERT_EQ(to_int8_rows(MatView<const float>(row, 1, 10), 2, bytes.data()), 1u);
  float scales[2];
  std::memcpy(scales, bytes.data(), 8);
  EXPECT_EQ(scales[0], 1);
  EXPECT_EQ(scales[1], 0);
  const int8_t expected[] = {127, -127, 0, 63, 1, 0, 0, 0, 0, 0, 0, 0};
  EXPECT_EQ(std::memcmp(bytes.data() + 8, expected, 12), 0);
}

TEST_P(Int8, AgreesWithTheScalarTwinAndIsWithinHalfAScale) {
  for (const size_t D : {1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 80, 128})
    for (const size_t heads : {1, 2, 5, 16})
      for (const size_t rows : {1, 3, 20}) {
        const std::string what = fmt::format("D {} heads {} rows {}", D, heads, rows);
        const size_t cols = heads * D;
        const auto x =
            TestMatrix::random(random_, GetParam(), rows, cols, cols + 3, rows == 3 ? 1e-3f : 5.0f);
        auto bytes = room(rows, heads, D), expected = bytes;
        ASSERT_EQ(to_int8_rows(x.view(), heads, bytes.data()), rows) << what;
        ASSERT_EQ(ref::to_int8_rows(x.view(), heads, expected.data()), rows);
        ASSERT_TRUE(bytes == expected) << what;

        const Int8Rows compressed{bytes.data(), rows, heads, D};
        EXPECT_EQ(compressed.bytes().size(), bytes.size() - kMargin);
        for (const DType type : {DType::f32, DType::bf16}) {
          TestMatrix back(type, rows, cols, cols + 2), back_expected = back;
          from_int8_rows(compressed, back.view());
          ref::from_int8_rows(compressed, back_expected.view());
          ASSERT_TRUE(back.bytes() == back_expected.bytes()) << what;
        }
        TestMatrix back(DType::f32, rows, cols);
        from_int8_rows(compressed, back.view());
        for (size_t r = 0; r < rows; ++r)
          for (size_t h = 0; h < heads; ++h) {
            double highest = 0;
            for (size_t i = 0; i < D; ++i)
              highest = std::max(highest, std::abs(ref::get(x.view(), r, h * D + i)));
            for (size_t i = 0; i < D; ++i)
              ASSERT_NEAR(ref::get(back.view(), r, h * D + i), ref::get(x.view(), r, h * D + i),
                          highest / 254 * (1 + 1e-4))
                  << what;
          }
      }
}

TEST_P(Int8, SlicesAreTheRowsThemselves) {
  const auto x = TestMatrix::random(random_, GetParam(), 9, 3 * 5);
  auto bytes = room(9, 3, 5);
  ASSERT_EQ(to_int8_rows(x.view(), 3, bytes.data()), 9u);
  const Int8Rows all{bytes.data(), 9, 3, 5};
  TestMatrix whole(DType::f32, 9, 15), part(DType::f32, 4, 15);
  from_int8_rows(all, whole.view());
  from_int8_rows(all.slice_rows(5, 4), part.view());
  const size_t part_bytes = 4 * 15 * sizeof(float);
  EXPECT_EQ(std::memcmp(part.view().data, whole.view().data + 5 * 15 * sizeof(float), part_bytes),
            0);
  EXPECT_EQ(all.slice_rows(9, 0).bytes().size(), 0u);
}

// Heads of zeros, the least and the greatest numbers there are.
TEST_P(Int8, ExtremeHeadsAreHeld) {
  TestMatrix x(GetParam(), 1, 5 * 17), back(DType::f32, 1, 5 * 17);
  const float highest[] = {0, 1e-45f, 1e-38f, 1e-30f, 2e38f};
  for (size_t h = 0; h < 5; ++h)
    for (size_t i = 0; i < 17; ++i)
      x.put(0, h * 17 + i, i == 3 ? highest[h] : i == 4 ? -highest[h] / 3 : -0.0f);
  auto bytes = room(1, 5, 17), expected = bytes;
  ASSERT_EQ(to_int8_rows(x.view(), 5, bytes.data()), 1u);
  ASSERT_EQ(ref::to_int8_rows(x.view(), 5, expected.data()), 1u);
  EXPECT_TRUE(bytes == expected);
  from_int8_rows({bytes.data(), 1, 5, 17}, back.view());
  for (size_t h = 0; h < 5; ++h)
    for (size_t i = 0; i < 17; ++i) {
      const double want = ref::get(x.view(), 0, h * 17 + i);
      const double least = std::numeric_limits<float>::min() / 2;
      EXPECT_NEAR(ref::get(back.view(), 0, h * 17 + i), want,
                  std::max(least, ref::get(x.view(), 0, h * 17 + 3) / 254 * (1 + 1e-4)))
          << h << " " << i;
    }
}

TEST_P(Int8, StopsAtTheFirstRowWithAValueThatIsNotFinite) {
  for (const float bad : {kInfinity, -kInfinity, std::nanf("")})
    for (const size_t at : {0, 7, 16, 40, 65}) {  // in whole vectors and in the rest of both heads
      auto x = TestMatrix::random(random_, GetParam(), 6, 2 * 33);
      x.put(4, at, bad);
      auto bytes = room(6, 2, 33);
      EXPECT_EQ(to_int8_rows(x.view(), 2, bytes.data()), 4u) << at;
      EXPECT_EQ(ref::to_int8_rows(x.view(), 2, bytes.data()), 4u) << at;
    }
  EXPECT_EQ(to_int8_rows(TestMatrix(GetParam(), 0, 4).view(), 2, nullptr), 0u);
}

}  // namespace
}  // namespace msa
