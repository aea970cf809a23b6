#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/compress.cc"
#include <hwy/foreach_target.h>
// The line above must come first.
#include "kernels/cpu/compress.h"
#include "kernels/cpu/vector_io-inl.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

HWY_BEFORE_NAMESPACE();
namespace msa::cpu::HWY_NAMESPACE {

// Norms are computed in float: a share that covers the rounding makes them safe bounds.
constexpr float kNormMargin = 1.001f;

// One head of a row: integers with their bias to `bytes`, which has room for a vector more.
template <class T>
HWY_INLINE bf16 compress_head(const T* HWY_RESTRICT head, size_t D, KeyFormat format,
                              uint8_t* HWY_RESTRICT bytes, float& error_norm, float& integer_norm) {
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const hn::Rebind<uint8_t, decltype(d)> d8;
  auto most = hn::Zero(d), not_finite = hn::Zero(d);
  for_each_vector(d, D, [&](const auto& get, const auto&) HWY_ATTR {
    const auto x = get(head);
    most = hn::Max(most, hn::Abs(x));
    not_finite = hn::MulAdd(x, hn::Zero(d), not_finite);  // NaN stays, infinity becomes one
  });
  const int bias = bias_of(format);
  if (!(hn::GetLane(hn::SumOfLanes(d, not_finite)) == 0)) {
    std::fill_n(bytes, D, static_cast<uint8_t>(bias));
    return bf16::from_float(std::numeric_limits<float>::quiet_NaN());
  }
  const float highest = hn::GetLane(hn::MaxOfLanes(d, most));
  const auto largest = static_cast<float>(largest_integer(format));
  // Below the least normal number the bound, a multiple of the scale, would not hold.
  const bf16 scale = bf16::from_float(
      highest == 0 ? 0 : std::max(highest / largest, std::numeric_limits<float>::min()));
  const float unit = scale.to_float(), inverse = highest == 0 ? 0 : 1 / unit;
  auto errors = hn::Zero(d), squares = hn::Zero(d);
  size_t i = 0;
  for_each_vector(d, D, [&](const auto& get, const auto&) HWY_ATTR {
    const auto x = get(head);
    const auto n =
        hn::Min(hn::Max(hn::Round(hn::Mul(x, hn::Set(d, inverse))), hn::Set(d, -largest)),
                hn::Set(d, largest));
    const auto error = hn::NegMulAdd(n, hn::Set(d, unit), x);
    errors = hn::MulAdd(error, error, errors);
    squares = hn::MulAdd(n, n, squares);
    const auto biased = hn::Add(hn::ConvertTo(di, n), hn::Set(di, bias));
    hn::StoreU(hn::DemoteTo(d8, biased), d8, bytes + i);
    i += hn::Lanes(d);
  });
  integer_norm = std::max(integer_norm, std::sqrt(hn::GetLane(hn::SumOfLanes(d, squares))));
  if (unit > 0)
    error_norm = std::max(error_norm,
                          kNormMargin * std::sqrt(hn::GetLane(hn::SumOfLanes(d, errors))) / unit);
  return scale;
}

// Puts a head's integers, padded, where they belong: four bytes of each of its panel's vectors.
HWY_INLINE void place_head(const uint8_t* HWY_RESTRICT bytes, KeyFormat format, size_t padded,
                           uint8_t* HWY_RESTRICT to) {
  constexpr size_t kGroup = 4, kVector = kPanelRows * kGroup;
  if (format == KeyFormat::int8) {
    for (size_t i = 0; i < padded; i += kGroup, to += kVector) std::memcpy(to, bytes + i, kGroup);
    return;
  }
  for (size_t i = 0; i < padded; i += 2 * kGroup, to += kVector) {
    uint32_t lower, upper;
    std::memcpy(&lower, bytes + i, kGroup);
    std::memcpy(&upper, bytes + i + kGroup, kGroup);
    const uint32_t both = lower | upper << 4;  // no byte is above 15
    std::memcpy(to, &both, kGroup);
  }
}

template <class T>
void compress_typed(MatView<const T> keys, const MutableCompressedKeys& to, Range range,
                    float* error_norms, float* integer_norms) {
  const size_t D = to.head_dim, padded = padded_head(D);
  std::vector<uint8_t> bytes(padded + HWY_MAX_BYTES);
  for (size_t r = range.begin; r < range.end; ++r) {
    const T* row = keys.row(r).data();
    for (size_t g = 0; g < to.kv_heads; ++g) {
      to.scales[scale_place(to.kv_heads, r, g)] =
          compress_head(row + g * D, D, to.format, bytes.data(), error_norms[g], integer_norms[g]);
      std::fill(bytes.data() + D, bytes.data() + padded, static_cast<uint8_t>(bias_of(to.format)));
      place_head(bytes.data(), to.format, padded,
                 to.integers + place_of(to.format, to.kv_heads, D, r, g, 0).byte);
    }
  }
}

void compress(ConstAnyMat keys, const MutableCompressedKeys& to, Range range, float* error_norms,
              float* integer_norms) {
  if (keys.dtype == DType::f32)
    compress_typed(keys.as<float>(), to, range, error_norms, integer_norms);
  else
    compress_typed(keys.as<bf16>(), to, range, error_norms, integer_norms);
}

}  // namespace msa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msa::cpu {
HWY_EXPORT(compress);

void compress_rows(ConstAnyMat keys, const MutableCompressedKeys& to, Range range,
                   std::span<float> error_norms, std::span<float> integer_norms) {
  HWY_DYNAMIC_DISPATCH(compress)(keys, to, range, error_norms.data(), integer_norms.data());
}

}  // namespace msa::cpu
#endif
