// Sizes and rates as people write them: 100M tokens, 64GiB, 900GB/s.
#pragma once

#include <cstdint>
#include <string_view>

#include "msa/result.h"

namespace msa::plan {

// All of these take digits, perhaps a decimal point with up to six more, and perhaps a unit, in
// either case. `what` is the option that was given, for the error, which quotes the text. Zero,
// a sign, a space, an unknown unit, and a value of 2^64 or more are errors.

// A number of things: K, M, G (or B) and T are powers of 1000. "1.5K" is 1500, "1.5" an error.
Result<uint64_t> parse_count(std::string_view text, std::string_view what);

// A size of memory: K, M, G and T, also written KiB, MiB, GiB and TiB, are powers of 1024, as
// memory is sold; KB, MB, GB and TB are powers of 1000, as disks are. Parts of a byte are dropped.
Result<uint64_t> parse_bytes(std::string_view text, std::string_view what);

// Bytes per second: as parse_bytes(), but K, M, G and T are powers of 1000, as data sheets have
// them, and "/s" may follow.
Result<double> parse_bandwidth(std::string_view text, std::string_view what);

// Anything per second: as parse_count(), but need not be whole.
Result<double> parse_rate(std::string_view text, std::string_view what);

}  // namespace msa::plan
