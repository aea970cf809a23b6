// The bank's catalogue: documents, segments and identity, in SQLite (docs/memory-bank.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "kernels/route.h"
#include "msa/result.h"

namespace msa {

// "MSAB", SQLite's application id of a catalogue, and the version of its tables.
inline constexpr int64_t kCatalogueApplicationId = 0x4D534142;
inline constexpr int64_t kCatalogueVersion = 3;
// Of a bank with segments that programs of version 3 cannot read (int8 content): the tables are the
// same, and such programs refuse it.
inline constexpr int64_t kInt8CatalogueVersion = 4;

struct SegmentRecord {
  int64_t id = 0;    // at least 1, never reused
  std::string file;  // a plain file name inside segments/
  uint64_t chunks = 0, bytes = 0, checksum = 0;
  bool operator==(const SegmentRecord&) const = default;
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

// A further name of a document that has the same title and text.
struct AliasRecord {
  std::string id;
  uint32_t number = 0;  // of the document
  std::string source;
  uint64_t char_begin = 0, char_end = 0;
};

// Takes a name away. The document goes with its last one; if it loses its own `id`, the oldest
// alias takes its place.
struct NameRemoval {
  std::string id;
};

// What a commit does, one after the other. Added documents lie in the commit's segment.
using CatalogueStep = std::variant<DocumentRecord, AliasRecord, NameRemoval>;

struct CatalogueTotals {
  uint64_t documents = 0, chunks = 0, tokens = 0, segments = 0, text_bytes = 0;
  uint64_t aliases = 0;         // names beyond the documents' own
  uint64_t segment_chunks = 0;  // rows in all segments, those of removed documents included
};

// Which rows of which segment belong to which document, as of one moment.
struct CatalogueLayout {
  std::vector<SegmentRecord> segments;               // ascending id
  std::vector<std::vector<DocumentSpan>> documents;  // of each segment, ascending row and number
  uint64_t document_count = 0, chunk_count = 0;
};

// A segment as a former layout had it, and how many documents lay in it.
struct KnownSegment {
  SegmentRecord record;
  uint64_t documents = 0;
};

// A layout as the changes since a former one.
struct LayoutChanges {
  std::vector<SegmentRecord> segments;  // all that there are, ascending id
  // Of each: its documents, ascending row and number; nothing where they are those known.
  std::vector<std::optional<std::vector<DocumentSpan>>> documents;
};

// Identity of a document's content, over title and text with their lengths.
uint64_t document_hash(std::string_view title, std::string_view text);

// Says that the id of the next segment is not above that of a recorded one.
Error low_next_segment(const std::filesystem::path& catalogue, int64_t next, int64_t recorded);

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
  // sure that nobody else is creating it. `version`: kCatalogueVersion or kInt8CatalogueVersion.
  static Result<Catalogue> create(const std::filesystem::path& file, std::string_view manifest,
                                  int64_t version = kCatalogueVersion);
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

  // One transaction: the segment, if there is one, all steps in their order, and the next number.
  // Either all is there after a crash or nothing. An id that is there already is an
  // invalid_argument error, one to be removed that is not there a not_found error.
  Result<void> commit(const std::optional<SegmentRecord>& segment,
                      const std::vector<CatalogueStep>& steps, uint32_t next_number);
  // The same, for a segment and its documents only.
  Result<void> commit_segment(const SegmentRecord& segment,
                              const std::vector<DocumentRecord>& documents, uint32_t next_number);
  // One transaction: all documents of the segments `old` move to the rows of `segment` that `moved`
  // says (ascending), and `old` become retired. Without a segment, none of them may have a
  // document.
  Result<void> replace_segments(const std::vector<int64_t>& old,
                                const std::optional<SegmentRecord>& segment,
                                const std::vector<DocumentSpan>& moved);
  // Segments of former compactions whose files may still be there; only id and file are set.
  Result<std::vector<SegmentRecord>> retired() const;
  Result<void> forget_retired();

  Result<std::vector<SegmentRecord>> segments(const BadRow& bad_row = {}) const;
  Result<CatalogueLayout> layout(const BadRow& bad_row = {}) const;
  // The same in the time that changes take: rows are read of segments that are not in `known`
  // (ascending id) or have other numbers of documents by now. That is enough, because a segment's
  // id is never reused, all its documents come with the commit that records it, and from then on
  // they can only leave it.
  Result<LayoutChanges> layout_since(std::span<const KnownSegment> known) const;
  Result<CatalogueTotals> totals() const;
  // Calls `visit` for every document in ascending number from `first`, with or without its text,
  // until it returns false.
  Result<void> each_document(uint32_t first, bool with_text,
                             const std::function<bool(const DocumentRecord&)>& visit,
                             const BadRow& bad_row = {}) const;
  Result<std::optional<DocumentRecord>> find(uint32_t number) const;
  // By its own id or an alias; without its text.
  Result<std::optional<DocumentRecord>> find_id(std::string_view id) const;
  // The documents with this title and text, ascending. For a catalogue opened for writing.
  Result<std::vector<uint32_t>> find_text(std::string_view title, std::string_view text) const;
  // A document's further names, oldest first.
  Result<std::vector<AliasRecord>> aliases(uint32_t number) const;
  // SQLite's own integrity check, that of references between tables, and the digest of all rows; a
  // line per problem. A stop request ends it soon, with an error.
  Result<std::vector<std::string>> check(const std::stop_token& stop = {}) const;

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
