// Arithmetic on sizes that come from files or requests: never wraps, says when it would.
#pragma once

#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <optional>

namespace msa {

template <std::unsigned_integral T>
std::optional<T> checked_add(T a, T b) {
  T sum;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

template <std::unsigned_integral T>
std::optional<T> checked_mul(T a, T b) {
  T product;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

// The product of all factors, or nothing if it does not fit.
template <std::unsigned_integral T>
std::optional<T> checked_product(std::initializer_list<T> factors) {
  T product = 1;
  for (T factor : factors)
    if (__builtin_mul_overflow(product, factor, &product)) return std::nullopt;
  return product;
}

// Whether [offset, offset + length) lies within [0, size).
template <std::unsigned_integral T>
bool in_bounds(T offset, T length, T size) {
  return offset <= size && length <= size - offset;
}

}  // namespace msa
