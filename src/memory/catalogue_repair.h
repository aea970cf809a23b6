// What a repair reads from a catalogue whose rows cannot be relied on, and how it puts them right.
// Private to memory/.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "memory/catalogue.h"
#include "memory/sqlite.h"
#include "msa/result.h"

namespace msa {

// One connection of its own; whoever writes holds the bank's lock. Values are as they stand,
// checked by the caller.
class CatalogueRepair {
 public:
  static Result<CatalogueRepair> open(const std::filesystem::path& file, Catalogue::Access access);

  // SQLite's own integrity check; a line per problem.
  Result<std::vector<std::string>> structure_problems() const;
  // Makes all indexes anew from the tables.
  Result<void> rebuild_indexes() const;

  // Ids and file names of all segment records.
  Result<std::vector<std::pair<int64_t, std::string>>> segments() const;
  // Which rows a document says are its own; in order of segment and row.
  struct Place {
    int64_t number = 0, segment = 0, first_chunk = 0, chunks = 0;
  };
  Result<std::vector<Place>> places() const;

  struct Text {
    std::string id, title, text;
    bool intact = false;  // title and text are those that were encoded
  };
  Result<Text> text(int64_t number) const;

  // Aliases of documents that are not there, and those whose ids are documents' own.
  Result<uint64_t> stray_aliases() const;
  // What next_number and next_segment must at least be.
  Result<std::pair<int64_t, int64_t>> least_next() const;

  // Where a document lies from now on, and what was encoded of it.
  struct Encoded {
    uint32_t number = 0;
    uint32_t first_chunk = 0, chunks = 0;
    uint64_t tokens = 0;
  };
  // One transaction: documents move to `segment`, if there is one; those of `dropped` go with all
  // their names; the segments `old`, which have no documents then, become retired. The digest
  // changes by what these rows count: if it was wrong, it stays so until tidy().
  Result<void> replace(const std::optional<SegmentRecord>& segment,
                       const std::vector<Encoded>& encoded, const std::vector<int64_t>& dropped,
                       const std::vector<int64_t>& old) const;
  // One transaction: stray aliases go, and retired files with foreign names; the next numbers
  // become right, and the digest as well.
  Result<void> tidy() const;

 private:
  explicit CatalogueRepair(sqlite::Database database) : database_(std::move(database)) {}
  sqlite::Database database_;
};

}  // namespace msa
