#include "train_kernels/rows.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "train_kernels/ref.h"
#include "train_kernels/test_matrix.h"

namespace msa::train_kernels {
namespace {

constexpr double kClose = 3e-6;
constexpr float kEps = 1e-6f;

class Rows : public testing::TestWithParam<DType> {
 protected:
  TestMatrix random(size_t rows, size_t cols, size_t stride = 0, double scale = 1) {
    return TestMatrix::random(random_, GetParam(), rows, cols, stride, scale);
  }
  TestMatrix random_f32(size_t rows, size_t cols, size_t stride = 0) {
    return TestMatrix::random(random_, DType::f32, rows, cols, stride);
  }

  Random random_{1};
};
INSTANTIATE_TEST_SUITE_P(Types, Rows, testing::Values(DType::f32, DType::bf16),
                         [](const auto& instance) { return std::string(name_of(instance.param)); });

TEST_P(Rows, AddRmsNorm) {
  for (size_t cols = 1; cols <= 130; cols += cols < 40 ? 1 : 9)
    for (const size_t rows : {0, 1, 3, 70})
      for (const bool add : {true, false}) {
        const auto what = fmt::format("{} x {}, add {}", rows, cols, add);
        const TestMatrix hidden = random_f32(rows, cols, cols + 3);
        const TestMatrix delta = random(rows, cols, cols + 1);
        const TestMatrix weight = random_f32(1, cols);
        const ConstAnyMat added = add ? delta.view() : ConstAnyMat();
        TestMatrix sum(DType::f32, rows, cols), normed(GetParam(), rows, cols, cols + 2);
        TestMatrix expected_sum = sum, expected(DType::f32, rows, cols);
        TestMatrix inverse_rms(DType::f32, 1, rows);
        add_rms_norm(2, hidden.f32(), added, weight.f32().row(0), kEps, sum.f32(), normed.view(),
                     inverse_rms.f32().row(0));
        ref::add_rms_norm(hidden.f32(), added, weight.f32().row(0), kEps, expected_sum.f32(),
                          expected.view());
        if (add) {
          expect_close(sum, expected_sum, kClose, what);
        }
        expect_close(normed, expected, kClose, what);
      }
}

TEST_P(Rows, AddRmsNormBackward) {
  // Large, as the gradient of the norm of a single element would else be a difference of equals.
  constexpr float eps = 0.1f;
  for (size_t cols = 1; cols <= 130; cols += cols < 40 ? 1 : 9)
    for (const size_t rows : {0, 1, 3, 70, 600})
      for (const unsigned wanted : {7u, 1u, 2u, 4u}) {
        if (rows == 600 && cols % 16 > 1) continue;
        const auto what = fmt::format("{} x {}, wanted {}", rows, cols, wanted);
        const TestMatrix x = random_f32(rows, cols), weight = random_f32(1, cols);
        const TestMatrix grad = random(rows, cols, cols + 1), grad_sum = random_f32(rows, cols);
        const bool besides = cols % 2 == 0;
        TestMatrix normed(GetParam(), rows, cols), inverse_rms(DType::f32, 1, rows);
        add_rms_norm(1, x.f32(), {}, weight.f32().row(0), eps, {}, normed.view(),
                     inverse_rms.f32().row(0));

        TestMatrix hidden(DType::f32, rows, cols), delta(GetParam(), rows, cols, cols + 2);
        TestMatrix grad_weight(DType::f32, 1, cols);
        TestMatrix expected_hidden = hidden, expected_delta(DType::f32, rows, cols);
        TestMatrix expected_weight = grad_weight;
        const auto views = [&](TestMatrix& h, TestMatrix& d, TestMatrix& w) {
          AddRmsNormGradients gradients;
          if (wanted & 1) gradients.hidden = h.f32();
          if (wanted & 2) gradients.delta = d.view();
          if (wanted & 4) gradients.weight = w.f32().row(0);
          return gradients;
        };
        const MatView<const float> more = besides ? grad_sum.f32() : MatView<const float>();
        add_rms_norm_backward(2, x.f32(), weight.f32().row(0), inverse_rms.f32().row(0),
                              grad.view(), more, views(hidden, delta, grad_weight));
        ref::add_rms_norm_backward(x.f32(), weight.f32().row(0), eps, grad.view(), more,
                                   views(expected_hidden, expected_delta, expected_weight));
        if (wanted & 1) expect_close(hidden, expected_hidden, kClose, what);
        if (wanted & 2) expect_close(delta, expected_delta, kClose, what);
        if (wanted & 4) expect_close(grad_weight, expected_weight, 1e-5, what);
      }
}

TEST(RotaryTable, IsAccurateForFarPositions) {
  const std::vector<int32_t> positions = {-3, 0, 63, 64, 65, 100'000};
  const double theta = 1e6;
  const RotaryTable table(positions, 8, theta);
  for (const int32_t position : positions)
    for (size_t i = 0; i < 4; ++i) {
      const double angle = position * std::pow(theta, -static_cast<double>(i) / 4);
      EXPECT_NEAR(table.cosines(position)[i], std::cos(angle), 1e-7);
      EXPECT_NEAR(table.sines(position)[i], std::sin(angle), 1e-7);
    }
}

TEST_P(Rows, HeadNormRotary) {
  for (const size_t D : {2, 6, 16, 30, 32, 34, 48, 64, 80, 128})
    for (const size_t heads : {1, 3, 8})
      for (const size_t rows : {0, 1, 5, 300}) {
        const auto what = fmt::format("D {} heads {} rows {}", D, heads, rows);
        const size_t cols = heads * D;
        const TestMatrix x = random(rows, cols, cols + 5), grad_y = random(rows, cols, cols + 7);
        const TestMatrix weight = random_f32(1, D);
        std::vector<int32_t> positions(rows);
        for (int32_t& p : positions) p = static_cast<int32_t>(random_.below(200)) + 7;
        const RotaryTable table(positions, D, 10000);
        const auto w = weight.f32().row(0);

        TestMatrix y(GetParam(), rows, cols, cols + 1), expected(DType::f32, rows, cols);
        head_norm_rotary(2, x.view(), w, kEps, positions, table, y.view());
        ref::head_norm_rotary(x.view(), w, kEps, positions, 10000, expected.view());
        expect_close(y, expected, kClose, what);

        TestMatrix grad_x(GetParam(), rows, cols, cols + 1), expected_x(DType::f32, rows, cols);
        TestMatrix grad_weight(DType::f32, 1, D), expected_weight = grad_weight;
        head_norm_rotary_backward(2, x.view(), w, kEps, positions, table, grad_y.view(),
                                  grad_x.view(), grad_weight.f32().row(0));
        ref::head_norm_rotary_backward(x.view(), w, kEps, positions, 10000, grad_y.view(),
                                       expected_x.view(), expected_weight.f32().row(0));
        expect_close(grad_x, expected_x, kClose, what);
        expect_close(grad_weight, expected_weight, 1e-5, what);

        TestMatrix only_x(GetParam(), rows, cols, cols + 1), only_weight(DType::f32, 1, D);
        head_norm_rotary_backward(2, x.view(), w, kEps, positions, table, grad_y.view(),
                                  only_x.view(), {});
        EXPECT_EQ(only_x.bytes(), grad_x.bytes()) << what;
        head_norm_rotary_backward(2, x.view(), w, kEps, positions, table, grad_y.view(), {},
                                  only_weight.f32().row(0));
        EXPECT_EQ(only_weight.bytes(), grad_weight.bytes()) << what;
      }
}

TEST_P(Rows, Swiglu) {
  for (size_t cols = 1; cols <= 130; cols += cols < 40 ? 1 : 9)
    for (const size_t rows : {0, 1, 4, 30}) {
      const auto what = fmt::format("{} x {}", rows, cols);
      const TestMatrix gate_up = random(rows, 2 * cols, 2 * cols + 1, 8);
      const TestMatrix grad = random(rows, cols, cols + 3);
      TestMatrix y(GetParam(), rows, cols, cols + 2), expected(DType::f32, rows, cols);
      swiglu(2, gate_up.view(), y.view());
      ref::swiglu(gate_up.view(), expected.view());
      expect_close(y, expected, kClose, what);
      TestMatrix back(GetParam(), rows, 2 * cols, 2 * cols + 2);
      TestMatrix expected_back(DType::f32, rows, 2 * cols);
      swiglu_backward(2, gate_up.view(), grad.view(), back.view());
      ref::swiglu_backward(gate_up.view(), grad.view(), expected_back.view());
      expect_close(back, expected_back, kClose, what);
    }
}

TEST_P(Rows, SwigluOfHugeGatesStaysFinite) {
  TestMatrix gate_up(GetParam(), 1, 4), y(GetParam(), 1, 2), grad(GetParam(), 1, 2);
  const double values[] = {1e30, -1e30, 1, 1};
  for (size_t c = 0; c < 4; ++c) ref::put(gate_up.view(), 0, c, values[c]);
  for (size_t c = 0; c < 2; ++c) ref::put(grad.view(), 0, c, 1);
  TestMatrix back = gate_up;
  swiglu(1, gate_up.view(), y.view());
  swiglu_backward(1, gate_up.view(), grad.view(), back.view());
  EXPECT_NEAR(y.at(0, 0) / 1e30, 1, 0.01);
  EXPECT_NEAR(y.at(0, 1), 0, 1e-6);
  EXPECT_NEAR(back.at(0, 0), 1, 0.01);
  EXPECT_NEAR(back.at(0, 1), 0, 1e-6);
}

TEST_P(Rows, PoolRows) {
  for (const size_t cols : {1, 7, 16, 33, 256})
    for (const size_t count : {0, 1, 2, 50}) {
      const auto what = fmt::format("{} runs of {}", count, cols);
      std::vector<int32_t> runs = {static_cast<int32_t>(random_.below(4))};
      for (size_t c = 0; c < count; ++c)
        runs.push_back(runs.back() + static_cast<int32_t>(random_.below(70)));
      const size_t rows = static_cast<size_t>(runs.back()) + 3;
      const TestMatrix x = random(rows, cols, cols + 3), grad = random_f32(count, cols, cols + 2);
      TestMatrix means(DType::f32, count, cols, cols + 1), expected(DType::f32, count, cols);
      pool_rows(2, x.view(), runs, means.f32());
      ref::pool_rows(x.view(), runs, expected.f32());
      expect_close(means, expected, kClose, what);
      TestMatrix back(GetParam(), rows, cols, cols + 4), expected_back(DType::f32, rows, cols);
      pool_rows_backward(2, grad.f32(), runs, back.view());
      ref::pool_rows_backward(grad.f32(), runs, expected_back.view());
      expect_close(back, expected_back, kClose, what);
    }
}

TEST_P(Rows, GradientsOfWeightsAreTheSameForAnyNumberOfThreads) {
  const size_t rows = 2000, cols = 40, D = 20;
  const TestMatrix x = random_f32(rows, cols), weight = random_f32(1, cols);
  const TestMatrix grad = random(rows, cols), narrow = random(rows, cols);
  const std::vector<float> inverse_rms(rows, 0.7f);
  std::vector<int32_t> positions(rows);
  std::iota(positions.begin(), positions.end(), 0);
  const RotaryTable table(positions, D, 10000);
  std::vector<std::vector<float>> found;
  for (const int threads : {1, 2, 5}) {
    std::vector<float> both(cols + D);
    add_rms_norm_backward(threads, x.f32(), weight.f32().row(0), inverse_rms, grad.view(), {},
                          {{}, {}, std::span(both).first(cols)});
    head_norm_rotary_backward(threads, narrow.view(), weight.f32().row(0).first(D), kEps, positions,
                              table, grad.view(), {}, std::span(both).last(D));
    found.push_back(both);
  }
  EXPECT_EQ(found[0], found[1]);
  EXPECT_EQ(found[0], found[2]);
}

}  // namespace
}  // namespace msa::train_kernels
