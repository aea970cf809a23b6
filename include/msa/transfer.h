// Banks that come from elsewhere and go elsewhere: parts encoded on several machines, one bank as a
// file, its documents as text. Part of msa/msa.h.
//
//   // on machine i of 4
//   msa::encode_shard(*model, *part, **source, {.index = i, .count = 4});
//   // then, on one of them
//   msa::attach("memory", {"part-0", "part-1", "part-2", "part-3"});
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "msa/msa.h"

namespace msa {

// A part of a source's documents, and the numbers that they get.
struct Shard {
  // Documents index, index + count, … of the source, counted from 0; index is below count.
  uint32_t index = 0, count = 1;
  // They are numbered first_number + index, and on by count, so that no two shards of one source
  // have a number in common. In a bank that has given out such numbers the next of them follows.
  uint32_t first_number = 0;
};

// As encode(), for a part of the source. Every shard must be given the same source.
MSA_API Result<EncodeReport> encode_shard(const Model& model, Bank& bank, DocumentSource& source,
                                          const Shard& shard, const EncodeOptions& options = {},
                                          std::function<void(const EncodeProgress&)> progress = {},
                                          std::stop_token stop = {});

// How far a transfer is, in bytes of files; documents for export_texts(). `doing` says what is done
// at present: "attaching", "packing", "unpacking", "verifying" or "writing".
using TransferProgress = std::function<void(std::string_view doing, uint64_t done, uint64_t all)>;

struct AttachOptions {
  // An id that is there with another text: false, an error that names the first of them; true, the
  // other bank's text takes its place, with all its passages.
  bool replace = false;
  // Removes the other banks in the end. Where they lie on the bank's file system, their segment
  // files are not copied.
  bool move = false;
};

struct AttachReport {
  uint64_t documents = 0;  // taken over, with chunks and tokens:
  uint64_t chunks = 0, tokens = 0;
  uint64_t duplicates = 0;     // ids whose text is there under another id: now it has these too
  uint64_t already_there = 0;  // ids that are there with the same text
  uint64_t replaced = 0;       // ids that made room for new texts
  uint64_t segments = 0;       // files that came
  uint64_t copied_bytes = 0, moved_bytes = 0;  // of them
  std::vector<std::string> left;  // with `move`: why something of the other banks is still there
};

// Takes the documents of other banks into the one in `folder`, without encoding them: all of them
// in one commit, or on an error or a stop request (`cancelled`) none. The bank is made if it is not
// there. The banks must be of the same model, tokenizer and options (`mismatch`). Documents keep
// their numbers, which are part of what was encoded: one that the bank has given out already is an
// `invalid_argument` error, which says how to number the documents instead.
MSA_API Result<AttachReport> attach(const std::filesystem::path& folder,
                                    const std::vector<std::filesystem::path>& others,
                                    const AttachOptions& options = {},
                                    const TransferProgress& progress = {},
                                    std::stop_token stop = {});

struct ExportReport {
  uint64_t documents = 0, segments = 0;
  uint64_t bytes = 0;       // of the bank's files
  uint64_t file_bytes = 0;  // of the archive
};
// Writes the bank in `folder` to `file` (.tar.zst or .tar), as of one moment; others may go on
// writing to it. `file` must not be there. It appears when it is whole; after an error or a stop
// request (`cancelled`) nothing is left.
MSA_API Result<ExportReport> export_bank_file(const std::filesystem::path& folder,
                                              const std::filesystem::path& file,
                                              const TransferProgress& progress = {},
                                              std::stop_token stop = {});
// Makes the bank `folder`, which must not be there, of such a file. Nothing in the file is trusted;
// the bank appears when all of it is unpacked and verified, and else not at all.
MSA_API Result<ExportReport> import_bank_file(const std::filesystem::path& file,
                                              const std::filesystem::path& folder,
                                              const TransferProgress& progress = {},
                                              std::stop_token stop = {});

struct ExportTextsReport {
  uint64_t documents = 0, records = 0;  // a record for each id of a document
  uint64_t file_bytes = 0;
};
// Writes the documents of the bank in `folder` to `file` (.jsonl), for open_documents(). `file`
// must not be there; it appears when it is whole.
MSA_API Result<ExportTextsReport> export_texts_file(const std::filesystem::path& folder,
                                                    const std::filesystem::path& file,
                                                    const TransferProgress& progress = {},
                                                    std::stop_token stop = {});

}  // namespace msa
