// Single elements of matrices whose type is known at run time. For the scalar twins.
#pragma once

#include "base/mat_view.h"

namespace msa::train_kernels::ref {

inline double get(ConstAnyMat m, size_t r, size_t c) {
  return m.dtype == DType::f32 ? m.as<float>().row(r)[c] : m.as<bf16>().row(r)[c].to_float();
}

inline void put(AnyMat m, size_t r, size_t c, double value) {
  const auto rounded = static_cast<float>(value);
  if (m.dtype == DType::f32)
    m.as<float>().row(r)[c] = rounded;
  else
    m.as<bf16>().row(r)[c] = bf16::from_float(rounded);
}

}  // namespace msa::train_kernels::ref
