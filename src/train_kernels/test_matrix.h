// For tests and benchmarks only: matrices with their memory.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "train_kernels/ref_element.h"

namespace msa::train_kernels {

// Elements start as NaN. What lies beyond `cols` stays so: nothing may read or write it.
class TestMatrix {
 public:
  TestMatrix() = default;
  TestMatrix(DType dtype, size_t rows, size_t cols, size_t stride = 0)
      : dtype_(dtype), rows_(rows), cols_(cols), stride_(stride == 0 ? cols : stride) {
    bytes_.resize(rows * stride_ * size_of(dtype));
    const AnyMat all(bytes_.data(), dtype, rows, stride_);
    for (size_t r = 0; r < rows; ++r)
      for (size_t c = 0; c < stride_; ++c)
        ref::put(all, r, c, std::numeric_limits<double>::quiet_NaN());
  }
  // Uniform in [-scale, scale].
  static TestMatrix random(Random& random, DType dtype, size_t rows, size_t cols, size_t stride = 0,
                           double scale = 1) {
    TestMatrix m(dtype, rows, cols, stride);
    for (size_t r = 0; r < rows; ++r)
      for (size_t c = 0; c < cols; ++c)
        ref::put(m.view(), r, c, scale * (2 * random.uniform() - 1));
    return m;
  }

  AnyMat view() { return AnyMat(bytes_.data(), dtype_, rows_, cols_, stride_); }
  ConstAnyMat view() const { return ConstAnyMat(bytes_.data(), dtype_, rows_, cols_, stride_); }
  MatView<float> f32() { return view().as<float>(); }
  MatView<const float> f32() const { return view().as<float>(); }
  double at(size_t r, size_t c) const { return ref::get(view(), r, c); }
  size_t rows() const { return rows_; }
  size_t cols() const { return cols_; }
  const std::vector<std::byte>& bytes() const { return bytes_; }

  // Whether nothing beyond the columns was written.
  bool surplus_untouched() const {
    const ConstAnyMat all(bytes_.data(), dtype_, rows_, stride_);
    for (size_t r = 0; r < rows_; ++r)
      for (size_t c = cols_; c < stride_; ++c)
        if (!std::isnan(ref::get(all, r, c))) return false;
    return true;
  }

 private:
  DType dtype_ = DType::f32;
  size_t rows_ = 0, cols_ = 0, stride_ = 0;
  std::vector<std::byte> bytes_;
};

// Every element within `close` of the expected one, relative to the largest of its matrix; a bf16
// one may be off by half a unit in its last place besides.
inline void expect_close(const TestMatrix& actual, const TestMatrix& expected, double close,
                         const std::string& what) {
  ASSERT_EQ(actual.rows(), expected.rows()) << what;
  ASSERT_EQ(actual.cols(), expected.cols()) << what;
  EXPECT_TRUE(actual.surplus_untouched()) << what;
  double largest = 0;
  for (size_t r = 0; r < expected.rows(); ++r)
    for (size_t c = 0; c < expected.cols(); ++c)
      largest = std::max(largest, std::abs(expected.at(r, c)));
  const double rounding = actual.view().dtype == DType::bf16 ? 0x1p-8 : 0;
  for (size_t r = 0; r < expected.rows(); ++r)
    for (size_t c = 0; c < expected.cols(); ++c) {
      const double right = expected.at(r, c);
      ASSERT_NEAR(actual.at(r, c), right, close * largest + rounding * std::abs(right))
          << what << ", row " << r << ", column " << c;
    }
}

}  // namespace msa::train_kernels
