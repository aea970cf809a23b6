#include "checkpoint/random_tensor.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstring>

#include "base/hash.h"
#include "checkpoint/normal_stream.h"

namespace msa {
namespace {

constexpr size_t kBlock = 16384;  // numbers of one random stream
constexpr size_t kBatch = 128;    // blocks between two writes: 8 MiB of float32

}  // namespace

f16 to_f16(float value) {
  const auto sign = static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16 & 0x8000u);
  const float magnitude = std::abs(value);
  uint32_t bits = 0;
  if (std::isnan(value)) {
    bits = 0x7e00;
  } else if (magnitude >= 0x1.ffep15f) {  // halfway between the largest number and the next
    bits = 0x7c00;
  } else if (magnitude < 0x1p-14f) {
    // Subnormal: multiples of 2^-24. Rounds up into the smallest normal number by itself.
    bits = static_cast<uint32_t>(std::nearbyint(magnitude * 0x1p24f));
  } else {
    const uint32_t u = std::bit_cast<uint32_t>(magnitude) - (112u << 23);
    bits = (u + 0xfffu + (u >> 13 & 1)) >> 13;
  }
  return {static_cast<uint16_t>(sign | bits)};
}

RandomTensorWriter::RandomTensorWriter(SafetensorsWriter& writer, uint64_t seed)
    : writer_(writer), seed_(seed), batch_(kBatch * kBlock * sizeof(float)) {}

Result<void> RandomTensorWriter::constant(DType dtype, size_t count, float value) {
  return batches(dtype, count,
                 [&](size_t, std::span<float> out) { std::fill(out.begin(), out.end(), value); });
}

Result<void> RandomTensorWriter::normal(DType dtype, std::string_view name, size_t count,
                                        float deviation) {
  const uint64_t stream = hash64(name) ^ seed_ * 0x9e3779b97f4a7c15u;
  return batches(dtype, count, [&](size_t block, std::span<float> out) {
    fill_normal(stream, block, out);
    for (float& value : out) value *= deviation;
  });
}

template <class Fill>
Result<void> RandomTensorWriter::batches(DType dtype, size_t count, const Fill& fill) {
  for (size_t begin = 0; begin < count; begin += kBatch * kBlock) {
    const size_t now = std::min(kBatch * kBlock, count - begin);
    const size_t blocks = (now + kBlock - 1) / kBlock;
#pragma omp parallel for schedule(dynamic)
    for (size_t b = 0; b < blocks; ++b) {
      std::array<float, kBlock> values;
      const std::span<float> out(values.data(), std::min(kBlock, now - b * kBlock));
      fill(begin / kBlock + b, out);
      store(dtype, b * kBlock, out);
    }
    MSA_TRY(writer_.append(batch_.span().first(now * size_of(dtype))));
  }
  return {};
}

void RandomTensorWriter::store(DType dtype, size_t first, std::span<const float> values) {
  assert(dtype != DType::i64 && "weights are not whole numbers");
  std::byte* to = batch_.data() + first * size_of(dtype);
  if (dtype == DType::f32) {
    std::memcpy(to, values.data(), values.size_bytes());
  } else if (dtype == DType::bf16) {
    auto* numbers = reinterpret_cast<bf16*>(to);
    for (size_t i = 0; i < values.size(); ++i) numbers[i] = bf16::from_float(values[i]);
  } else {
    auto* numbers = reinterpret_cast<f16*>(to);
    for (size_t i = 0; i < values.size(); ++i) numbers[i] = to_f16(values[i]);
  }
}

}  // namespace msa
