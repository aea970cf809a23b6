// Approximate routing as the engine uses it: a bank's index, if there is one to rely on.
#pragma once

#include <memory>

#include "approximate/bank_index.h"
#include "engine/model_handle.h"
#include "memory/bank.h"

namespace msa {

// An `unsupported` error if this build has no FAISS, or if what the model compares is not the inner
// product that an index searches for.
Result<void> check_approximate_routing(const Model::Impl& model, bool cosine);

// The index of the bank; nothing, and one warning in the model's log, if it is missing, damaged or
// knows nothing of `snapshot`.
std::shared_ptr<BankIndex> open_index(const Model::Impl& model, const BankReader& reader,
                                      const Snapshot& snapshot);

}  // namespace msa
