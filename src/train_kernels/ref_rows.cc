#include <cmath>
#include <vector>

#include "train_kernels/ref.h"
#include "train_kernels/ref_element.h"

namespace msa::train_kernels::ref {
namespace {

// One over the root of the mean square of n elements plus eps.
double inverse_rms(ConstAnyMat x, size_t r, size_t first, size_t n, double eps) {
  double squares = 0;
  for (size_t i = 0; i < n; ++i) squares += get(x, r, first + i) * get(x, r, first + i);
  return 1 / std::sqrt(squares / static_cast<double>(n) + eps);
}

// Gradient of x -> x * inverse_rms(x) * weight for n elements of row r: adds to that of the weight,
// returns that of x.
std::vector<double> norm_gradient(ConstAnyMat x, size_t r, size_t first, double eps,
                                  std::span<const float> weight, const std::vector<double>& grad_y,
                                  std::vector<double>& grad_weight) {
  const size_t n = weight.size();
  const double rms = inverse_rms(x, r, first, n, eps);
  double dot = 0;
  for (size_t i = 0; i < n; ++i) {
    dot += get(x, r, first + i) * weight[i] * grad_y[i];
    grad_weight[i] += get(x, r, first + i) * rms * grad_y[i];
  }
  std::vector<double> grad_x(n);
  for (size_t i = 0; i < n; ++i)
    grad_x[i] = rms * weight[i] * grad_y[i] -
                get(x, r, first + i) * rms * rms * rms * dot / static_cast<double>(n);
  return grad_x;
}

struct Angle {
  double cosine, sine;
  Angle(int32_t position, size_t i, size_t half, double theta) {
    const double angle =
        position * std::pow(theta, -static_cast<double>(i) / static_cast<double>(half));
    cosine = std::cos(angle);
    sine = std::sin(angle);
  }
};

double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

void write(std::span<float> to, const std::vector<double>& from) {
  for (size_t i = 0; i < to.size(); ++i) to[i] = static_cast<float>(from[i]);
}

}  // namespace

void add_rms_norm(MatView<const float> hidden, ConstAnyMat delta, std::span<const float> weight,
                  double eps, MatView<float> sum, AnyMat normed) {
  for (size_t r = 0; r < hidden.rows; ++r) {
    MatView<const float> x = hidden;
    if (delta.data != nullptr) {
      for (size_t c = 0; c < hidden.cols; ++c) put(sum, r, c, hidden.row(r)[c] + get(delta, r, c));
      x = sum;
    }
    const double rms = inverse_rms(x, r, 0, x.cols, eps);
    for (size_t c = 0; c < x.cols; ++c) put(normed, r, c, x.row(r)[c] * rms * weight[c]);
  }
}

void add_rms_norm_backward(MatView<const float> sum, std::span<const float> weight, double eps,
                           ConstAnyMat grad_normed, MatView<const float> grad_sum,
                           const AddRmsNormGradients& gradients) {
  std::vector<double> grad_weight(sum.cols), grad_y(sum.cols);
  for (size_t r = 0; r < sum.rows; ++r) {
    for (size_t c = 0; c < sum.cols; ++c) grad_y[c] = get(grad_normed, r, c);
    const auto grad_x = norm_gradient(sum, r, 0, eps, weight, grad_y, grad_weight);
    for (size_t c = 0; c < sum.cols; ++c) {
      const double all = grad_x[c] + (grad_sum.data == nullptr ? 0 : grad_sum.row(r)[c]);
      if (gradients.hidden.data != nullptr) put(gradients.hidden, r, c, all);
      if (gradients.delta.data != nullptr) put(gradients.delta, r, c, all);
    }
  }
  write(gradients.weight, grad_weight);
}

void head_norm_rotary(ConstAnyMat x, std::span<const float> weight, double eps,
                      std::span<const int32_t> positions, double theta, AnyMat y) {
  const size_t D = weight.size(), half = D / 2;
  for (size_t r = 0; r < x.rows; ++r)
    for (size_t first = 0; first < x.cols; first += D) {
      const double rms = inverse_rms(x, r, first, D, eps);
      for (size_t i = 0; i < half; ++i) {
        const Angle angle(positions[r], i, half, theta);
        const double a = get(x, r, first + i) * rms * weight[i];
        const double b = get(x, r, first + half + i) * rms * weight[half + i];
        put(y, r, first + i, a * angle.cosine - b * angle.sine);
        put(y, r, first + half + i, b * angle.cosine + a * angle.sine);
      }
    }
}

void head_norm_rotary_backward(ConstAnyMat x, std::span<const float> weight, double eps,
                               std::span<const int32_t> positions, double theta, ConstAnyMat grad_y,
                               AnyMat grad_x, std::span<float> grad_weight) {
  const size_t D = weight.size(), half = D / 2;
  std::vector<double> weight_sums(D), before(D);
  for (size_t r = 0; r < x.rows; ++r)
    for (size_t first = 0; first < x.cols; first += D) {
      for (size_t i = 0; i < half; ++i) {
        const Angle angle(positions[r], i, half, theta);
        const double a = get(grad_y, r, first + i), b = get(grad_y, r, first + half + i);
        before[i] = a * angle.cosine + b * angle.sine;
        before[half + i] = b * angle.cosine - a * angle.sine;
      }
      const auto own = norm_gradient(x, r, first, eps, weight, before, weight_sums);
      if (grad_x.data == nullptr) continue;
      for (size_t i = 0; i < D; ++i) put(grad_x, r, first + i, own[i]);
    }
  write(grad_weight, weight_sums);
}

void swiglu(ConstAnyMat gate_up, AnyMat y) {
  for (size_t r = 0; r < y.rows; ++r)
    for (size_t c = 0; c < y.cols; ++c) {
      const double gate = get(gate_up, r, c);
      put(y, r, c, gate * sigmoid(gate) * get(gate_up, r, y.cols + c));
    }
}

void swiglu_backward(ConstAnyMat gate_up, ConstAnyMat grad_y, AnyMat grad_gate_up) {
  for (size_t r = 0; r < grad_y.rows; ++r)
    for (size_t c = 0; c < grad_y.cols; ++c) {
      const double gate = get(gate_up, r, c), up = get(gate_up, r, grad_y.cols + c);
      const double s = sigmoid(gate), grad = get(grad_y, r, c);
      put(grad_gate_up, r, c, grad * up * (s + gate * s * (1 - s)));
      put(grad_gate_up, r, grad_y.cols + c, grad * gate * s);
    }
}

void pool_rows(ConstAnyMat x, std::span<const int32_t> runs, MatView<float> means) {
  for (size_t run = 0; run < means.rows; ++run)
    for (size_t c = 0; c < means.cols; ++c) {
      double sum = 0;
      for (int32_t r = runs[run]; r < runs[run + 1]; ++r) sum += get(x, static_cast<size_t>(r), c);
      put(means, run, c, runs[run + 1] == runs[run] ? 0 : sum / (runs[run + 1] - runs[run]));
    }
}

void pool_rows_backward(MatView<const float> grad_means, std::span<const int32_t> runs,
                        AnyMat grad_x) {
  for (size_t r = 0; r < grad_x.rows; ++r)
    for (size_t c = 0; c < grad_x.cols; ++c) put(grad_x, r, c, 0);
  for (size_t run = 0; run < grad_means.rows; ++run)
    for (int32_t r = runs[run]; r < runs[run + 1]; ++r)
      for (size_t c = 0; c < grad_x.cols; ++c)
        put(grad_x, static_cast<size_t>(r), c,
            grad_means.row(run)[c] / (runs[run + 1] - runs[run]));
}

}  // namespace msa::train_kernels::ref
