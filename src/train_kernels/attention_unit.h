// The parts of segment attention that are compiled per instruction set: one segment and one
// key/value head at a time, serial. See attention.h.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

#include "train_kernels/attention.h"

namespace msa::train_kernels {

// Query rows that are worked on together: their scores stay in the second-level cache.
inline constexpr size_t kBlockRows = 64;
// Keys stand in panels of so many columns.
inline constexpr size_t kPanelKeys = 32;

constexpr size_t round_up(size_t n, size_t to) {
  return (n + to - 1) / to * to;
}

// Extents of one segment, or the largest of several: tokens, keys and head size, rounded up to what
// tiles need.
struct TileSizes {
  size_t rows = 0;   // of a block of queries, a multiple of 4
  size_t keys = 0;   // a multiple of kPanelKeys
  size_t width = 0;  // of a head, a multiple of 16

  TileSizes() = default;
  TileSizes(size_t tokens, size_t key_count, size_t head_dim)
      : rows(round_up(std::min(tokens, kBlockRows), 8)),
        keys(round_up(key_count, kPanelKeys)),
        width(round_up(head_dim, 16)) {}
  void cover(const TileSizes& other) {
    rows = std::max(rows, other.rows);
    keys = std::max(keys, other.keys);
    width = std::max(width, other.width);
  }
};

// Scratch memory of one thread, in floats.
struct ForwardSpace {
  float *keys, *values;            // [keys, width]
  float* panels;                   // keys, transposed: [keys / kPanelKeys][width][kPanelKeys]
  float *queries, *scores, *sums;  // [rows, width], [rows, keys], [rows, width]
  float* total;                    // [rows]

  static size_t floats(const TileSizes& size) {
    return 3 * size.keys * size.width + size.rows * (2 * size.width + size.keys + 16);
  }
  ForwardSpace(float* memory, const TileSizes& size);
};

struct BackwardSpace {
  float *keys, *values;                      // [keys, width]
  float *key_panels, *value_panels;          // transposed, as above
  float *grad_keys, *grad_values;            // [keys, width]
  float *queries, *grad_out, *grad_queries;  // [rows, width]
  float *weights, *grad_scores;              // [rows, keys]

  static size_t floats(const TileSizes& size) {
    return 6 * size.keys * size.width + size.rows * (3 * size.width + 2 * size.keys);
  }
  BackwardSpace(float* memory, const TileSizes& size);
};

// Writes head columns of segment `s` and key/value head `g` of out and log_sums.
void attend_unit(const AttentionInputs& inputs, size_t s, size_t g, float* memory, AnyMat out,
                 MatView<float> log_sums);

// Where the gradients of a segment's context (prefix and chunks) go: [context, G*D] each. Null
// where not wanted.
struct ContextGradients {
  float *k = nullptr, *v = nullptr;
};
// Which gradients are wanted at all.
struct Wanted {
  bool queries = false, keys = false, values = false;
};

void attend_unit_backward(const AttentionInputs& inputs, ConstAnyMat grad_out,
                          MatView<const float> log_sums, size_t s, size_t g, const Wanted& wanted,
                          float* memory, const AttentionGradients& gradients,
                          const ContextGradients& context);

// to [1, n] = the sum of rows `at` of `rows` [., n], each n floats after the other; `sum` has room
// for n floats.
void sum_rows(const float* rows, std::span<const size_t> at, float* sum, AnyMat to);

}  // namespace msa::train_kernels
