#include "train/ops/ops.h"

#include "train/ops/composed.h"
#include "train/ops/fused.h"

namespace msa::train {
namespace {

using torch::Tensor;

// Fused kernels work on float32 and bfloat16 in main memory; composed operations on anything.
bool use_fused(OpsMode mode, const Tensor& input, torch::Dtype activations) {
  return mode != OpsMode::composed && input.device().is_cpu() &&
         (activations == torch::kFloat32 || activations == torch::kBFloat16);
}

bool use_fused(OpsMode mode, const Tensor& activations) {
  return use_fused(mode, activations, activations.scalar_type());
}

}  // namespace

NormOutput add_rms_norm(const Tensor& hidden, const Tensor& delta, const Tensor& weight, double eps,
                        torch::Dtype out, OpsMode mode) {
  if (hidden.scalar_type() == torch::kFloat32 && use_fused(mode, hidden, out))
    return fused::add_rms_norm(hidden, delta, weight, eps, out);
  return composed::add_rms_norm(hidden, delta, weight, eps, out);
}

Tensor head_norm_rotary(const Tensor& x, const Tensor& weight, double eps, const Tensor& positions,
                        double theta, OpsMode mode) {
  if (use_fused(mode, x)) return fused::head_norm_rotary(x, weight, eps, positions, theta);
  return composed::head_norm_rotary(x, weight, eps, positions, theta);
}

Tensor swiglu(const Tensor& gate_up, OpsMode mode) {
  if (use_fused(mode, gate_up)) return fused::swiglu(gate_up);
  return composed::swiglu(gate_up);
}

Tensor pool_rows(const Tensor& x, const std::vector<int32_t>& runs, OpsMode mode) {
  if (use_fused(mode, x)) return fused::pool_rows(x, runs);
  return composed::pool_rows(x, runs);
}

Tensor segment_attention(const Tensor& q, const Tensor& k, const Tensor& v, const SegmentKv& extra,
                         const SegmentLayout& layout, OpsMode mode) {
  if (use_fused(mode, q)) return fused::segment_attention(q, k, v, extra, layout);
  return composed::segment_attention(q, k, v, extra, layout);
}

}  // namespace msa::train
