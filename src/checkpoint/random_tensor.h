// Tensors of random numbers, written as they are made.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/aligned_buffer.h"
#include "base/mat_view.h"
#include "checkpoint/safetensors.h"
#include "msa/result.h"

namespace msa {

// The deviation with which matrices of new models begin.
inline constexpr float kInitialDeviation = 0.02f;

// Appends tensors to a file, which outlives this. Holds one batch of numbers (at most 8 MiB). Not
// thread-safe; uses all threads of OpenMP. Dtypes F32, BF16 and F16; another is a bug (assert).
class RandomTensorWriter {
 public:
  RandomTensorWriter(SafetensorsWriter& writer, uint64_t seed);

  // `count` times the same value.
  Result<void> constant(DType dtype, size_t count, float value);
  // Normal(0, deviation): numbers that depend on the tensor's name, the seed and their place, not
  // on the threads. Those of a narrower dtype are the rounded ones of F32.
  Result<void> normal(DType dtype, std::string_view name, size_t count, float deviation);

 private:
  template <class Fill>
  Result<void> batches(DType dtype, size_t count, const Fill& fill);
  void store(DType dtype, size_t first, std::span<const float> values);

  SafetensorsWriter& writer_;
  uint64_t seed_;
  AlignedBuffer<std::byte> batch_;
};

// To the nearest half-precision number, of two equally near ones the even.
f16 to_f16(float value);

}  // namespace msa
