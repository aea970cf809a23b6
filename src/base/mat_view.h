// Views of row-major matrices, and the element types they hold.
//
// A view owns nothing: it is valid while the memory it looks at lives. Strides are in elements.
#pragma once

#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>

namespace msa {

// Brain float: the upper half of an IEEE float32.
struct bf16 {
  uint16_t bits = 0;

  static bf16 from_float(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value);
    if ((u & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>((u >> 16) | 0x40)};  // NaN
    return {static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1)) >> 16)};  // to nearest even
  }
  float to_float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
};
static_assert(sizeof(bf16) == 2);

// IEEE half precision. Only read from files, never computed with.
struct f16 {
  uint16_t bits = 0;

  float to_float() const {
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
    const uint32_t exponent = (bits >> 10) & 0x1fu, mantissa = bits & 0x3ffu;
    if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
    if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24
      const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
      return sign ? -magnitude : magnitude;
    }
    return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  }
};
static_assert(sizeof(f16) == 2);

enum class DType : uint8_t { f32, bf16, f16, i64 };

constexpr size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::f32: return 4;
    case DType::bf16: return 2;
    case DType::f16: return 2;
    case DType::i64: return 8;
  }
  return 0;
}

constexpr std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::f32: return "F32";
    case DType::bf16: return "BF16";
    case DType::f16: return "F16";
    case DType::i64: return "I64";
  }
  return "?";
}

template <class T>
constexpr DType dtype_of() {
  using U = std::remove_const_t<T>;
  if constexpr (std::is_same_v<U, float>)
    return DType::f32;
  else if constexpr (std::is_same_v<U, bf16>)
    return DType::bf16;
  else if constexpr (std::is_same_v<U, f16>)
    return DType::f16;
  else {
    static_assert(std::is_same_v<U, int64_t>, "no DType for this element type");
    return DType::i64;
  }
}

inline float to_float(float value) {
  return value;
}
inline float to_float(bf16 value) {
  return value.to_float();
}
inline float to_float(f16 value) {
  return value.to_float();
}
template <class T>
T from_float(float value) {
  if constexpr (std::is_same_v<T, float>)
    return value;
  else
    return T::from_float(value);
}

// A [rows, cols] matrix of T.
template <class T>
struct MatView {
  T* data = nullptr;
  size_t rows = 0, cols = 0, stride = 0;  // stride in elements, >= cols

  MatView() = default;
  MatView(T* elements, size_t row_count, size_t col_count)
      : MatView(elements, row_count, col_count, col_count) {}
  MatView(T* elements, size_t row_count, size_t col_count, size_t row_stride)
      : data(elements), rows(row_count), cols(col_count), stride(row_stride) {
    assert(stride >= cols);
  }

  std::span<T> row(size_t r) const {
    return assert(r < rows), std::span<T>(data + r * stride, cols);
  }
  // Rows [first, first + count).
  MatView slice_rows(size_t first, size_t count) const {
    assert(first + count <= rows);
    return {data + first * stride, count, cols, stride};
  }
  // Columns [first, first + count).
  MatView slice_cols(size_t first, size_t count) const {
    assert(first + count <= cols);
    return {data + first, rows, count, stride};
  }
  bool dense() const { return stride == cols; }
  operator MatView<const T>() const requires(!std::is_const_v<T>) {
    return {data, rows, cols, stride};
  }
};

// A [rows, cols] matrix whose element type is known at run time. Byte is std::byte or const
// std::byte.
template <class Byte>
struct BasicAnyMat {
  Byte* data = nullptr;
  DType dtype = DType::f32;
  size_t rows = 0, cols = 0, stride = 0;  // stride in elements, >= cols

  BasicAnyMat() = default;
  BasicAnyMat(Byte* elements, DType type, size_t row_count, size_t col_count)
      : BasicAnyMat(elements, type, row_count, col_count, col_count) {}
  BasicAnyMat(Byte* elements, DType type, size_t row_count, size_t col_count, size_t row_stride)
      : data(elements), dtype(type), rows(row_count), cols(col_count), stride(row_stride) {
    assert(stride >= cols);
  }
  template <class T>
  requires(std::is_const_v<Byte> || !std::is_const_v<T>) BasicAnyMat(MatView<T> m)
      : data(reinterpret_cast<Byte*>(m.data)),
        dtype(dtype_of<T>()),
        rows(m.rows),
        cols(m.cols),
        stride(m.stride) {}

  // The typed view; the dtype must be T's.
  template <class T>
  auto as() const {
    using Element = std::conditional_t<std::is_const_v<Byte>, const T, T>;
    assert(dtype == dtype_of<T>());
    return MatView<Element>(reinterpret_cast<Element*>(data), rows, cols, stride);
  }
  BasicAnyMat slice_rows(size_t first, size_t count) const {
    assert(first + count <= rows);
    return {data + first * stride * size_of(dtype), dtype, count, cols, stride};
  }
  BasicAnyMat slice_cols(size_t first, size_t count) const {
    assert(first + count <= cols);
    return {data + first * size_of(dtype), dtype, rows, count, stride};
  }
  bool dense() const { return stride == cols; }
  operator BasicAnyMat<const std::byte>() const requires(!std::is_const_v<Byte>) {
    return {data, dtype, rows, cols, stride};
  }
};
using AnyMat = BasicAnyMat<std::byte>;
using ConstAnyMat = BasicAnyMat<const std::byte>;

}  // namespace msa
