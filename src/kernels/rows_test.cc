// Norms, activation, embedding, pooling and copies of the CPU backend against the reference.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <numeric>

#include "kernels/test_matrices.h"

namespace msa {
namespace {

class Rows : public testing::TestWithParam<DType> {
 protected:
  // Products of a few roundings, each of 2^-24: sums over `cols` terms stay below this.
  static constexpr double kClose = 3e-6;

  std::unique_ptr<Backend> backend_ = cpu_backend(3), reference_ = make_reference_backend();
  std::mt19937 random_{1};
};
INSTANTIATE_TEST_SUITE_P(Types, Rows, testing::Values(DType::f32, DType::bf16),
                         [](const auto& instance) { return std::string(name_of(instance.param)); });

TEST_P(Rows, RmsNorm) {
  for (const size_t cols : {1, 2, 7, 8, 15, 16, 17, 31, 33, 64, 1000, 1024})
    for (const size_t rows : {1, 3, 100}) {
      auto x = TestMatrix::random(random_, DType::f32, rows, cols, cols + 3);
      auto weight = TestMatrix::random(random_, DType::f32, 1, cols);
      TestMatrix y(GetParam(), rows, cols, cols + 1), expected = y;
      backend_->rms_norm(x.f32(), weight.f32().row(0), 1e-6f, y.view());
      reference_->rms_norm(x.f32(), weight.f32().row(0), 1e-6f, expected.view());
      expect_close(y, expected, kClose, fmt::format("{} x {}", rows, cols));
    }
}

TEST_P(Rows, NormRotary) {
  for (const size_t D : {2, 6, 16, 64, 80, 128})
    for (const size_t heads : {1, 3, 8})
      for (const size_t rows : {1, 5, 77}) {
        auto x = TestMatrix::random(random_, GetParam(), rows, heads * D, heads * D + 5);
        auto expected = x;
        auto weight = TestMatrix::random(random_, DType::f32, 1, D);
        const auto table = RotaryTable::make(200, D, 10000);
        std::vector<int32_t> positions(rows);
        for (int32_t& p : positions) p = static_cast<int32_t>(random_() % 200);
        backend_->norm_rotary(x.view(), heads, weight.f32().row(0), 1e-6f, positions, table);
        reference_->norm_rotary(expected.view(), heads, weight.f32().row(0), 1e-6f, positions,
                                table);
        expect_close(x, expected, kClose, fmt::format("D {} heads {} rows {}", D, heads, rows));
      }
}

TEST_P(Rows, Swiglu) {
  for (const size_t cols : {1, 8, 15, 33, 100, 3072})
    for (const size_t rows : {1, 4, 30}) {
      const auto x = TestMatrix::random(random_, GetParam(), rows, 2 * cols, 2 * cols + 1, 5);
      TestMatrix y(GetParam(), rows, cols, cols + 2), expected = y;
      backend_->swiglu(x.view(), y.view());
      reference_->swiglu(x.view(), expected.view());
      expect_close(y, expected, kClose, fmt::format("{} x {}", rows, cols));
    }
}

TEST_P(Rows, SwigluOfLargeGates) {
  TestMatrix x(GetParam(), 1, 8), y(GetParam(), 1, 4);
  const float gates[] = {-1e4f, -100.0f, 100.0f, 1e4f};
  for (size_t i = 0; i < 4; ++i) {
    x.put(0, i, gates[i]);
    x.put(0, 4 + i, 1);
  }
  backend_->swiglu(x.view(), y.view());
  for (size_t i = 0; i < 4; ++i)
    EXPECT_NEAR(ref::get(y.view(), 0, i), std::max(gates[i], 0.0f), std::abs(gates[i]) * 0x1p-8);
}

TEST_P(Rows, Embed) {
  for (const DType table_type : {DType::f32, DType::f16, DType::bf16}) {
    const auto table = TestMatrix::random(random_, table_type, 50, 37, 40);
    std::vector<int32_t> tokens(300);
    for (int32_t& token : tokens) token = static_cast<int32_t>(random_() % 50);
    TestMatrix x(DType::f32, tokens.size(), 37, 38), expected = x;
    backend_->embed(tokens, table.view(), x.f32());
    reference_->embed(tokens, table.view(), expected.f32());
    EXPECT_EQ(x.bytes(), expected.bytes());
  }
}

TEST_P(Rows, CopiesConvertExactly) {
  for (const DType from_type : {DType::f32, DType::bf16})
    for (const size_t cols : {1, 16, 33}) {
      const auto from = TestMatrix::random(random_, from_type, 9, cols, cols + 2);
      TestMatrix to(GetParam(), 9, cols, cols + 3), expected = to;
      backend_->copy_rows(from.view(), to.view());
      reference_->copy_rows(from.view(), expected.view());
      EXPECT_EQ(to.bytes(), expected.bytes());
    }
}

TEST_P(Rows, CopyRoundsSpecialValuesAsTheScalarDoes) {
  TestMatrix from(DType::f32, 1, 21), to(GetParam(), 1, 21), expected = to;
  const float inf = std::numeric_limits<float>::infinity();
  const float values[] = {0.0f,   -0.0f,  inf,     -inf,     1.00390625f, 1.01171875f, 3.4e38f,
                          1e-40f, 1e-45f, -1e-40f, 65504.0f, 1.5f,        -2.75f};
  for (size_t i = 0; i < std::size(values); ++i) from.put(0, i, values[i]);  // the rest is NaN
  backend_->copy_rows(from.view(), to.view());
  reference_->copy_rows(from.view(), expected.view());
  for (size_t i = 0; i < 21; ++i) {
    const double got = ref::get(to.view(), 0, i), want = ref::get(expected.view(), 0, i);
    if (std::isnan(want))
      EXPECT_TRUE(std::isnan(got)) << i;
    else
      EXPECT_EQ(got, want) << i;
  }
}

TEST_P(Rows, PoolChunks) {
  for (const DType out_type : {DType::f32, DType::bf16})
    for (const bool normalise : {false, true})
      for (const size_t P : {1, 3, 64})
        for (const size_t D : {16, 20}) {
          std::vector<uint32_t> starts = {0};
          for (const uint32_t length : {1, 64, 65, 7, 200, 3})
            starts.push_back(starts.back() + length);
          size_t chunks = 0;
          for (size_t i = 0; i + 1 < starts.size(); ++i)
            chunks += (starts[i + 1] - starts[i] + P - 1) / P;
          const auto x = TestMatrix::random(random_, GetParam(), starts.back(), 3 * D, 3 * D + 1);
          TestMatrix out(out_type, chunks, 3 * D, 3 * D + 4), expected = out;
          backend_->pool_chunks(x.view(), starts, P, 3, normalise, out.view());
          reference_->pool_chunks(x.view(), starts, P, 3, normalise, expected.view());
          expect_close(out, expected, kClose, fmt::format("P {} D {}", P, D));
        }
}

TEST(Rotary, TableHoldsAnglesOfEveryPosition) {
  const auto table = RotaryTable::make(3, 4, 100);
  ASSERT_EQ(table.positions(), 3u);
  ASSERT_EQ(table.half, 2u);
  EXPECT_FLOAT_EQ(table.cos[0], 1);
  EXPECT_FLOAT_EQ(table.cos[2 * 2], std::cos(2.0f));
  EXPECT_FLOAT_EQ(table.sin[2 * 2 + 1], std::sin(0.2f));
  EXPECT_EQ(RotaryTable{}.positions(), 0u);
}

}  // namespace
}  // namespace msa
