// A bank as one file: written as of one moment, unpacked only if it is sound (docs/memory-bank.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <stop_token>
#include <string_view>

#include "msa/result.h"

namespace msa {

struct ArchiveReport {
  uint64_t documents = 0, segments = 0;
  uint64_t bytes = 0;          // of the files in it
  uint64_t archive_bytes = 0;  // of the archive
};

// `doing` is "packing", "unpacking" or "verifying".
using ArchiveProgress =
    std::function<void(std::string_view doing, uint64_t done_bytes, uint64_t all_bytes)>;

// Writes the bank in `folder`, as of one moment, to `file`, which is not there yet and ends in
// .tar.zst or .tar. Others may go on writing to the bank. The file appears when it is whole; after
// an error or a stop request (`cancelled`) nothing is left. Damaged segments are a `corrupt` error.
Result<ArchiveReport> export_bank(const std::filesystem::path& folder,
                                  const std::filesystem::path& file,
                                  const ArchiveProgress& progress, std::stop_token stop);

// Makes the bank `folder`, which is not there yet, of such a file. It appears when all of it is
// unpacked and verified; after an error or a stop request (`cancelled`) nothing is left. An archive
// that holds anything but one bank, or would unpack to more than its catalogue says, is `corrupt`.
Result<ArchiveReport> import_bank(const std::filesystem::path& file,
                                  const std::filesystem::path& folder,
                                  const ArchiveProgress& progress, std::stop_token stop);

}  // namespace msa
