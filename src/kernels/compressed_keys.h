// Routing keys in 8 or 4 bits a value: what a scan reads where the keys in full are too many. The
// scan's scores are off by the rounding, by a known bound; the documents that may be among the best
// are scored again with the keys in full.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/mat_view.h"
#include "kernels/route.h"

namespace msa {

enum class KeyFormat : uint8_t { int8, int4 };

constexpr std::string_view name_of(KeyFormat format) {
  return format == KeyFormat::int8 ? "int8" : "int4";
}
// The integers of a row and head are from -largest to largest, stored with `bias` added to each.
constexpr int largest_integer(KeyFormat format) {
  return format == KeyFormat::int8 ? 127 : 7;
}
constexpr int bias_of(KeyFormat format) {
  return format == KeyFormat::int8 ? 128 : 8;
}

// Rows lie in panels, so that one instruction multiplies four values of each of a panel's rows, and
// the sums of different rows never have to be added up. A head's values are padded with zeros to a
// multiple of kHeadPadding, rows to whole panels.
inline constexpr size_t kPanelRows = 16;
inline constexpr size_t kHeadPadding = 8;
constexpr size_t padded_head(size_t head_dim) {
  return (head_dim + kHeadPadding - 1) / kHeadPadding * kHeadPadding;
}
constexpr size_t padded_rows(size_t rows) {
  return (rows + kPanelRows - 1) / kPanelRows * kPanelRows;
}
// Bytes of a row, its scales not counted. G*D must be far from the limits of size_t.
constexpr size_t integer_bytes(KeyFormat format, size_t kv_heads, size_t head_dim) {
  return kv_heads * padded_head(head_dim) / (format == KeyFormat::int8 ? 1 : 2);
}
// Where a value is: the byte from the array's begin, and whether it is the upper half of it.
struct IntegerPlace {
  size_t byte = 0;
  bool upper = false;
};
constexpr IntegerPlace place_of(KeyFormat format, size_t kv_heads, size_t head_dim, size_t row,
                                size_t head, size_t i) {
  constexpr size_t kGroup = 4, kVector = kPanelRows * kGroup;
  const size_t head_vectors = integer_bytes(format, 1, head_dim) / kGroup;
  const size_t group = i / kGroup;
  const size_t vector = format == KeyFormat::int8 ? group : group / 2;
  const size_t panel_vectors = (row / kPanelRows * kv_heads + head) * head_vectors;
  return {(panel_vectors + vector) * kVector + row % kPanelRows * kGroup + i % kGroup,
          format == KeyFormat::int4 && group % 2 == 1};
}
// Likewise in the array of scales.
constexpr size_t scale_place(size_t kv_heads, size_t row, size_t head) {
  return (row / kPanelRows * kv_heads + head) * kPanelRows + row % kPanelRows;
}

// The arrays of C compressed rows: value = scale of its row and head * integer. Owned by whoever
// allocated them. Byte is uint8_t or const uint8_t, and so on for the others.
template <bool kConst>
struct BasicCompressedKeys {
  template <class T>
  using Of = std::conditional_t<kConst, const T, T>;

  KeyFormat format = KeyFormat::int8;
  DType full = DType::bf16;  // of the keys that were compressed
  size_t rows = 0, kv_heads = 0, head_dim = 0;
  // [padded_rows(C) * row_bytes()], 64-byte aligned: panels of 16 rows, in each the heads, in each
  // vectors of 64 bytes. int8: vector v has values 4v to 4v+3 of row 0, of row 1, … of the panel.
  // int4: values 8v to 8v+3 in the lower halves of its bytes, 8v+4 to 8v+7 in the upper ones.
  Of<uint8_t>* integers = nullptr;
  // [padded_rows(C) / 16, G, 16], 32-byte aligned. NaN where the keys hold something that is not
  // finite.
  Of<bf16>* scales = nullptr;
  // [G] each: of each head, the longest rounding error and the longest vector of integers (L2
  // norms) of all rows, as multiples of the row's scale. They bound what a score can be off by.
  Of<float>*error_norms = nullptr, *integer_norms = nullptr;

  size_t width() const { return kv_heads * head_dim; }
  size_t row_bytes() const { return integer_bytes(format, kv_heads, head_dim); }
  float scale(size_t row, size_t head) const {
    return scales[scale_place(kv_heads, row, head)].to_float();
  }
  operator BasicCompressedKeys<true>() const requires(!kConst) {
    return {format, full, rows, kv_heads, head_dim, integers, scales, error_norms, integer_norms};
  }
};
using CompressedKeys = BasicCompressedKeys<true>;
using MutableCompressedKeys = BasicCompressedKeys<false>;

// Gives the rows that fill the last panel a scale of zero.
inline void fill_padding(const MutableCompressedKeys& keys) {
  for (size_t r = keys.rows; r < padded_rows(keys.rows); ++r)
    for (size_t g = 0; g < keys.kv_heads; ++g) {
      keys.scales[scale_place(keys.kv_heads, r, g)] = bf16::from_float(0);
      const size_t vectors = padded_head(keys.head_dim) / (keys.format == KeyFormat::int8 ? 4 : 8);
      uint8_t* at =
          keys.integers + place_of(keys.format, keys.kv_heads, keys.head_dim, r, g, 0).byte;
      for (size_t v = 0; v < vectors; ++v) std::fill_n(at + v * 64, 4, uint8_t{0});
    }
}

// As KeyBlock.
struct CompressedBlock {
  CompressedKeys keys;
  std::span<const DocumentSpan> documents;
};

// What a scan of compressed keys finds for one request.
struct RouteCandidates {
  // In no particular order; scores are those of the compressed keys.
  std::vector<RouteHit> documents;
  // Of each document: what its score by the keys in full is at most; with int4, by 3√2 standard
  // deviations (see kInt4Deviations).
  std::vector<float> uppers;
  // The k best by the keys in full are certainly among them: always with int8 unless too many
  // documents are too close to each other; else they are so with overwhelming probability.
  bool certain = true;
};

// At most so many candidates are gathered for each document wanted.
inline constexpr size_t kCandidatesPerHit = 256;
// int4 rounds too coarsely for bounds that always hold to leave anything out. Errors of many
// values are taken as independent, and documents within so many standard deviations are kept: of
// two documents, both scores have to be off by as much for the worse to seem certainly the better.
// That is as unlikely as one score that is off by √2 times as much, which is what a document is
// allowed once it is compared with exact scores.
inline constexpr float kInt4Deviations = 3;

}  // namespace msa
