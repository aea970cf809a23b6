// Routing keys in 8 or 4 bits a value: what a scan reads where the keys in full are too many. The
// scan's scores are off by the rounding, by a known bound; the documents that may be among the best
// are scored again with the keys in full.
#pragma once

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
// Bytes of a row of `width` values, its scales not counted.
constexpr size_t integer_bytes(KeyFormat format, size_t width) {
  return format == KeyFormat::int8 ? width : (width + 1) / 2;
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
  // [C, integer_bytes(G*D)], dense, 64-byte aligned, and kSlack bytes more that may be read. int4:
  // byte i of a row holds values i (low half) and i + bytes (high half) of it.
  Of<uint8_t>* integers = nullptr;
  Of<bf16>* scales = nullptr;  // [C, G]. NaN where the keys hold something that is not finite
  // [G] each: of each head, the longest rounding error and the longest vector of integers (L2
  // norms) of all rows, as multiples of the row's scale. They bound what a score can be off by.
  Of<float>*error_norms = nullptr, *integer_norms = nullptr;

  static constexpr size_t kSlack = 64;

  size_t width() const { return kv_heads * head_dim; }
  size_t row_bytes() const { return integer_bytes(format, width()); }
  operator BasicCompressedKeys<true>() const requires(!kConst) {
    return {format, full, rows, kv_heads, head_dim, integers, scales, error_norms, integer_norms};
  }
};
using CompressedKeys = BasicCompressedKeys<true>;
using MutableCompressedKeys = BasicCompressedKeys<false>;

// As KeyBlock.
struct CompressedBlock {
  CompressedKeys keys;
  std::span<const DocumentSpan> documents;
};

// What a scan of compressed keys finds for one request.
struct RouteCandidates {
  // In no particular order; scores are those of the compressed keys.
  std::vector<RouteHit> documents;
  // The k best by the keys in full are certainly among them: always with int8 unless too many
  // documents are too close to each other; else they are so with overwhelming probability.
  bool certain = true;
};

// At most so many candidates are gathered for each document wanted.
inline constexpr size_t kCandidatesPerHit = 256;
// int4 rounds too coarsely for bounds that always hold to leave anything out. Errors of many
// values are taken as independent, and documents within so many standard deviations are kept.
inline constexpr float kInt4Deviations = 3;

}  // namespace msa
