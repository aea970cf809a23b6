// What benchmarks say about where they ran.
#pragma once

#include <cstdint>
#include <string>

namespace msa {

// Processor, cores this process may use, matrix instructions and memory, in one line.
std::string describe_machine();

// The largest resident memory this process has had, in bytes.
uint64_t peak_resident_bytes();

}  // namespace msa
