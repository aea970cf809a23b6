// Packed weights and what multiplies with them.
#pragma once

#include <memory>
#include <span>

#include "kernels/backend.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/huge_buffer.h"

namespace msa::cpu {

class CpuMatrix final : public PackedMatrix {
 public:
  CpuMatrix(const WeightShape& shape, HugeBuffer values)
      : shape_(shape), values_(std::move(values)) {}
  size_t outputs() const override { return shape_.outputs; }
  size_t inputs() const override { return shape_.inputs; }
  size_t bytes() const override { return values_.size(); }
  const WeightShape& shape() const { return shape_; }
  const std::byte* values() const { return values_.data(); }

 private:
  WeightShape shape_;
  HugeBuffer values_;
};

// Chooses, per product, between oneDNN and our own kernels for a few rows. One caller at a time.
class Products {
 public:
  explicit Products(int threads) : threads_(threads), gemm_(threads) {}

  // As Backend::pack and Backend::matmul. pack() needs a few MiB beside the result.
  Result<std::unique_ptr<PackedMatrix>> pack(std::span<const ConstAnyMat> parts, DType compute);
  void matmul(ConstAnyMat x, const CpuMatrix& w, AnyMat y, bool accumulate);

  const Gemm& gemm() const { return gemm_; }

 private:
  void few_rows(ConstAnyMat x, const std::byte* weights, const WeightShape& shape, AnyMat y,
                bool accumulate);
  void many_rows(ConstAnyMat x, const std::byte* weights, const WeightShape& shape, AnyMat y,
                 bool accumulate);
  void through_f32(ConstAnyMat x, const std::byte* weights, const WeightShape& shape, AnyMat y,
                   bool accumulate);
  void convert(ConstAnyMat from, AnyMat to);

  int threads_;
  Gemm gemm_;
  // Grow-only scratch: x and y made dense or f32, part of W as f32, partial sums.
  HugeBuffer x_, y_, w_, sums_;
};

}  // namespace msa::cpu
