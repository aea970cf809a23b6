// Serial kernels of the routing scan, on tiles of scores. Row strides are kPanelColumns.
#pragma once

#include <cstddef>

#include "base/mat_view.h"

namespace msa::cpu {

// Queries that are too few for a tile product: scores[c * 64 + t] = keys[c] . queries[t], at the
// speed at which keys can be read.
//   keys     act [rows, k] at `stride` elements
//   queries  [count, k] f32, count <= kDotQueries; for bf16 keys as split_pairs() leaves them
inline constexpr size_t kDotQueries = 8;
void dot_scores(ConstAnyMat keys, const float* queries, size_t count, float* scores);
// Reorders each run of k values so that even and odd ones lie together in turns of a vector: what a
// vector of bf16 pairs splits into. Needs no more than k rounded up to 32 floats per query.
size_t split_stride(size_t k);
void split_pairs(MatView<const float> queries, float* split);

// to = max(to, from) on [rows, columns]; NaN wins.
void max_scores(const float* from, size_t rows, size_t columns, float* to);
// to[c] = max or sum over the columns of scores[c], with what to[c] holds already unless `first`.
// NaN wins.
void reduce_max(const float* scores, size_t rows, size_t columns, bool first, float* to);
void reduce_sum(const float* scores, size_t rows, size_t columns, bool first, float* to);

}  // namespace msa::cpu
