#include "base/mat_view.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "base/aligned_buffer.h"

namespace msa {
namespace {

// The value of a binary floating-point pattern by definition, in double.
double value_of(uint32_t bits, int exponent_bits, int mantissa_bits) {
  const uint32_t mantissa = bits & ((1u << mantissa_bits) - 1);
  const int exponent = static_cast<int>(bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const double sign = (bits >> (exponent_bits + mantissa_bits)) & 1 ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1)
    return mantissa ? std::numeric_limits<double>::quiet_NaN()
                    : sign * std::numeric_limits<double>::infinity();
  const double fraction = std::ldexp(mantissa, -mantissa_bits);
  return sign *
         (exponent ? std::ldexp(1 + fraction, exponent - bias) : std::ldexp(fraction, 1 - bias));
}

void expect_same(float got, double expected, uint32_t bits) {
  if (std::isnan(expected)) {
    ASSERT_TRUE(std::isnan(got)) << std::hex << bits;
  } else {
    ASSERT_EQ(static_cast<double>(got), expected) << std::hex << bits;
    ASSERT_EQ(std::signbit(got), std::signbit(expected)) << std::hex << bits;
  }
}

TEST(Bf16, EveryPatternHasItsValueAndComesBack) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const bf16 number{static_cast<uint16_t>(bits)};
    expect_same(number.to_float(), value_of(bits, 8, 7), bits);
    const bf16 back = bf16::from_float(number.to_float());
    if (std::isnan(number.to_float()))
      ASSERT_TRUE(std::isnan(back.to_float())) << std::hex << bits;
    else
      ASSERT_EQ(back.bits, bits) << std::hex << bits;
  }
}

TEST(Bf16, RoundsToNearestEven) {
  // Between neighbours a and b: below the middle goes to a, above it to b, the middle to the even.
  for (uint32_t bits = 0; bits < 0x7f7f; ++bits) {
    const uint32_t a = bits << 16;
    const auto rounded = [](uint32_t u) { return bf16::from_float(std::bit_cast<float>(u)).bits; };
    ASSERT_EQ(rounded(a + 0x7fff), bits);
    ASSERT_EQ(rounded(a + 0x8001), bits + 1);
    ASSERT_EQ(rounded(a + 0x8000), bits % 2 ? bits + 1 : bits);
    ASSERT_EQ(rounded(0x80000000u | (a + 0x8001)), 0x8000u | (bits + 1));
  }
  EXPECT_EQ(bf16::from_float(std::numeric_limits<float>::max()).bits, 0x7f80);  // to infinity
}

TEST(F16, EveryPatternHasItsValue) {
  for (uint32_t bits = 0; bits < 65536; ++bits)
    expect_same(f16{static_cast<uint16_t>(bits)}.to_float(), value_of(bits, 5, 10), bits);
}

TEST(MatView, SlicesKeepTheStride) {
  std::mt19937 random(1);
  for (int round = 0; round < 50; ++round) {
    const size_t rows = 1 + random() % 8, cols = 1 + random() % 8, stride = cols + random() % 4;
    std::vector<float> data(rows * stride);
    for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<float>(i);
    const MatView<float> all(data.data(), rows, cols, stride);
    EXPECT_EQ(all.dense(), stride == cols);
    const size_t r = random() % rows, c = random() % cols;
    const MatView<const float> part = all.slice_rows(r, rows - r).slice_cols(c, cols - c);
    ASSERT_EQ(part.rows, rows - r);
    for (size_t i = 0; i < part.rows; ++i) {
      ASSERT_EQ(part.row(i).size(), cols - c);
      for (size_t j = 0; j < part.cols; ++j)
        ASSERT_EQ(part.row(i)[j], static_cast<float>((r + i) * stride + c + j));
    }
    const AnyMat any = all;
    ASSERT_EQ(any.dtype, DType::f32);
    const MatView<float> back = any.slice_rows(r, rows - r).slice_cols(c, cols - c).as<float>();
    ASSERT_EQ(back.data, part.data);
    ASSERT_EQ(back.stride, stride);
  }
}

TEST(AlignedBuffer, IsAlignedAndGrows) {
  for (size_t count : {1, 7, 16, 17, 1000}) {
    AlignedBuffer<float> buffer(count);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % kCacheLine, 0u);
    EXPECT_EQ(buffer.bytes(), count * 4);
    const float* before = buffer.data();
    buffer.reserve_discarding(count);
    EXPECT_EQ(buffer.data(), before);
    buffer.reserve_discarding(count + 1);
    EXPECT_EQ(buffer.size(), count + 1);
  }
  EXPECT_EQ(AlignedBuffer<float>(0).data(), nullptr);
  EXPECT_THROW(AlignedBuffer<double>(SIZE_MAX / 4), std::bad_alloc);
}

}  // namespace
}  // namespace msa
