// Takes the documents of other banks over, with their vectors as they were encoded.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "msa/result.h"

namespace msa {

struct AttachmentOptions {
  // An id that is there with another text: false, an error; true, the text of the other bank takes
  // its place, with all its passages.
  bool replace = false;
  // Segment files get a second name here instead of being copied, where they lie on one file
  // system, and the other banks are removed in the end. What an interrupted removal left of one is
  // removed as well.
  bool move = false;
};

struct AttachmentReport {
  uint64_t documents = 0;      // taken over
  uint64_t aliases = 0;        // ids of texts that are there under another id
  uint64_t already_there = 0;  // ids that are there with the same text
  uint64_t replaced = 0;       // ids that made room for new texts
  uint64_t segments = 0, chunks = 0, tokens = 0;
  uint64_t copied_bytes = 0, linked_bytes = 0;  // of segment files
  std::vector<std::string> left;                // what could not be removed of the other banks
};

// Takes the documents of `others`, in this order, into the bank in `folder`, which is made if it is
// not there. Everything happens in one commit, or nothing does: on a stop request, too
// (`cancelled`). A bank that was made for it is removed again then.
//
// A document keeps its number, which is part of what was encoded, so the bank must not have given
// it out before: an `invalid_argument` error names the first that it has. The other banks must have
// the same manifest (`mismatch`), and can be read meanwhile; they are written to by none with
// `move`. Nothing is copied that does not equal its checksum (`corrupt`).
// `progress(done bytes, all bytes)`.
Result<AttachmentReport> attach_banks(const std::filesystem::path& folder,
                                      const std::vector<std::filesystem::path>& others,
                                      const AttachmentOptions& options,
                                      const std::function<void(uint64_t, uint64_t)>& progress,
                                      std::stop_token stop);

}  // namespace msa
