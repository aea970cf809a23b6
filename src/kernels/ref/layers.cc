// Embedding, norms, rotary embedding and the activation.
#include <cmath>

#include "kernels/ref/reference.h"

namespace msa::ref {

void embed(std::span<const int32_t> tokens, ConstAnyMat table, MatView<float> x) {
  assert(x.rows == tokens.size() && x.cols == table.cols);
  for (size_t t = 0; t < tokens.size(); ++t)
    for (size_t c = 0; c < table.cols; ++c)
      x.row(t)[c] = static_cast<float>(get(table, static_cast<size_t>(tokens[t]), c));
}

void rms_norm(MatView<const float> x, std::span<const float> weight, float eps, AnyMat y) {
  assert(x.rows == y.rows && x.cols == y.cols && weight.size() == x.cols);
  for (size_t t = 0; t < x.rows; ++t) {
    double squares = 0;
    for (const float value : x.row(t)) squares += double{value} * value;
    const double root = std::sqrt(squares / static_cast<double>(x.cols) + eps);
    for (size_t c = 0; c < x.cols; ++c) set(y, t, c, x.row(t)[c] / root * weight[c]);
  }
}

void norm_rotary(AnyMat x, size_t heads, std::span<const float> weight, float eps,
                 std::span<const int32_t> positions, const RotaryTable& table) {
  const size_t D = weight.size(), half = D / 2;
  assert(x.cols == heads * D && x.rows == positions.size() && table.half == half);
  std::vector<double> head(D);
  for (size_t t = 0; t < x.rows; ++t)
    for (size_t h = 0; h < heads; ++h) {
      double squares = 0;
      for (size_t i = 0; i < D; ++i) {
        head[i] = get(x, t, h * D + i);
        squares += head[i] * head[i];
      }
      const double root = std::sqrt(squares / static_cast<double>(D) + eps);
      for (size_t i = 0; i < D; ++i) head[i] = head[i] / root * weight[i];

      const size_t row = static_cast<size_t>(positions[t]) * half;
      for (size_t i = 0; i < half; ++i) {
        const double cos = table.cos[row + i], sin = table.sin[row + i];
        set(x, t, h * D + i, head[i] * cos - head[i + half] * sin);
        set(x, t, h * D + i + half, head[i + half] * cos + head[i] * sin);
      }
    }
}

void swiglu(ConstAnyMat gate_up, AnyMat y) {
  assert(gate_up.cols == 2 * y.cols && gate_up.rows == y.rows);
  for (size_t t = 0; t < y.rows; ++t)
    for (size_t c = 0; c < y.cols; ++c) {
      const double gate = get(gate_up, t, c), up = get(gate_up, t, y.cols + c);
      set(y, t, c, gate / (1 + std::exp(-gate)) * up);
    }
}

}  // namespace msa::ref
