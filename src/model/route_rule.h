// How a model's configuration asks for scores to be reduced.
#pragma once

#include "checkpoint/config.h"
#include "kernels/route.h"

namespace msa {

RouteRule route_rule(const ModelConfig& config, bool cosine);

}  // namespace msa
