#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/int8_rows.cc"
#include <hwy/foreach_target.h>
// The line above must come first.
#include "kernels/cpu/vector_io-inl.h"
#include "kernels/int8_rows.h"

#include <algorithm>
#include <cmath>
#include <limits>

HWY_BEFORE_NAMESPACE();
namespace msa::cpu::HWY_NAMESPACE {

// One head: its integers to `integers`, its scale to `scale`. False if the head cannot be held.
template <class T>
HWY_INLINE bool head_to_int8(const T* HWY_RESTRICT head, size_t D, int8_t* HWY_RESTRICT integers,
                             float& scale) {
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> d32;
  const hn::Rebind<int8_t, decltype(d)> d8;
  auto most = hn::Zero(d), not_finite = hn::Zero(d);
  for_each_vector(d, D, [&](const auto& get, const auto&) HWY_ATTR {
    const auto x = get(head);
    most = hn::Max(most, hn::Abs(x));
    not_finite = hn::MulAdd(x, hn::Zero(d), not_finite);  // NaN stays, infinity becomes one
  });
  if (!(hn::GetLane(hn::SumOfLanes(d, not_finite)) == 0)) return false;
  const float highest = hn::GetLane(hn::MaxOfLanes(d, most));
  scale = highest == 0 ? 0 : std::max(highest / 127, std::numeric_limits<float>::min());
  if (!std::isfinite(scale * 127)) return false;
  const auto inverse = hn::Set(d, highest == 0 ? 0 : 1 / scale);
  const auto largest = hn::Set(d, 127.0f), least = hn::Set(d, -127.0f);
  const auto rounded = [&](auto x) HWY_ATTR {
    const auto n = hn::Min(hn::Max(hn::Round(hn::Mul(x, inverse)), least), largest);
    return hn::DemoteTo(d8, hn::ConvertTo(d32, n));
  };
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= D; i += lanes) hn::StoreU(rounded(load(d, head + i)), d8, integers + i);
  if (i < D) {
    HWY_ALIGN int8_t rest[HWY_MAX_BYTES / sizeof(float)];
    hn::StoreU(rounded(load_first(d, head + i, D - i)), d8, rest);
    std::memcpy(integers + i, rest, D - i);
  }
  return true;
}

template <class T>
size_t rows_to_int8(MatView<const T> from, size_t heads, std::byte* to) {
  const size_t D = from.cols / heads, row_bytes = int8_row_bytes(heads, D);
  const size_t used = heads * (sizeof(float) + D);
  for (size_t r = 0; r < from.rows; ++r) {
    std::byte* row = to + r * row_bytes;
    auto* integers = reinterpret_cast<int8_t*>(row + heads * sizeof(float));
    for (size_t h = 0; h < heads; ++h) {
      float scale = 0;
      if (!head_to_int8(from.row(r).data() + h * D, D, integers + h * D, scale)) return r;
      std::memcpy(row + h * sizeof(float), &scale, sizeof(scale));
    }
    std::fill_n(row + used, row_bytes - used, std::byte{0});
  }
  return from.rows;
}

size_t to_int8(ConstAnyMat from, size_t heads, std::byte* to) {
  if (from.dtype == DType::f32) return rows_to_int8(from.as<float>(), heads, to);
  return rows_to_int8(from.as<bf16>(), heads, to);
}

template <class T>
void rows_from_int8(const Int8Rows& from, MatView<T> to) {
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> d32;
  const hn::Rebind<int8_t, decltype(d)> d8;
  const size_t D = from.head_dim, lanes = hn::Lanes(d), row_bytes = from.row_bytes();
  for (size_t r = 0; r < from.rows; ++r) {
    const std::byte* row = from.data + r * row_bytes;
    const auto* integers = reinterpret_cast<const int8_t*>(row + from.heads * sizeof(float));
    T* out = to.row(r).data();
    for (size_t h = 0; h < from.heads; ++h, integers += D, out += D) {
      float scale;
      std::memcpy(&scale, row + h * sizeof(float), sizeof(scale));
      const auto unit = hn::Set(d, scale);
      const auto widened = [&](const int8_t* HWY_RESTRICT p) HWY_ATTR {
        return hn::Mul(hn::ConvertTo(d, hn::PromoteTo(d32, hn::LoadU(d8, p))), unit);
      };
      size_t i = 0;
      for (; i + lanes <= D; i += lanes) store(d, widened(integers + i), out + i);
      if (i < D) {
        HWY_ALIGN int8_t rest[HWY_MAX_BYTES / sizeof(float)] = {};
        std::memcpy(rest, integers + i, D - i);
        store_first(d, widened(rest), out + i, D - i);
      }
    }
  }
}

void from_int8(const Int8Rows& from, AnyMat to) {
  if (to.dtype == DType::f32)
    rows_from_int8(from, to.as<float>());
  else
    rows_from_int8(from, to.as<bf16>());
}

}  // namespace msa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace msa {
namespace cpu {
HWY_EXPORT(to_int8);
HWY_EXPORT(from_int8);

namespace {

size_t dispatch_to_int8(ConstAnyMat from, size_t heads, std::byte* to) {
  return HWY_DYNAMIC_DISPATCH(to_int8)(from, heads, to);
}
void dispatch_from_int8(const Int8Rows& from, AnyMat to) {
  HWY_DYNAMIC_DISPATCH(from_int8)(from, to);
}

}  // namespace
}  // namespace cpu

size_t to_int8_rows(ConstAnyMat from, size_t heads, std::byte* to) {
  assert(heads > 0 && from.cols % heads == 0);
  assert(from.dtype == DType::f32 || from.dtype == DType::bf16);
  return cpu::dispatch_to_int8(from, heads, to);
}

void from_int8_rows(const Int8Rows& from, AnyMat to) {
  assert(to.rows == from.rows && to.cols == from.cols());
  assert(to.dtype == DType::f32 || to.dtype == DType::bf16);
  cpu::dispatch_from_int8(from, to);
}

}  // namespace msa
#endif
