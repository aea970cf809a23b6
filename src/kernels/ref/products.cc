#include "kernels/ref/reference.h"

namespace msa::ref {
namespace {

// W, row-major, rounded to the dtype of the computation.
class PlainMatrix final : public PackedMatrix {
 public:
  PlainMatrix(size_t outputs, size_t inputs, DType compute)
      : outputs_(outputs), inputs_(inputs), compute_(compute), values_(outputs * inputs) {}

  size_t outputs() const override { return outputs_; }
  size_t inputs() const override { return inputs_; }
  size_t bytes() const override { return values_.size() * sizeof(float); }

  float at(size_t output, size_t input) const { return values_[output * inputs_ + input]; }
  void set(size_t output, size_t input, float value) {
    values_[output * inputs_ + input] =
        compute_ == DType::bf16 ? bf16::from_float(value).to_float() : value;
  }

 private:
  size_t outputs_, inputs_;
  DType compute_;
  std::vector<float> values_;
};

}  // namespace

std::unique_ptr<PackedMatrix> pack(std::span<const ConstAnyMat> parts, DType compute) {
  size_t outputs = 0;
  for (const ConstAnyMat& part : parts) outputs += part.rows;
  const size_t inputs = parts.empty() ? 0 : parts[0].cols;

  auto matrix = std::make_unique<PlainMatrix>(outputs, inputs, compute);
  size_t output = 0;
  for (const ConstAnyMat& part : parts) {
    assert(part.cols == inputs);
    for (size_t r = 0; r < part.rows; ++r, ++output)
      for (size_t c = 0; c < inputs; ++c)
        matrix->set(output, c, static_cast<float>(get(part, r, c)));
  }
  return matrix;
}

void matmul(ConstAnyMat x, const PackedMatrix& w, AnyMat y, bool accumulate) {
  const auto& matrix = static_cast<const PlainMatrix&>(w);
  assert(x.cols == w.inputs() && y.cols == w.outputs() && x.rows == y.rows);
  assert(!accumulate || y.dtype == DType::f32);
  for (size_t t = 0; t < x.rows; ++t)
    for (size_t n = 0; n < w.outputs(); ++n) {
      double sum = accumulate ? get(y, t, n) : 0;
      for (size_t i = 0; i < w.inputs(); ++i) sum += get(x, t, i) * matrix.at(n, i);
      set(y, t, n, sum);
    }
}

}  // namespace msa::ref
