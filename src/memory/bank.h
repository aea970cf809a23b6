// The memory bank: a folder with a catalogue and segments (docs/memory-bank.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
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

// How pooled keys and values are stored.
enum class ContentFormat {
  full,  // as routing keys are
  int8,  // 8 bits a value, and a scale for each head of each row (kernels/int8_rows.h)
};

// What a bank is bound to, and how its content is stored. Stored in the catalogue as JSON.
struct BankManifest {
  std::vector<int> router_layers;
  size_t kv_heads = 0, head_dim = 0, chunk_size = 0;
  DType dtype = DType::bf16;  // of keys, and of content in full
  ContentFormat content = ContentFormat::full;
  bool cosine = true;  // keys are L2-normalised per head
  uint64_t model_fingerprint = 0, tokenizer_fingerprint = 0;

  SegmentShape segment_shape() const {
    return {router_layers, kv_heads * head_dim, dtype,
            content == ContentFormat::int8 ? kv_heads : 0};
  }
};
std::string to_json(const BankManifest& manifest);
Result<BankManifest> parse_manifest(std::string_view text, const std::filesystem::path& bank);
// A `mismatch` error that says in what the bank's manifest differs from `wanted`, if it does. How
// content is stored is the bank's own affair: any model can read and add to either kind.
Result<void> check_manifest(const BankManifest& bank, const BankManifest& wanted,
                            const std::filesystem::path& folder);

// A document on its way into the bank.
struct NewDocument {
  std::string id, title, source, text;
  uint64_t char_begin = 0, char_end = 0;
  uint64_t tokens = 0;
};

// One moment of a bank: what a query sees, whatever is committed meanwhile. Holding one for long
// keeps the catalogue's log from being cut. One caller at a time; may outlive its reader.
class BankView {
 public:
  virtual ~BankView() = default;
  virtual const std::shared_ptr<const Snapshot>& snapshot() const = 0;
  virtual const Catalogue& catalogue() const = 0;
  // After reading from catalogue(): busy if that may be of another moment. So it may where the
  // reader cannot write the bank's folder and so keeps no log, and somebody else commits.
  virtual Result<void> check() const = 0;
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
  // Snapshot and catalogue as of the same moment.
  virtual Result<std::unique_ptr<BankView>> view() = 0;
  virtual Catalogue& catalogue() = 0;  // as of each call
  virtual Result<uint64_t> disk_bytes() const = 0;

  struct Report {
    uint64_t segments = 0, documents = 0, bytes = 0;
    std::vector<std::string> problems;
  };
  // Reads everything: every segment's checksums, catalogue integrity, spans within segments, files
  // that no record names. On a stop request it ends soon (`cancelled`).
  virtual Result<Report> verify(const std::function<void(uint64_t, uint64_t)>& progress,
                                const std::stop_token& stop = {}) = 0;
};

struct CompactionReport {
  uint64_t segments_before = 0, segments_after = 0;
  uint64_t removed_chunks = 0;                 // rows of removed documents, gone now
  uint64_t bytes_before = 0, bytes_after = 0;  // of all segment files
  bool stopped = false;                        // by the stop token; what was done is committed
};

// The one writer (an exclusive lock on the folder, across processes; a second is told `busy`).
// Collects changes until commit() makes all of them at once: encoded documents become one segment.
class BankWriter {
 public:
  // Makes the folder if there is none. An existing bank's manifest must equal `manifest`: a
  // `mismatch` error says in what it differs. But its content stays what it is: manifest.content is
  // for new banks.
  static Result<std::unique_ptr<BankWriter>> open_or_create(const std::filesystem::path& folder,
                                                            const BankManifest& manifest);
  // An existing bank, whatever model made it.
  static Result<std::unique_ptr<BankWriter>> open(const std::filesystem::path& folder);
  virtual ~BankWriter() = default;

  enum class Presence { absent, same, different };
  // Whether a document with this id is there (committed or pending), with this title and text or
  // others. One whose removal is pending is not.
  virtual Result<Presence> presence(std::string_view id, std::string_view title,
                                    std::string_view text) = 0;
  virtual Result<bool> contains(std::string_view id) = 0;
  // The lowest number of a document with this title and text, whatever its id; committed or
  // pending. One that goes with the next commit is not meant.
  virtual Result<std::optional<uint32_t>> find_text(std::string_view title,
                                                    std::string_view text) = 0;
  // The number the next document gets. It is part of the text that is encoded.
  virtual uint32_t next_number() const = 0;
  // Takes a batch: documents[i] has batch.chunks[i] chunks, numbers follow from next_number().
  // All or nothing: an id that is there already, or none, is an invalid_argument error; so is
  // content that is not finite, where it is to be int8.
  virtual Result<void> add(std::vector<NewDocument> documents, EncodedBatch batch) = 0;
  // Makes document.id a further name of document `number`, which find_text() found for its text.
  // An id that is there already, or none, is an invalid_argument error.
  virtual Result<void> add_alias(const NewDocument& document, uint32_t number) = 0;
  enum class Removed { nothing, name, document };
  // Takes the name `id` away, and says whether the document goes with it, as it does with its last
  // one, or nothing had this name. A name that is still pending is committed first.
  virtual Result<Removed> remove(std::string_view id) = 0;
  // All names of document `number`, for remove(); none if there is no such document. Committed
  // ones.
  virtual Result<std::vector<std::string>> names(uint32_t number) = 0;
  // What the next commit holds in memory: vectors, texts, names that come and go.
  virtual uint64_t pending_bytes() const = 0;
  // Segment file, fsync, then one catalogue transaction. Nothing pending: does nothing. On an error
  // (disk full, say) the bank is as it was before the call and what was pending is kept.
  virtual Result<void> commit() = 0;

  // Commits, then rewrites the segments that hold rows of removed documents, and merges small ones
  // to at most `segment_bytes`. Numbers stay. Each new segment is one commit, after which the files
  // it replaces are removed; readers that have them open are not disturbed. Nothing is copied that
  // does not equal its checksum: a damaged segment is a `corrupt` error.
  // `progress(done bytes, all bytes)`.
  virtual Result<CompactionReport> compact(uint64_t segment_bytes,
                                           const std::function<void(uint64_t, uint64_t)>& progress,
                                           std::stop_token stop) = 0;
};

// What was encoded under `id`: itself, and the passages of a long text, "id#1", "id#2", … up to the
// first that is not there.
Result<std::vector<std::string>> names_under(BankWriter& writer, std::string_view id);

}  // namespace msa
