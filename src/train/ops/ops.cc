#include "train/ops/ops.h"

#include "train/ops/composed.h"
#include "train/ops/fused.h"

namespace msa::train {

using torch::Tensor;

namespace {

bool use_fused(const Tensor& activations, OpsMode mode) {
  return mode != OpsMode::composed && fused::supports(activations);
}

}  // namespace

NormOutput add_rms_norm(const Tensor& hidden, const Tensor& delta, const Tensor& weight, double eps,
                        torch::Dtype out, OpsMode) {
  return composed::add_rms_norm(hidden, delta, weight, eps, out);
}

Tensor head_norm_rotary(const Tensor& x, const Tensor& weight, double eps, const Tensor& positions,
                        double theta, OpsMode) {
  return composed::head_norm_rotary(x, weight, eps, positions, theta);
}

Tensor swiglu(const Tensor& gate_up, OpsMode) {
  return composed::swiglu(gate_up);
}

Tensor pool_rows(const Tensor& x, const std::vector<int32_t>& runs, OpsMode) {
  return composed::pool_rows(x, runs);
}

Tensor segment_attention(const Tensor& q, const Tensor& k, const Tensor& v, const SegmentKv& extra,
                         const SegmentLayout& layout, OpsMode mode) {
  if (use_fused(q, mode)) return fused::segment_attention(q, k, v, extra, layout);
  return composed::segment_attention(q, k, v, extra, layout);
}

}  // namespace msa::train
