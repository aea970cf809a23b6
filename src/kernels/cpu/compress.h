// Serial kernels between keys in full and compressed ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/compressed_keys.h"
#include "kernels/cpu/parallel.h"

namespace msa::cpu {

// Compresses the rows in `range`; what pads the last panel is not written. error_norms and
// integer_norms [G] grow to what these rows need; they are the caller's, to.error_norms and
// to.integer_norms are left alone.
void compress_rows(ConstAnyMat keys, const MutableCompressedKeys& to, Range range,
                   std::span<float> error_norms, std::span<float> integer_norms);

}  // namespace msa::cpu
