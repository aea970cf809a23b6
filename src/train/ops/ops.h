// The operations that training needs beyond plain matrix products, each differentiable.
//
// Every one exists twice: fused kernels (src/train_kernels) for CPU tensors, and a composition of
// libtorch operations for any device, which is also the oracle of the fused one. The fused one is
// used for CPU tensors unless a caller asks otherwise (OpsMode).
//
// T tokens, d hidden size, H query heads, G key/value heads, D head size, F feed-forward size.
// "Compute type": bfloat16 or float32, the type of the activations.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

namespace msa::train {

enum class OpsMode { automatic, composed };

// hidden [T, d] float32, delta [T, d] compute type (undefined: zero), weight [d] float32.
// Returns hidden + delta (float32) and its RMS norm times weight, in compute type `out`.
struct NormOutput {
  torch::Tensor hidden, normed;
};
NormOutput add_rms_norm(const torch::Tensor& hidden, const torch::Tensor& delta,
                        const torch::Tensor& weight, double eps, torch::Dtype out,
                        OpsMode mode = OpsMode::automatic);

// x [T, heads, D] compute type (rows may be strided: a slice of a wider matrix), weight [D]
// float32, positions [T] int32. RMS norm per head, then the half-split rotary embedding of base
// `theta`.
torch::Tensor head_norm_rotary(const torch::Tensor& x, const torch::Tensor& weight, double eps,
                               const torch::Tensor& positions, double theta,
                               OpsMode mode = OpsMode::automatic);

// gate_up [T, 2F], gate first: silu(gate) * up, [T, F].
torch::Tensor swiglu(const torch::Tensor& gate_up, OpsMode mode = OpsMode::automatic);

// Means over runs of rows: x [T, heads, D] compute type, runs [C+1] ascending row numbers ->
// [C, heads, D] float32. Sums in float32.
torch::Tensor pool_rows(const torch::Tensor& x, const std::vector<int32_t>& runs,
                        OpsMode mode = OpsMode::automatic);

// Segments of tokens that attend causally within themselves and, before that, to what a segment is
// given: the template prefix (all of it) and pooled chunks.
struct SegmentLayout {
  std::vector<int32_t> starts;        // S+1, rows of q, k, v
  std::vector<uint8_t> sees_prefix;   // S
  std::vector<int32_t> chunk_starts;  // S+1, into chunks
  std::vector<int32_t> chunks;        // rows of chunk_k and chunk_v, no repeats within a segment
};
// q [T, H, D], k and v [T, G, D] (rows may be strided), prefix_k/v [T0, G, D], chunk_k/v [C, G, D]
// (undefined where no segment uses them), all compute type -> [T, H, D], compute type. Softmax in
// float32, scale 1/sqrt(D). Gradients flow to all seven.
struct SegmentKv {
  torch::Tensor prefix_k, prefix_v, chunk_k, chunk_v;
};
torch::Tensor segment_attention(const torch::Tensor& q, const torch::Tensor& k,
                                const torch::Tensor& v, const SegmentKv& extra,
                                const SegmentLayout& layout, OpsMode mode = OpsMode::automatic);

}  // namespace msa::train
