// Tells the system which parts of mapped files will be read soon.
#pragma once

#include <cstddef>
#include <span>

namespace msa {

// Starts reading the pages of `bytes` that are not in memory, and does not wait for them. Only
// advice: of bytes that are no mapped file nothing happens, and a failure changes nothing.
void fetch_ahead(std::span<const std::byte> bytes);

}  // namespace msa
