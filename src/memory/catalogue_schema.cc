#include "memory/catalogue_schema.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <system_error>
#include <utility>

#include "memory/bank_files.h"
#include "memory/catalogue_digest.h"

namespace msa {
namespace {

namespace fs = std::filesystem;
using sqlite::Database;
using sqlite::Row;
using sqlite::Statement;
using sqlite::Transaction;

// The schema, as it stands in the file: a catalogue with any other is not one of this version.
struct SchemaObject {
  int64_t since;  // the first version that has it
  std::string_view type, name;
  std::string_view sql;
};
constexpr std::array<SchemaObject, 8> kSchema{{
    {1, "table", "meta", "CREATE TABLE meta(key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT"},
    {1, "table", "segments",
     "CREATE TABLE segments("
     "id INTEGER PRIMARY KEY, "
     "file TEXT NOT NULL UNIQUE, "
     "chunks INTEGER NOT NULL, "
     "bytes INTEGER NOT NULL, "
     "checksum INTEGER NOT NULL) STRICT"},
    // The text comes last: what stands before it is read without it.
    {1, "table", "documents",
     "CREATE TABLE documents("
     "number INTEGER PRIMARY KEY, "
     "id TEXT NOT NULL UNIQUE, "
     "title TEXT NOT NULL, "
     "source TEXT NOT NULL, "
     "char_begin INTEGER NOT NULL, "
     "char_end INTEGER NOT NULL, "
     "hash INTEGER NOT NULL, "
     "tokens INTEGER NOT NULL, "
     "segment INTEGER NOT NULL REFERENCES segments(id), "
     "first_chunk INTEGER NOT NULL, "
     "chunks INTEGER NOT NULL, "
     "text_bytes INTEGER NOT NULL, "
     "text TEXT NOT NULL) STRICT"},
    // Holds all that a snapshot and the totals need, so that neither reads a text.
    {1, "index", "documents_place",
     "CREATE INDEX documents_place ON documents("
     "segment, first_chunk, chunks, tokens, text_bytes)"},
    // Finds texts that are there already.
    {2, "index", "documents_hash", "CREATE INDEX documents_hash ON documents(hash)"},
    // Further names of a document: others gave the same title and text under them.
    {2, "table", "aliases",
     "CREATE TABLE aliases("
     "alias INTEGER PRIMARY KEY, "
     "id TEXT NOT NULL UNIQUE, "
     "number INTEGER NOT NULL REFERENCES documents(number), "
     "source TEXT NOT NULL, "
     "char_begin INTEGER NOT NULL, "
     "char_end INTEGER NOT NULL) STRICT"},
    {2, "index", "aliases_number", "CREATE INDEX aliases_number ON aliases(number)"},
    // Segments that a compaction replaced and whose files are still to be removed.
    {2, "table", "retired",
     "CREATE TABLE retired(id INTEGER PRIMARY KEY, file TEXT NOT NULL UNIQUE) STRICT"},
}};

// What a catalogue is called until it is complete.
fs::path unfinished_name(const fs::path& file) {
  return fs::path(file).concat(".new");
}

Error not_a_catalogue(const fs::path& file, std::string_view why) {
  return Error{Code::mismatch,
               fmt::format("{}: {}; give the folder of a memory bank", file.string(), why)};
}

// SQLite answers "not a database" for a foreign file, which is clearer in our words.
Error explain_foreign(const fs::path& file, Error error) {
  if (error.message.find("file is not a database") == std::string::npos) return error;
  return Error{Code::corrupt,
               fmt::format("{}: is not an SQLite database, so it is no memory bank's catalogue, or "
                           "a destroyed one; give another folder, or restore the bank from a copy",
                           file.string())};
}

// The version of the tables, which are exactly those of that version.
Result<int64_t> check_identity(const Database& database) {
  const fs::path& file = database.file();
  // As of one moment: a writer may be bringing the tables up to date.
  Result<Transaction> moment = Transaction::begin(database, Transaction::Kind::read);
  if (!moment) return explain_foreign(file, std::move(moment).error());
  Result<int64_t> id = database.integer("PRAGMA application_id");
  if (!id) return explain_foreign(file, std::move(id).error());
  if (*id != kCatalogueApplicationId)
    return not_a_catalogue(
        file, fmt::format("is an SQLite database of another kind (application id {:#x}, a memory "
                          "bank's is {:#x})",
                          *id, kCatalogueApplicationId));
  MSA_ASSIGN(const int64_t version, database.integer("PRAGMA user_version"));
  if (version > kInt8CatalogueVersion)
    return Error{Code::unsupported,
                 fmt::format("{}: is of version {}, this program reads versions up to {}; use a "
                             "newer msa",
                             file.string(), version, kInt8CatalogueVersion)};
  if (version < 1)
    return Error{Code::corrupt,
                 fmt::format("{}: says that it is of version {}, which never was; restore the bank "
                             "from a copy",
                             file.string(), version)};

  // Nothing but our own tables: a view or trigger under one of these names could do anything.
  // SQLite's own are indexes behind UNIQUE and PRIMARY KEY, without a statement, and these tables.
  constexpr std::array<std::string_view, 3> kOfSqlite{"sqlite_sequence", "sqlite_stat1",
                                                      "sqlite_stat4"};
  MSA_ASSIGN(Statement schema,
             database.prepare("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL"));
  std::set<std::string> found;
  for (;;) {
    MSA_ASSIGN(const bool more, schema.step());
    if (!more) break;
    Row row(schema, "sqlite_schema");
    const std::string type = row.text(0, "type"), name = row.text(1, "name");
    const std::string sql = row.text(2, "sql");
    if (row.ok() && type == "table" &&
        std::find(kOfSqlite.begin(), kOfSqlite.end(), name) != kOfSqlite.end())
      continue;
    const auto known = std::find_if(kSchema.begin(), kSchema.end(), [&](const SchemaObject& o) {
      return o.since <= version && o.type == type && o.name == name && o.sql == sql;
    });
    if (!row.ok() || known == kSchema.end())
      return Error{Code::corrupt,
                   fmt::format("{}: its {} '{}' is not one that msa made; restore the bank from a "
                               "copy",
                               file.string(), type, name)};
    found.insert(name);
  }
  for (const SchemaObject& object : kSchema)
    if (object.since <= version && !found.contains(std::string(object.name)))
      return Error{Code::corrupt, fmt::format("{}: lacks the {} '{}'; restore the bank from a copy",
                                              file.string(), object.type, object.name)};
  MSA_ASSIGN(const int64_t digests, database.integer(fmt::format(
                                        "SELECT count(*) FROM meta WHERE key = '{}'", kDigestKey)));
  if ((digests > 0) != (version >= 3))
    return Error{Code::corrupt,
                 fmt::format("{}: says that it is of version {}, but table meta {} '{}'; restore "
                             "the bank from a copy",
                             file.string(), version, digests > 0 ? "has" : "lacks", kDigestKey)};
  return version;
}

// Whether SQLite refused because it may not make its files beside the catalogue.
bool folder_refuses(const fs::path& file, const Error& error) {
  if (error.code != Code::permission && error.code != Code::io && error.code != Code::not_found)
    return false;
  if (::access(file.c_str(), R_OK) != 0) return false;
  return cannot_be_written(folder_of(file));
}

Result<Database> open_for_reading(const fs::path& file) {
  const auto open_as = [&](Database::Mode mode) -> Result<Database> {
    MSA_ASSIGN(Database database, Database::open(file, mode));
    // Reads page 1, which is when SQLite makes the files of its write-ahead log.
    MSA_TRY(database.integer("PRAGMA schema_version"));
    return database;
  };
  Result<Database> database = open_as(Database::Mode::read);
  if (database) return database;
  Error error = std::move(database).error();
  if (!folder_refuses(file, error)) return explain_foreign(file, std::move(error));

  // In a folder that cannot be written, the file alone is the whole truth if no log stands beside
  // it; then it is read as something that does not change. Whether it does all the same, a reader
  // that goes on asks by itself (bank_reader.cc).
  if (const uint64_t bytes = log_bytes(file); bytes > 0)
    return Error{
        Code::permission,
        fmt::format("{}: {} bytes of changes beside it (-wal) have to be merged first, and "
                    "its folder cannot be written; open the bank once where it can be",
                    file.string(), bytes)};
  return open_as(Database::Mode::immutable);
}

// Adds what came with later versions. Nobody else writes: the caller holds the bank's lock.
Result<void> migrate(const Database& database, int64_t version) {
  MSA_ASSIGN(Transaction transaction, Transaction::begin(database, Transaction::Kind::write));
  for (const SchemaObject& object : kSchema)
    if (object.since > version) MSA_TRY(database.execute(std::string(object.sql).c_str()));
  if (version < 3) MSA_TRY(renew_digest(database));
  MSA_TRY(database.execute(fmt::format("PRAGMA user_version = {}", kCatalogueVersion).c_str()));
  return transaction.commit();
}

}  // namespace

Result<void> create_catalogue_database(const fs::path& file, std::string_view manifest,
                                       int64_t version) {
  std::error_code ignored;
  if (fs::exists(file, ignored))
    return Error{Code::invalid_argument,
                 fmt::format("{}: exists already; open it instead", file.string())};
  const fs::path unfinished = unfinished_name(file);
  for (const std::string_view suffix : {"", "-journal", "-wal", "-shm"})
    MSA_TRY(remove_file(fs::path(unfinished).concat(suffix)));

  {
    MSA_ASSIGN(Database database, Database::open(unfinished, Database::Mode::create));
    // One file without a log beside it until the very end, so that one rename brings it all.
    MSA_TRY(database.execute("PRAGMA journal_mode = DELETE; PRAGMA synchronous = EXTRA"));
    {
      MSA_ASSIGN(Transaction transaction, Transaction::begin(database, Transaction::Kind::write));
      for (const SchemaObject& object : kSchema)
        MSA_TRY(database.execute(std::string(object.sql).c_str()));
      MSA_ASSIGN(Statement insert, database.prepare("INSERT INTO meta(key, value) VALUES(?1, ?2)"));
      insert.bind(1, kManifestKey);
      insert.bind(2, manifest);
      MSA_TRY(insert.run());
      for (const auto& [key, first] : {std::pair{kNextNumberKey, 0}, {kNextSegmentKey, 1}}) {
        insert.bind(1, key);
        insert.bind(2, first);
        MSA_TRY(insert.run());
      }
      MSA_TRY(renew_digest(database));
      MSA_TRY(database.execute(fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}",
                                           kCatalogueApplicationId, version)
                                   .c_str()));
      MSA_TRY(transaction.commit());
    }
    MSA_ASSIGN(const std::string mode, database.text("PRAGMA journal_mode = WAL"));
    if (mode != "wal")
      return Error{Code::unsupported,
                   fmt::format("{}: this disk cannot hold a write-ahead log (journal mode is {}); "
                               "choose a local disk",
                               file.string(), mode)};
    MSA_TRY(database.close());
  }
  return rename_durably(unfinished, file);
}

Result<CatalogueDatabase> open_catalogue_database(const fs::path& file, Catalogue::Access access) {
  std::error_code failed;
  if (!fs::exists(file, failed) && !failed)
    return Error{
        Code::not_found,
        fmt::format("{}: there is no such file; give the folder of a memory bank", file.string())};
  CatalogueDatabase opened;
  if (access == Catalogue::Access::read) {
    MSA_ASSIGN(opened.database, open_for_reading(file));
    MSA_ASSIGN(opened.version, check_identity(opened.database));
    return opened;
  }
  MSA_ASSIGN(opened.database, Database::open(file, Database::Mode::write));
  MSA_ASSIGN(opened.version, check_identity(opened.database));
  MSA_ASSIGN(const std::string mode, opened.database.text("PRAGMA journal_mode = WAL"));
  if (mode != "wal")
    return Error{Code::unsupported,
                 fmt::format("{}: cannot be written with a write-ahead log here (journal mode is "
                             "{}); check that folder and file can be written and the disk is local",
                             file.string(), mode)};
  // A commit is on the disk when it returns. A log that grew large is cut again. 64 MiB of pages
  // hold the index of ids, in which every new document lands somewhere else.
  MSA_TRY(
      opened.database.execute("PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 16777216;"
                              "PRAGMA cache_size = -65536"));
  if (opened.version < kCatalogueVersion) {
    MSA_TRY(migrate(opened.database, opened.version));
    opened.version = kCatalogueVersion;
  }
  return opened;
}

}  // namespace msa
