// Rows of float as integers of 8 bits with a scale for each head: how a bank may store pooled keys
// and values (docs/memory-bank.md gives the bytes).
//
// Such rows are host memory whatever the backend, as often as not a mapped file, and a question
// reads only a few of them: these are functions beside the backend's operations, of one thread.
#pragma once

#include <cassert>
#include <cstddef>
#include <span>

#include "base/mat_view.h"

namespace msa {

// Bytes of a row: a float32 scale for each head, the heads' int8 values, and zeros up to a multiple
// of 4, so that every row's scales stand where a float may.
constexpr size_t int8_row_bytes(size_t heads, size_t head_dim) {
  return (heads * (sizeof(float) + head_dim) + 3) / 4 * 4;
}

// A dense view of such rows: value = scale of its head * integer, integers from -127 to 127.
struct Int8Rows {
  const std::byte* data = nullptr;  // [rows, row_bytes()], 4-byte aligned
  size_t rows = 0, heads = 0, head_dim = 0;

  size_t cols() const { return heads * head_dim; }
  size_t row_bytes() const { return int8_row_bytes(heads, head_dim); }
  std::span<const std::byte> bytes() const { return {data, rows * row_bytes()}; }
  // Rows [first, first + count).
  Int8Rows slice_rows(size_t first, size_t count) const {
    assert(first + count <= rows);
    return {data + first * row_bytes(), count, heads, head_dim};
  }
};

// Rounds rows [C, heads*D] of f32 or bf16 to the nearest integers, each head's largest magnitude to
// 127; `to` has room for C rows, 4-byte aligned. A head of zeros has scale 0. Returns how many rows
// were done: less than C where the next one holds a value that is not finite, or one so close to
// the largest float that 127 times its scale is not.
// Each value is off by at most half its scale, which is 1/254 of its head's largest magnitude, and
// by float rounding; where a head is all below 127 times the least normal float, by half of that.
size_t to_int8_rows(ConstAnyMat from, size_t heads, std::byte* to);

// The values that the integers stand for: to f32 or bf16 [rows, heads*D].
void from_int8_rows(const Int8Rows& from, AnyMat to);

}  // namespace msa
