// How much a memory holds.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "msa/result.h"

namespace msa::eval {

struct MemorySize {
  enum class Unit {
    own,        // what the questions bring (or the task's whole collection), nothing more
    tokens,     // so many tokens of documents, as the model reads them
    documents,  // so many documents
  } unit = Unit::own;
  uint64_t amount = 0;  // 0 for `own`

  bool operator==(const MemorySize&) const = default;
};

// "own", "16K" (16,384 tokens), "1M" (1,048,576), "10M", "50000", "2048docs", several separated by
// commas. Sizes are at least 1 and at most 2^40; the error names the part that is wrong.
Result<std::vector<MemorySize>> parse_memory_sizes(std::string_view text);
// The shortest text that parses to `size`.
std::string to_string(const MemorySize& size);

}  // namespace msa::eval
