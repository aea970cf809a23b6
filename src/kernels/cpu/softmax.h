// The parts of attention between its two products. Serial.
#pragma once

#include <cstddef>

#include "base/mat_view.h"
#include "kernels/cpu/parallel.h"

namespace msa::cpu {

// One tile of online softmax: `rows` rows of 64 scores (already q.k, not yet scaled).
//   scores   [rows, 64] f32
//   visible  row r sees its first min(visible + r, 64) scores; at least 1
//   highest, total [rows]: maximum and sum of exp so far; -inf and 0 at the start
//   sums     [rows, sum_stride]: weighted sums so far, multiplied here by what a new maximum makes
//            of them; `width` columns
//   weights  [rows, 64]: exp(score * scale - highest), 0 for what is not visible. As bf16 they are
//            rounded before they enter `total`, so that they still sum to one.
struct SoftmaxTile {
  const float* scores;
  size_t rows, visible;
  float scale;
  float *highest, *total, *sums;
  size_t sum_stride, width;
};
void softmax_tile(const SoftmaxTile& tile, float* weights);
void softmax_tile(const SoftmaxTile& tile, bf16* weights);

// out[r] = sums[r] / total[r] for `rows` rows of `width` columns.
void divide_rows(const float* sums, size_t sum_stride, const float* total, AnyMat out);

// Attention of few queries to keys in `keys`, reading every row of k and v once from end to end.
//   q       [T, H*D] f32, already multiplied by 1/sqrt(D)
//   k, v    act [S, G*D]; query t sees keys 0 .. S-T+t
//   state   of this range, [T*H, D+2] f32: weighted sums, maximum, sum of exp. Overwritten.
//   scratch [T*H, kKeyTile] f32
inline constexpr size_t kKeyTile = 64;
void attend_few(MatView<const float> q, ConstAnyMat k, ConstAnyMat v, size_t kv_heads,
                size_t head_dim, Range keys, float* state, float* scratch);
// out act [T, H*D] from the states of `parts` ranges, which lie one after the other.
void merge_states(const float* states, size_t parts, size_t head_dim, AnyMat out);

}  // namespace msa::cpu
