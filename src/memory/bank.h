// The memory bank: a folder with a catalogue and segments (docs/memory-bank.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/mat_view.h"
#include "memory/catalogue.h"
#include "memory/segment.h"
#include "memory/snapshot.h"
#include "model/encoder.h"
#include "msa/result.h"

namespace msa {

// What a bank is bound to. Stored in the catalogue as JSON.
struct BankManifest {
  std::vector<int> router_layers;
  size_t kv_heads = 0, head_dim = 0, chunk_size = 0;
  DType dtype = DType::bf16;  // of keys and content
  bool cosine = true;         // keys are L2-normalised per head
  uint64_t model_fingerprint = 0, tokenizer_fingerprint = 0;

  SegmentShape segment_shape() const { return {router_layers, kv_heads * head_dim, dtype}; }
};
std::string to_json(const BankManifest& manifest);
Result<BankManifest> parse_manifest(std::string_view text, const std::filesystem::path& bank);
// A `mismatch` error that says in what the bank's manifest differs from `wanted`, if it does.
Result<void> check_manifest(const BankManifest& bank, const BankManifest& wanted,
                            const std::filesystem::path& folder);

// A document on its way into the bank.
struct NewDocument {
  std::string id, title, source, text;
  uint64_t char_begin = 0, char_end = 0;
  uint64_t tokens = 0;
};

// Readers: any number, also while a writer commits; each snapshot() is what was committed then. One
// caller at a time per object.
class BankReader {
 public:
  static Result<std::shared_ptr<BankReader>> open(const std::filesystem::path& folder);
  virtual ~BankReader() = default;

  virtual const std::filesystem::path& folder() const = 0;
  virtual const BankManifest& manifest() const = 0;
  virtual Result<std::shared_ptr<const Snapshot>> snapshot() = 0;
  virtual Catalogue& catalogue() = 0;
  virtual Result<uint64_t> disk_bytes() const = 0;

  struct Report {
    uint64_t segments = 0, documents = 0, bytes = 0;
    std::vector<std::string> problems;
  };
  // Reads everything: every segment's checksums, catalogue integrity, spans within segments, files
  // that no record names.
  virtual Result<Report> verify(const std::function<void(uint64_t, uint64_t)>& progress) = 0;
};

// The one writer (an exclusive lock on the folder, across processes; a second is told `busy`).
// Holds encoded documents until commit() writes them as one segment.
class BankWriter {
 public:
  // Makes the folder if there is none. An existing bank's manifest must equal `manifest`: a
  // `mismatch` error says in what it differs.
  static Result<std::unique_ptr<BankWriter>> open_or_create(const std::filesystem::path& folder,
                                                            const BankManifest& manifest);
  virtual ~BankWriter() = default;

  enum class Presence { absent, same, different };
  // Whether a document with this id is there (committed or pending), with this title and text or
  // others.
  virtual Result<Presence> presence(std::string_view id, std::string_view title,
                                    std::string_view text) = 0;
  // The number the next document gets. It is part of the text that is encoded.
  virtual uint32_t next_number() const = 0;
  // Takes a batch: documents[i] has batch.chunks[i] chunks, numbers follow from next_number().
  // All or nothing: an id that is there already, or none, is an invalid_argument error.
  virtual Result<void> add(std::vector<NewDocument> documents, EncodedBatch batch) = 0;
  virtual uint64_t pending_bytes() const = 0;
  // Segment file, fsync, then one catalogue transaction. Nothing pending: does nothing. On an error
  // (disk full, say) the bank is as it was before the call and what was pending is kept.
  virtual Result<void> commit() = 0;
};

}  // namespace msa
