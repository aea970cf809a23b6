// For tests only: random matrices, and comparison of a backend's results with the reference's.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "kernels/ref/reference.h"

namespace msa {

// A matrix with its memory. `stride` beyond `cols` is filled with NaN, which nothing may read and
// nothing may write.
class TestMatrix {
 public:
  TestMatrix(DType dtype, size_t rows, size_t cols, size_t stride = 0)
      : dtype_(dtype), rows_(rows), cols_(cols), stride_(stride == 0 ? cols : stride) {
    bytes_.resize(rows * stride_ * size_of(dtype));
    for (size_t r = 0; r < rows; ++r)
      for (size_t c = 0; c < stride_; ++c) put(r, c, std::nanf(""));
  }
  static TestMatrix random(std::mt19937& random, DType dtype, size_t rows, size_t cols,
                           size_t stride = 0, float scale = 1) {
    TestMatrix m(dtype, rows, cols, stride);
    std::normal_distribution<float> normal(0, scale);
    for (size_t r = 0; r < rows; ++r)
      for (size_t c = 0; c < cols; ++c) m.put(r, c, normal(random));
    return m;
  }

  AnyMat view() { return AnyMat(bytes_.data(), dtype_, rows_, cols_, stride_); }
  ConstAnyMat view() const { return ConstAnyMat(bytes_.data(), dtype_, rows_, cols_, stride_); }
  MatView<float> f32() { return view().as<float>(); }
  const std::vector<std::byte>& bytes() const { return bytes_; }

  void put(size_t r, size_t c, float value) {
    std::byte* p = bytes_.data() + (r * stride_ + c) * size_of(dtype_);
    if (dtype_ == DType::f32) *reinterpret_cast<float*>(p) = value;
    if (dtype_ == DType::bf16) *reinterpret_cast<bf16*>(p) = bf16::from_float(value);
    if (dtype_ == DType::f16) {  // to nearest below: enough for test data
      const uint32_t u = std::bit_cast<uint32_t>(value);
      const int exponent = static_cast<int>((u >> 23) & 0xff) - 112;
      const uint32_t sign = (u >> 16) & 0x8000;
      uint32_t half = sign | 0x7e00;
      if (!std::isnan(value))
        half = exponent <= 0 ? sign
                             : sign | static_cast<uint32_t>(exponent) << 10 | ((u >> 13) & 0x3ff);
      reinterpret_cast<f16*>(p)->bits = static_cast<uint16_t>(half);
    }
  }
  // Whether the elements beyond `cols` are as the constructor left them.
  bool margins_intact() const {
    const TestMatrix fresh(dtype_, rows_, cols_, stride_);
    for (size_t r = 0; r < rows_; ++r)
      for (size_t i = (r * stride_ + cols_) * size_of(dtype_);
           i < (r + 1) * stride_ * size_of(dtype_); ++i)
        if (bytes_[i] != fresh.bytes_[i]) return false;
    return true;
  }

 private:
  DType dtype_;
  size_t rows_, cols_, stride_;
  std::vector<std::byte> bytes_;
};

// Every element within `relative` of the largest magnitude in its row of `expected`, taken as at
// least `magnitude`: sums of the
// same terms in another order differ by a share of the terms' size, not of the sum's. Results that
// are stored as bf16 may be rounded to neighbouring values, which are up to 2^-7 of them apart.
inline void expect_close(const TestMatrix& got, const TestMatrix& expected, double relative,
                         const std::string& what, double magnitude = 1e-6) {
  const ConstAnyMat a = got.view(), b = expected.view();
  ASSERT_EQ(a.rows, b.rows) << what;
  ASSERT_EQ(a.cols, b.cols) << what;
  const double rounding = a.dtype == DType::bf16 ? 0x1p-7 : 0;
  for (size_t r = 0; r < a.rows; ++r) {
    double scale = magnitude;
    for (size_t c = 0; c < b.cols; ++c) scale = std::max(scale, std::abs(ref::get(b, r, c)));
    for (size_t c = 0; c < b.cols; ++c) {
      const double want = ref::get(b, r, c);
      ASSERT_NEAR(ref::get(a, r, c), want, relative * scale + rounding * std::abs(want))
          << what << ", row " << r << " column " << c;
    }
  }
  EXPECT_TRUE(got.margins_intact()) << what << ": wrote beyond the view";
}

inline std::unique_ptr<Backend> cpu_backend(int threads = 0) {
  Runtime runtime;
  runtime.threads = threads;
  auto backend = make_cpu_backend(runtime);
  EXPECT_TRUE(backend.ok()) << backend.error().message;
  return std::move(*backend);
}

}  // namespace msa
