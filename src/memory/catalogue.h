// The bank's catalogue: documents, segments and identity, in SQLite (docs/memory-bank.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/route.h"
#include "msa/result.h"

namespace msa {

// "MSAB", SQLite's application id of a catalogue, and the version of its tables.
inline constexpr int64_t kCatalogueApplicationId = 0x4D534142;
inline constexpr int64_t kCatalogueVersion = 1;

struct SegmentRecord {
  int64_t id = 0;    // at least 1, never reused
  std::string file;  // a plain file name inside segments/
  uint64_t chunks = 0, bytes = 0, checksum = 0;
};

struct DocumentRecord {
  uint32_t number = 0;
  std::string id, title, source, text;
  uint64_t char_begin = 0, char_end = 0;
  uint64_t hash = 0;    // document_hash() of title and text
  uint64_t tokens = 0;  // including the wrapping
  int64_t segment = 0;
  uint32_t first_chunk = 0, chunks = 0;  // rows in the segment
};

struct CatalogueTotals {
  uint64_t documents = 0, chunks = 0, tokens = 0, segments = 0, text_bytes = 0;
};

// Which rows of which segment belong to which document, as of one moment.
struct CatalogueLayout {
  std::vector<SegmentRecord> segments;               // ascending id
  std::vector<std::vector<DocumentSpan>> documents;  // of each segment, ascending row and number
  uint64_t document_count = 0, chunk_count = 0;
};

// Identity of a document's content, over title and text with their lengths.
uint64_t document_hash(std::string_view title, std::string_view text);

// One connection; one caller at a time. Readers and one writer may have the file open at once
// (WAL). Everything that is read is checked: a value that cannot be is a `corrupt` error that names
// file, table and row.
class Catalogue {
 public:
  enum class Access { read, write };
  // Where given, a bad row is reported here and passed over, instead of ending the call.
  using BadRow = std::function<void(const Error&)>;

  // `create` makes the file and its tables, and stores `manifest` (JSON) as the bank's identity.
  // The file appears under its name only when it is complete. Must not exist yet; the caller makes
  // sure that nobody else is creating it.
  static Result<Catalogue> create(const std::filesystem::path& file, std::string_view manifest);
  // Checks application id, schema version and integrity of what it reads. A reader can open a
  // catalogue in a folder it may not write to.
  static Result<Catalogue> open(const std::filesystem::path& file, Access access);

  Catalogue(Catalogue&&) noexcept;
  Catalogue& operator=(Catalogue&&) noexcept;
  ~Catalogue();

  Result<std::string> manifest() const;
  Result<uint32_t> next_number() const;  // never reused, also after removals
  Result<int64_t> next_segment() const;  // likewise
  // Another value than before means that another connection has committed since.
  Result<int64_t> data_version() const;

  // One transaction: the segment, its documents, and the next number. Either all is there after a
  // crash or nothing. An id that is there already is an invalid_argument error.
  Result<void> commit_segment(const SegmentRecord& segment,
                              const std::vector<DocumentRecord>& documents, uint32_t next_number);

  Result<std::vector<SegmentRecord>> segments(const BadRow& bad_row = {}) const;
  Result<CatalogueLayout> layout(const BadRow& bad_row = {}) const;
  Result<CatalogueTotals> totals() const;
  // Calls `visit` for every document in ascending number from `first`, with or without its text,
  // until it returns false.
  Result<void> each_document(uint32_t first, bool with_text,
                             const std::function<bool(const DocumentRecord&)>& visit,
                             const BadRow& bad_row = {}) const;
  Result<std::optional<DocumentRecord>> find(uint32_t number) const;
  Result<std::optional<DocumentRecord>> find_id(std::string_view id) const;  // without its text
  // SQLite's own integrity check and that of references between tables; a line per problem.
  Result<std::vector<std::string>> check() const;

  // While it lives, everything read through this connection is as of one moment.
  class ReadScope;
  Result<std::unique_ptr<ReadScope>> begin_read() const;

 private:
  struct Impl;
  explicit Catalogue(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

class Catalogue::ReadScope {
 public:
  virtual ~ReadScope() = default;
};

}  // namespace msa
