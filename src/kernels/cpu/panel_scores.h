// Scores of compressed keys: integer products of panels of 16 rows with rounded queries. Serial.
//
//   score[r][t] = sum or highest over units u of
//     key scale[r][head of u] * query scale[u][t] * (sum over i of key[r][head of u][i] *
//     query[u][t][i]
//                                                    + offset[u][t])
//
// Keys are as they are stored (compressed_keys.h), their bias not taken off: the offsets do that.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/compressed_keys.h"

namespace msa::cpu {

// The queries of one request. A unit is what one key head is multiplied with: reduced by mean over
// heads there is one for each key/value head, by max one for each query head.
struct PanelQueries {
  size_t count = 0;                    // T, at least 1
  size_t units = 0;                    // U
  const uint32_t* kv_heads = nullptr;  // [U]: the key head of each
  bool highest = false;                // over units; else their sum
  // [U, padded_head(D) / 4, T] groups of four values, zero beyond D. For the processor's products
  // of bytes int8, in order; for others int16, in the order 0, 2, 1, 3.
  const void* values = nullptr;
  const float* scales = nullptr;     // [U, T]
  const int32_t* offsets = nullptr;  // [U, T]: minus the keys' bias times the sum of the integers
  bool mean = false;                 // over the queries; else the highest
};

// chunk_scores [panels * 16]: for each row of the panels from `first_panel` on, reduced over the
// queries; NaN wins over any number. totals [T, 16], 64-byte aligned, is scratch.
void score_panels(const CompressedKeys& keys, size_t first_panel, size_t panels,
                  const PanelQueries& queries, float* totals, float* chunk_scores);

// The same on processors that multiply bytes (AVX512_VNNI). `fetch`: the keys come from memory and
// not from a cache, and those behind them are wanted next.
bool has_integer_products();
void score_panels_native(const CompressedKeys& keys, size_t first_panel, size_t panels,
                         const PanelQueries& queries, bool fetch, float* totals,
                         float* chunk_scores);

}  // namespace msa::cpu
