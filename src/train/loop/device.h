// The device a user named.
#pragma once

#include <torch/torch.h>

#include <string>

#include "msa/result.h"

namespace msa::train {

// "cpu", "cuda" or "cuda:1"; an error if there is no such device here.
Result<torch::Device> parse_device(const std::string& name);

// The number of threads that libtorch and our own loops use from here on; 0: one per core.
void set_threads(int threads);

}  // namespace msa::train
