// Approximate routing against exact, on keys made for it.
#pragma once

#include <functional>
#include <stop_token>

#include "kernels/backend.h"
#include "msa/msa.h"

namespace msa {

// Indexes options.index_chunks keys of MSA-4B's shape, one layer, in each way there is, in a
// temporary folder, and gives each figure to `add`.
Result<void> bench_index(Backend& backend, const BenchOptions& options, std::stop_token stop,
                         const std::function<void(BenchFigure)>& add);

}  // namespace msa
