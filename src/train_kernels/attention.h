// Softmax attention within segments of tokens, forward and backward.
//
// A segment's tokens attend causally to each other and, all of them, to what stands before the
// segment: the template prefix where it sees it, and pooled chunks.
//
// T tokens, H query heads, G key/value heads, D head size, S segments, T0 prefix tokens, C chunks.
// Query head h reads key/value head h / (H/G). Matrices hold float32 or bf16, all the same; rows
// may be strided, heads may not. Arithmetic is in float32, scores are scaled by 1/sqrt(D).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/mat_view.h"

namespace msa::train_kernels {

// Views that the caller keeps alive. prefix and chunks may have no rows.
struct AttentionInputs {
  ConstAnyMat q;                   // [T, H*D]
  ConstAnyMat k, v;                // [T, G*D]
  ConstAnyMat prefix_k, prefix_v;  // [T0, G*D]
  ConstAnyMat chunk_k, chunk_v;    // [C, G*D]
  size_t query_heads = 0, kv_heads = 0, head_dim = 0;

  std::span<const int32_t> starts;        // S+1 ascending, rows of q, k, v
  std::span<const uint8_t> sees_prefix;   // S
  std::span<const int32_t> chunk_starts;  // S+1 ascending, into chunks
  std::span<const int32_t> chunks;        // rows of chunk_k and chunk_v

  size_t segments() const { return sees_prefix.size(); }
  // Rows before a segment's own tokens, and its tokens.
  size_t context(size_t s) const {
    return (sees_prefix[s] ? prefix_k.rows : 0) +
           static_cast<size_t>(chunk_starts[s + 1] - chunk_starts[s]);
  }
  size_t tokens(size_t s) const { return static_cast<size_t>(starts[s + 1] - starts[s]); }
};

// out [T, H*D], of the inputs' type; log_sums [T, H]: the logarithm of each softmax' denominator,
// for the backward pass. Rows of no segment become zero. The result does not depend on `threads`.
// Throws std::bad_alloc.
void segment_attention(int threads, const AttentionInputs& inputs, AnyMat out,
                       MatView<float> log_sums);

// Gradients to fill, of the inputs' shapes and type; those whose data is null are not wanted.
struct AttentionGradients {
  AnyMat q, k, v, prefix_k, prefix_v, chunk_k, chunk_v;
};

// grad_out [T, H*D] is the gradient of `out`, log_sums what the forward pass left. Rows of no
// segment, and those that no segment sees, get zero. The result does not depend on `threads`: what
// segments share is summed in the order of the segments. Throws std::bad_alloc.
void segment_attention_backward(int threads, const AttentionInputs& inputs, ConstAnyMat grad_out,
                                MatView<const float> log_sums, const AttentionGradients& gradients);

}  // namespace msa::train_kernels
