// The catalogue's tables: making them, recognising them, bringing an older version's up to date.
// Private to memory/.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "memory/catalogue.h"
#include "memory/sqlite.h"
#include "msa/result.h"

namespace msa {

inline constexpr std::string_view kManifestKey = "manifest";
inline constexpr std::string_view kNextNumberKey = "next_number";
inline constexpr std::string_view kNextSegmentKey = "next_segment";
// The highest id of a segment: counting on cannot wrap.
inline constexpr int64_t kMaxSegment = INT64_MAX - UINT32_MAX;
inline constexpr std::string_view kDigestKey = "digest";  // from version 3 on

struct CatalogueDatabase {
  sqlite::Database database;
  int64_t version = 0;  // of its tables; at least kCatalogueVersion if it may be written
};

// See Catalogue::create(), which opens what this makes.
Result<void> create_catalogue_database(const std::filesystem::path& file, std::string_view manifest,
                                       int64_t version);
// Checks application id, version and schema. For writing, an older version is brought up to date in
// one transaction first; for reading it stays as it is.
Result<CatalogueDatabase> open_catalogue_database(const std::filesystem::path& file,
                                                  Catalogue::Access access);

}  // namespace msa
