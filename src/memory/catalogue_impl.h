// A catalogue's connection and statements. Private to memory/'s catalogue*.cc.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "memory/catalogue.h"
#include "memory/catalogue_schema.h"
#include "memory/sqlite.h"

namespace msa {

inline constexpr uint64_t kMaxNumber = UINT32_MAX - 1;  // so that the one after it fits 32 bits too
inline constexpr uint64_t kMaxChunks = UINT32_MAX;      // of a segment
inline constexpr uint64_t kMaxSize = INT64_MAX;         // what SQLite's integers hold

inline constexpr std::string_view kHeadColumns =
    "number, id, title, source, char_begin, char_end, hash, tokens, segment, first_chunk, chunks, "
    "text_bytes";
inline constexpr std::string_view kSegmentColumns = "id, file, chunks, bytes, checksum";
inline constexpr std::string_view kAliasColumns = "alias, id, number, source, char_begin, char_end";

// New rows: statements, and running one with a record's values. They neither check the row nor add
// to the digest. A document's place is the record's, but for the segment.
std::string insert_document_sql();
inline constexpr std::string_view kInsertAliasSql =
    "INSERT INTO aliases(id, number, source, char_begin, char_end) VALUES(?1, ?2, ?3, ?4, ?5)";
inline constexpr std::string_view kInsertSegmentSql =
    "INSERT INTO segments(id, file, chunks, bytes, checksum) VALUES(?1, ?2, ?3, ?4, ?5)";
Result<void> insert_row(sqlite::Statement& statement, const DocumentRecord& document,
                        int64_t segment);
Result<void> insert_row(sqlite::Statement& statement, const AliasRecord& alias);
Result<void> insert_row(sqlite::Statement& statement, const SegmentRecord& segment);

struct Catalogue::Impl {
  // Statements that only a writer has.
  struct Changes {
    sqlite::Statement set_meta, insert_segment, retire_segment, delete_segment;
    sqlite::Statement find_head, insert_document, move_document, rename_document, delete_document;
    sqlite::Statement insert_alias, delete_alias, find_text;
  };

  // Members are destroyed in reverse order: statements before their connection.
  sqlite::Database database;
  int64_t version = 0;
  sqlite::Statement get_meta, find_number, find_id, data_version;
  sqlite::Statement find_alias, aliases_of;  // from version 2 on
  Changes changes;

  static Result<std::unique_ptr<Impl>> prepare(CatalogueDatabase opened, Access access);
  // Whether the tables of version 2 are there: a writer may add them while an older one is read.
  Result<bool> has_version_2();

  Error missing_meta(std::string_view key) const;
  Result<uint64_t> meta_number(std::string_view key, uint64_t least, uint64_t most);
  // kNextNumberKey or kNextSegmentKey, from a value to another one.
  Result<void> set_meta_number(std::string_view key, int64_t from, int64_t to);

  // Parts of a write transaction, in catalogue_changes.cc. What they add to and take from the sum
  // of all rows' digests goes to digest_change, from 0; save_digest() is the last of them.
  uint64_t digest_change = 0;
  Result<void> save_digest();
  // A document without its text.
  Result<DocumentRecord> head(uint32_t number);
  Result<void> insert(const SegmentRecord& segment);
  Result<void> retire(int64_t segment);
  Result<void> apply(const DocumentRecord& document, int64_t segment);
  Result<void> apply(const AliasRecord& alias);
  Result<void> apply(const NameRemoval& removal);

 private:
  Result<void> prepare_aliases();
  Result<void> prepare_changes();
};

// Hands a bad row to the caller, or ends the call with it.
Result<void> report(const Catalogue::BadRow& bad_row, const Error& error);

// Columns kHeadColumns of the current row, and the text after them if there is one.
Result<DocumentRecord> read_document(const sqlite::Statement& statement, bool with_text);
// Columns id, file, chunks, bytes, checksum of the current row.
Result<SegmentRecord> read_segment(const sqlite::Statement& statement);
// Columns kAliasColumns of the current row.
Result<AliasRecord> read_alias(const sqlite::Statement& statement);

}  // namespace msa
