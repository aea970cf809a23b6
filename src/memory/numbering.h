// Numbers for a bank that is a part of a larger one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "memory/bank.h"
#include "msa/result.h"

namespace msa {

// New documents get the numbers first, first + step, first + 2·step, …, from the lowest on that is
// above all that the bank has given out. Numbers passed over stay free, which the bank remembers.
struct Numbering {
  uint32_t first = 0;
  uint32_t step = 1;  // at least 1
};

// BankWriter::open_or_create() for a writer that numbers so. Its next_number() is the first of
// them, and a document's number lies `step` above that of the one before.
Result<std::unique_ptr<BankWriter>> open_or_create_numbered(const std::filesystem::path& folder,
                                                            const BankManifest& manifest,
                                                            Numbering numbering);

}  // namespace msa
