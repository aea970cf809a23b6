// One number over all rows of a catalogue, kept up to date with every change, so that a row that
// something else changed is noticed. Private to memory/.
//
// The digest is the sum, modulo 2^64, of a digest of each row of documents, aliases and segments,
// and of each value of meta but the digest itself: adding or removing a row costs its own digest
// only. Title and text count by the document's hash.
#pragma once

#include <cstdint>
#include <string_view>

#include "memory/catalogue.h"
#include "memory/sqlite.h"
#include "msa/result.h"

namespace msa {

// Of the document if it lay at this place.
uint64_t digest_of(const DocumentRecord& document, int64_t segment, uint32_t first_chunk);
uint64_t digest_of(const AliasRecord& alias);
uint64_t digest_of(const SegmentRecord& segment);
uint64_t digest_of(std::string_view key, uint64_t value);
uint64_t digest_of(std::string_view key, std::string_view value);

// The digest of all rows there are, computed anew.
struct RowsDigest {
  uint64_t sum = 0;
  bool complete = true;  // false: rows that cannot be read are left out
};
Result<RowsDigest> digest_of_rows(const sqlite::Database& database);
// Computes it and stores it in meta. Within a write transaction of the caller's.
Result<void> renew_digest(const sqlite::Database& database);

}  // namespace msa
