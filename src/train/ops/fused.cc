#include "train/ops/fused.h"

namespace msa::train::fused {

bool supports(const torch::Tensor& activations) {
  return activations.device().is_cpu() && (activations.scalar_type() == torch::kFloat32 ||
                                           activations.scalar_type() == torch::kBFloat16);
}

}  // namespace msa::train::fused
