// A bank's documents as text, to be encoded again with another model.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <stop_token>

#include "msa/result.h"

namespace msa {

struct TextReport {
  uint64_t documents = 0, records = 0;  // a record for each id of a document
  uint64_t bytes = 0;                   // of the file
};

// Writes {"id","title","text","source"} for each id, as of one moment and in the order of the
// documents' numbers, to `file`, which is not there yet and ends in .jsonl. The file appears when
// it is whole; after an error or a stop request (`cancelled`) nothing is left. `progress(done
// documents, all documents)`.
Result<TextReport> export_texts(const std::filesystem::path& folder,
                                const std::filesystem::path& file,
                                const std::function<void(uint64_t, uint64_t)>& progress,
                                std::stop_token stop);

}  // namespace msa
