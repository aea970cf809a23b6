// How the pooled keys and values of encoded documents become what a bank's segments hold. Private
// to memory/.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>

#include "memory/segment.h"
#include "model/encoder.h"
#include "msa/result.h"

namespace msa {

// Rounds a batch's content to int8, layer by layer, in its place, if `shape` has int8_heads; else
// does nothing. Afterwards piece_of() alone knows what the content is. A value that int8 cannot
// stand for, not being finite, is an `invalid_argument` error; name(i) says in it which document
// the i-th of the batch is.
Result<void> round_content(const SegmentShape& shape, EncodedBatch& batch,
                           const std::filesystem::path& bank,
                           const std::function<std::string(size_t)>& name);

// The rows of one layer of such a batch, which has to outlive them.
SegmentPiece piece_of(const SegmentShape& shape, const EncodedBatch& batch, size_t layer);

}  // namespace msa
