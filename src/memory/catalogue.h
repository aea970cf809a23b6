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

#include "msa/result.h"

namespace msa {

struct SegmentRecord {
  int64_t id = 0;
  std::string file;  // a plain file name inside segments/
  uint64_t chunks = 0, bytes = 0, checksum = 0;
};

struct DocumentRecord {
  uint32_t number = 0;
  std::string id, title, source, text;
  uint64_t char_begin = 0, char_end = 0;
  uint64_t hash = 0;    // of title and text
  uint64_t tokens = 0;  // including the wrapping
  int64_t segment = 0;
  uint32_t first_chunk = 0, chunks = 0;  // rows in the segment
};

struct CatalogueTotals {
  uint64_t documents = 0, chunks = 0, tokens = 0, segments = 0, text_bytes = 0;
};

// One connection; one caller at a time. Readers and one writer may have the file open at once
// (WAL).
class Catalogue {
 public:
  enum class Access { read, write };
  // `create` makes the file and its tables, and stores `manifest` (JSON) as the bank's identity.
  static Result<Catalogue> create(const std::filesystem::path& file, std::string_view manifest);
  // Checks application id, schema version and integrity of what it reads.
  static Result<Catalogue> open(const std::filesystem::path& file, Access access);

  Catalogue(Catalogue&&) noexcept;
  Catalogue& operator=(Catalogue&&) noexcept;
  ~Catalogue();

  Result<std::string> manifest() const;
  Result<uint32_t> next_number() const;  // never reused, also after removals
  // One transaction: the segment, its documents, and the next number. Either all is there after a
  // crash or nothing.
  Result<void> commit_segment(const SegmentRecord& segment,
                              const std::vector<DocumentRecord>& documents, uint32_t next_number);

  Result<std::vector<SegmentRecord>> segments() const;
  Result<CatalogueTotals> totals() const;
  // Calls `visit` for every document in ascending number from `first`, with or without its text,
  // until it returns false.
  Result<void> each_document(uint32_t first, bool with_text,
                             const std::function<bool(const DocumentRecord&)>& visit) const;
  Result<std::optional<DocumentRecord>> find(uint32_t number) const;
  Result<std::optional<DocumentRecord>> find_id(std::string_view id) const;  // without its text
  // SQLite's own integrity check; a line per problem.
  Result<std::vector<std::string>> check() const;

 private:
  struct Impl;
  explicit Catalogue(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace msa
