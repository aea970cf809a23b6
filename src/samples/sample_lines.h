// The lines of a file of samples, as they stand there.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string_view>

#include "msa/result.h"

namespace msa {

// Calls `visit` with every line that is not blank and its number, from 1; blank lines count. The
// text is without the line break, and on the first line without a byte-order mark; it is valid
// until the visit returns. An error of the visit ends the reading and is returned. What is not a
// regular file is an `invalid_argument` error, a compressed one and a line of more than 64 MiB are
// `unsupported` errors.
Result<void> for_each_sample_line(
    const std::filesystem::path& file,
    const std::function<Result<void>(std::string_view text, uint32_t number)>& visit);

}  // namespace msa
