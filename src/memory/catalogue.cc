#include "memory/catalogue.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <set>
#include <system_error>
#include <utility>

#include "base/checked.h"
#include "base/files.h"
#include "base/hash.h"
#include "memory/bank_files.h"
#include "memory/sqlite.h"

namespace msa {
namespace {

namespace fs = std::filesystem;
using sqlite::Database;
using sqlite::ResetOnExit;
using sqlite::Row;
using sqlite::Statement;
using sqlite::Transaction;

constexpr uint64_t kMaxNumber = UINT32_MAX - 1;  // so that the number after it fits 32 bits too
constexpr uint64_t kMaxChunks = UINT32_MAX;      // of a segment
constexpr uint64_t kMaxSize = INT64_MAX;         // what SQLite's integers hold

// The schema, as it stands in the file: a catalogue with any other is not one of this version.
struct SchemaObject {
  std::string_view type, name;
  std::string_view sql;
};
constexpr std::array<SchemaObject, 4> kSchema{{
    {"table", "meta", "CREATE TABLE meta(key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT"},
    {"table", "segments",
     "CREATE TABLE segments("
     "id INTEGER PRIMARY KEY, "
     "file TEXT NOT NULL UNIQUE, "
     "chunks INTEGER NOT NULL, "
     "bytes INTEGER NOT NULL, "
     "checksum INTEGER NOT NULL) STRICT"},
    // The text comes last: what stands before it is read without it.
    {"table", "documents",
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
    {"index", "documents_place",
     "CREATE INDEX documents_place ON documents("
     "segment, first_chunk, chunks, tokens, text_bytes)"},
}};

constexpr std::string_view kManifestKey = "manifest";
constexpr std::string_view kNextNumberKey = "next_number";
constexpr std::string_view kNextSegmentKey = "next_segment";

constexpr std::string_view kHeadColumns =
    "number, id, title, source, char_begin, char_end, hash, tokens, segment, first_chunk, chunks, "
    "text_bytes";

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

Result<void> check_identity(const Database& database) {
  const fs::path& file = database.file();
  Result<int64_t> id = database.integer("PRAGMA application_id");
  if (!id) return explain_foreign(file, std::move(id).error());
  if (*id != kCatalogueApplicationId)
    return not_a_catalogue(
        file, fmt::format("is an SQLite database of another kind (application id {:#x}, a memory "
                          "bank's is {:#x})",
                          *id, kCatalogueApplicationId));
  MSA_ASSIGN(const int64_t version, database.integer("PRAGMA user_version"));
  if (version > kCatalogueVersion)
    return Error{Code::unsupported,
                 fmt::format("{}: is of version {}, this program reads versions up to {}; use a "
                             "newer msa",
                             file.string(), version, kCatalogueVersion)};
  if (version != kCatalogueVersion)
    return Error{Code::corrupt,
                 fmt::format("{}: says that it is of version {}, which never was; restore the bank "
                             "from a copy",
                             file.string(), version)};

  // Nothing but our own tables: a view or trigger under one of these names could do anything.
  MSA_ASSIGN(Statement schema, database.prepare("SELECT type, name, sql FROM sqlite_schema WHERE "
                                                "name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"));
  std::set<std::string> found;
  for (;;) {
    MSA_ASSIGN(const bool more, schema.step());
    if (!more) break;
    Row row(schema, "sqlite_schema");
    const std::string type = row.text(0, "type"), name = row.text(1, "name");
    const std::string sql = row.text(2, "sql");
    const auto known = std::find_if(kSchema.begin(), kSchema.end(), [&](const SchemaObject& o) {
      return o.type == type && o.name == name && o.sql == sql;
    });
    if (!row.ok() || known == kSchema.end())
      return Error{Code::corrupt,
                   fmt::format("{}: its {} '{}' is not one that msa made; restore the bank from a "
                               "copy",
                               file.string(), type, name)};
    found.insert(name);
  }
  for (const SchemaObject& object : kSchema)
    if (!found.contains(std::string(object.name)))
      return Error{Code::corrupt, fmt::format("{}: lacks the {} '{}'; restore the bank from a copy",
                                              file.string(), object.type, object.name)};
  return {};
}

// Whether SQLite refused because it may not make its files beside the catalogue.
bool folder_refuses(const fs::path& file, const Error& error) {
  if (error.code != Code::permission && error.code != Code::io && error.code != Code::not_found)
    return false;
  if (::access(file.c_str(), R_OK) != 0) return false;
  return ::access(folder_of(file).c_str(), W_OK) != 0 && (errno == EACCES || errno == EROFS);
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
  // it; then it is read as something that does not change.
  std::error_code failed;
  const uintmax_t log_bytes = fs::file_size(fs::path(file).concat("-wal"), failed);
  if (!failed && log_bytes > 0)
    return Error{
        Code::permission,
        fmt::format("{}: {} bytes of changes beside it (-wal) have to be merged first, and "
                    "its folder cannot be written; open the bank once where it can be",
                    file.string(), log_bytes)};
  return open_as(Database::Mode::immutable);
}

// The columns of kHeadColumns, and the text after them if there is one.
Result<DocumentRecord> read_document(const Statement& statement, bool with_text) {
  Row row(statement, "documents");
  DocumentRecord record;
  record.number = static_cast<uint32_t>(row.number(0, "number", 0, kMaxNumber));
  record.id = row.text(1, "id");
  record.title = row.text(2, "title");
  record.source = row.text(3, "source");
  record.char_begin = row.number(4, "char_begin", 0, kMaxSize);
  record.char_end = row.number(5, "char_end", record.char_begin, kMaxSize);
  record.hash = row.bits(6, "hash");
  record.tokens = row.number(7, "tokens", 0, kMaxSize);
  record.segment = static_cast<int64_t>(row.number(8, "segment", 1, kMaxSize));
  record.first_chunk = static_cast<uint32_t>(row.number(9, "first_chunk", 0, kMaxChunks - 1));
  record.chunks =
      static_cast<uint32_t>(row.number(10, "chunks", 1, kMaxChunks - record.first_chunk));
  const uint64_t text_bytes = row.number(11, "text_bytes", 0, kMaxSize);
  if (with_text) {
    record.text = row.text(12, "text");
    if (row.ok() && record.text.size() != text_bytes)
      row.reject(
          fmt::format("the text has {} bytes, text_bytes says {}", record.text.size(), text_bytes));
  }
  if (!row.ok()) return row.problem();
  return record;
}

// Hands a bad row to the caller, or ends the call with it.
Result<void> report(const Catalogue::BadRow& bad_row, const Error& error) {
  if (!bad_row) return error;
  bad_row(error);
  return {};
}

struct Closer final : Catalogue::ReadScope {
  explicit Closer(Transaction t) : transaction(std::move(t)) {}
  Transaction transaction;
};

}  // namespace

uint64_t document_hash(std::string_view title, std::string_view text) {
  Hasher hasher;
  hasher.add_number(title.size());
  hasher.add(title);
  hasher.add_number(text.size());
  hasher.add(text);
  return hasher.digest();
}

struct Catalogue::Impl {
  // Members are destroyed in reverse order: statements before their connection.
  Database database;
  Statement get_meta, set_meta, insert_segment, insert_document;
  Statement find_number, find_id, data_version;

  static Result<std::unique_ptr<Impl>> prepare(Database database, Access access) {
    auto impl = std::make_unique<Impl>(Impl{std::move(database), {}, {}, {}, {}, {}, {}, {}});
    const Database& db = impl->database;
    MSA_ASSIGN(impl->get_meta, db.prepare("SELECT rowid, value FROM meta WHERE key = ?1"));
    MSA_ASSIGN(
        impl->find_number,
        db.prepare(fmt::format("SELECT {}, text FROM documents WHERE number = ?1", kHeadColumns)));
    MSA_ASSIGN(impl->find_id,
               db.prepare(fmt::format("SELECT {} FROM documents WHERE id = ?1", kHeadColumns)));
    MSA_ASSIGN(impl->data_version, db.prepare("PRAGMA data_version"));
    if (access == Access::read) return impl;
    MSA_ASSIGN(impl->set_meta, db.prepare("UPDATE meta SET value = ?2 WHERE key = ?1"));
    MSA_ASSIGN(impl->insert_segment,
               db.prepare("INSERT INTO segments(id, file, chunks, bytes, checksum) "
                          "VALUES(?1, ?2, ?3, ?4, ?5)"));
    MSA_ASSIGN(impl->insert_document,
               db.prepare(fmt::format("INSERT INTO documents({}, text) VALUES(?1, ?2, ?3, ?4, ?5, "
                                      "?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
                                      kHeadColumns)));
    return impl;
  }

  Error missing_meta(std::string_view key) const {
    return Error{Code::corrupt, fmt::format("{}: table meta lacks '{}'; restore the bank from a "
                                            "copy, or encode into a new one",
                                            database.file().string(), key)};
  }

  Result<uint64_t> meta_number(std::string_view key, uint64_t least, uint64_t most) {
    const ResetOnExit reset(get_meta);
    get_meta.bind(1, key);
    MSA_ASSIGN(const bool found, get_meta.step());
    if (!found) return missing_meta(key);
    Row row(get_meta, "meta");
    const uint64_t value = row.number(1, key, least, most);
    if (!row.ok()) return row.problem();
    return value;
  }

  Result<void> set_meta_number(std::string_view key, int64_t value) {
    set_meta.reset();
    set_meta.bind(1, key);
    set_meta.bind(2, value);
    return set_meta.run();
  }

  // The whole of commit_segment, inside its transaction.
  Result<void> write(const SegmentRecord& segment, const std::vector<DocumentRecord>& documents,
                     uint32_t next_number) {
    insert_segment.reset();
    insert_segment.bind(1, segment.id);
    insert_segment.bind(2, segment.file);
    insert_segment.bind(3, static_cast<int64_t>(segment.chunks));
    insert_segment.bind(4, static_cast<int64_t>(segment.bytes));
    insert_segment.bind(5, static_cast<int64_t>(segment.checksum));
    MSA_TRY(insert_segment.run());
    for (const DocumentRecord& d : documents) {
      insert_document.reset();
      insert_document.bind(1, d.number);
      insert_document.bind(2, d.id);
      insert_document.bind(3, d.title);
      insert_document.bind(4, d.source);
      insert_document.bind(5, static_cast<int64_t>(d.char_begin));
      insert_document.bind(6, static_cast<int64_t>(d.char_end));
      insert_document.bind(7, static_cast<int64_t>(d.hash));
      insert_document.bind(8, static_cast<int64_t>(d.tokens));
      insert_document.bind(9, segment.id);
      insert_document.bind(10, d.first_chunk);
      insert_document.bind(11, d.chunks);
      insert_document.bind(12, static_cast<int64_t>(d.text.size()));
      insert_document.bind(13, d.text);
      MSA_TRY(insert_document.run());
    }
    MSA_TRY(set_meta_number(kNextNumberKey, next_number));
    return set_meta_number(kNextSegmentKey, segment.id + 1);
  }
};

Catalogue::Catalogue(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Catalogue::Catalogue(Catalogue&&) noexcept = default;
Catalogue& Catalogue::operator=(Catalogue&&) noexcept = default;
Catalogue::~Catalogue() = default;

Result<Catalogue> Catalogue::create(const fs::path& file, std::string_view manifest) {
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
      MSA_TRY(database.execute(fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}",
                                           kCatalogueApplicationId, kCatalogueVersion)
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
  MSA_TRY(rename_durably(unfinished, file));
  return open(file, Access::write);
}

Result<Catalogue> Catalogue::open(const fs::path& file, Access access) {
  std::error_code failed;
  if (!fs::exists(file, failed) && !failed)
    return Error{
        Code::not_found,
        fmt::format("{}: there is no such file; give the folder of a memory bank", file.string())};
  if (access == Access::read) {
    MSA_ASSIGN(Database database, open_for_reading(file));
    MSA_TRY(check_identity(database));
    MSA_ASSIGN(auto impl, Impl::prepare(std::move(database), access));
    return Catalogue(std::move(impl));
  }
  MSA_ASSIGN(Database database, Database::open(file, Database::Mode::write));
  MSA_TRY(check_identity(database));
  MSA_ASSIGN(const std::string mode, database.text("PRAGMA journal_mode = WAL"));
  if (mode != "wal")
    return Error{Code::unsupported,
                 fmt::format("{}: cannot be written with a write-ahead log here (journal mode is "
                             "{}); check that folder and file can be written and the disk is local",
                             file.string(), mode)};
  // A commit is on the disk when it returns. A log that grew large is cut again. 64 MiB of pages
  // hold the index of ids, in which every new document lands somewhere else.
  MSA_TRY(
      database.execute("PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 16777216;"
                       "PRAGMA cache_size = -65536"));
  MSA_ASSIGN(auto impl, Impl::prepare(std::move(database), access));
  return Catalogue(std::move(impl));
}

Result<std::string> Catalogue::manifest() const {
  const ResetOnExit reset(impl_->get_meta);
  impl_->get_meta.bind(1, kManifestKey);
  MSA_ASSIGN(const bool found, impl_->get_meta.step());
  if (!found) return impl_->missing_meta(kManifestKey);
  Row row(impl_->get_meta, "meta");
  std::string text = row.text(1, kManifestKey);
  if (!row.ok()) return row.problem();
  return text;
}

Result<uint32_t> Catalogue::next_number() const {
  MSA_ASSIGN(const uint64_t next, impl_->meta_number(kNextNumberKey, 0, kMaxNumber + 1));
  return static_cast<uint32_t>(next);
}

Result<int64_t> Catalogue::next_segment() const {
  MSA_ASSIGN(const uint64_t next, impl_->meta_number(kNextSegmentKey, 1, kMaxSize));
  return static_cast<int64_t>(next);
}

Result<int64_t> Catalogue::data_version() const {
  const ResetOnExit reset(impl_->data_version);
  MSA_ASSIGN([[maybe_unused]] const bool row, impl_->data_version.step());
  Row version(impl_->data_version, "data_version");
  return static_cast<int64_t>(version.bits(0, "data_version"));
}

Result<void> Catalogue::commit_segment(const SegmentRecord& segment,
                                       const std::vector<DocumentRecord>& documents,
                                       uint32_t next_number) {
  const auto refuse = [&](std::string_view why) {
    return Error{Code::invalid_argument,
                 fmt::format("{}: segment {} cannot be recorded: {}; report this as a bug",
                             impl_->database.file().string(), segment.id, why)};
  };
  if (segment.id < 1 || segment.id == INT64_MAX) return refuse("its id is out of range");
  if (!is_plain_file_name(segment.file)) return refuse("its file's name is not a plain one");
  if (segment.chunks > kMaxChunks || segment.bytes > kMaxSize) return refuse("it is too large");
  uint64_t first_free = 0;
  for (const DocumentRecord& d : documents) {
    if (d.number >= next_number) return refuse("a document's number is not below the next one");
    if (d.chunks == 0 || d.first_chunk < first_free ||
        !in_bounds<uint64_t>(d.first_chunk, d.chunks, segment.chunks))
      return refuse("a document's rows overlap another's or lie outside");
    if (d.char_end < d.char_begin || d.char_end > kMaxSize || d.tokens > kMaxSize)
      return refuse("a document's extent is out of range");
    first_free = uint64_t{d.first_chunk} + d.chunks;
  }

  MSA_ASSIGN(Transaction transaction,
             Transaction::begin(impl_->database, Transaction::Kind::write));
  MSA_ASSIGN(const uint32_t old_next, this->next_number());
  MSA_ASSIGN(const int64_t old_segment, next_segment());
  if (next_number < old_next || segment.id < old_segment)
    return refuse("its numbers have been given out before");
  for (const DocumentRecord& d : documents)
    if (d.number < old_next) return refuse("a document's number has been given out before");
  MSA_TRY(impl_->write(segment, documents, next_number));
  return transaction.commit();
}

Result<std::vector<SegmentRecord>> Catalogue::segments(const BadRow& bad_row) const {
  MSA_ASSIGN(Statement statement,
             impl_->database.prepare(
                 "SELECT id, file, chunks, bytes, checksum FROM segments ORDER BY id"));
  std::vector<SegmentRecord> segments;
  for (;;) {
    MSA_ASSIGN(const bool more, statement.step());
    if (!more) return segments;
    Row row(statement, "segments");
    SegmentRecord record;
    record.id = static_cast<int64_t>(row.number(0, "id", 1, kMaxSize - 1));
    record.file = row.text(1, "file");
    if (row.ok() && !is_plain_file_name(record.file))
      row.reject("the file's name is not a plain file name");
    record.chunks = row.number(2, "chunks", 0, kMaxChunks);
    record.bytes = row.number(3, "bytes", 0, kMaxSize);
    record.checksum = row.bits(4, "checksum");
    if (row.ok())
      segments.push_back(std::move(record));
    else
      MSA_TRY(report(bad_row, row.problem()));
  }
}

Result<CatalogueLayout> Catalogue::layout(const BadRow& bad_row) const {
  MSA_ASSIGN([[maybe_unused]] const Transaction moment,
             Transaction::begin(impl_->database, Transaction::Kind::read));
  CatalogueLayout layout;
  MSA_ASSIGN(layout.segments, segments(bad_row));
  layout.documents.resize(layout.segments.size());
  MSA_ASSIGN(const uint32_t next, next_number());
  MSA_ASSIGN(Statement statement,
             impl_->database.prepare("SELECT number, segment, first_chunk, chunks FROM documents "
                                     "ORDER BY segment, first_chunk"));
  size_t s = 0;
  for (;;) {
    MSA_ASSIGN(const bool more, statement.step());
    if (!more) return layout;
    Row row(statement, "documents");
    DocumentSpan span;
    span.number = static_cast<uint32_t>(row.number(0, "number", 0, kMaxNumber));
    const auto segment = static_cast<int64_t>(row.number(1, "segment", 1, kMaxSize));
    span.first_chunk = static_cast<uint32_t>(row.number(2, "first_chunk", 0, kMaxChunks - 1));
    span.chunks = static_cast<uint32_t>(row.number(3, "chunks", 1, kMaxChunks - span.first_chunk));
    if (row.ok() && span.number >= next)
      row.reject(fmt::format("number is not below next_number, {}", next));
    // Both are ascending in the segment's id.
    while (row.ok() && s < layout.segments.size() && layout.segments[s].id < segment) ++s;
    if (row.ok() && (s == layout.segments.size() || layout.segments[s].id != segment))
      row.reject(fmt::format("segment {} is not recorded", segment));
    if (row.ok()) {
      std::vector<DocumentSpan>& spans = layout.documents[s];
      if (!in_bounds<uint64_t>(span.first_chunk, span.chunks, layout.segments[s].chunks))
        row.reject(fmt::format("{} chunks from {} on, segment {} has {}", span.chunks,
                               span.first_chunk, segment, layout.segments[s].chunks));
      else if (!spans.empty() &&
               uint64_t{spans.back().first_chunk} + spans.back().chunks > span.first_chunk)
        row.reject(fmt::format("its chunks overlap those of document {}", spans.back().number));
      else if (!spans.empty() && spans.back().number >= span.number)
        row.reject(
            fmt::format("stands behind document {} in segment {}", spans.back().number, segment));
    }
    if (!row.ok()) {
      MSA_TRY(report(bad_row, row.problem()));
      continue;
    }
    layout.documents[s].push_back(span);
    ++layout.document_count;
    layout.chunk_count += span.chunks;  // at most 2^32 documents of 2^32 chunks: cannot wrap
  }
}

Result<CatalogueTotals> Catalogue::totals() const {
  MSA_ASSIGN(Statement statement,
             impl_->database.prepare(
                 "SELECT count(*), ifnull(sum(chunks), 0), ifnull(sum(tokens), 0), "
                 "ifnull(sum(text_bytes), 0), (SELECT count(*) FROM segments) FROM documents"));
  MSA_ASSIGN([[maybe_unused]] const bool more, statement.step());
  Row row(statement, "documents (totals)");
  CatalogueTotals totals;
  totals.documents = row.number(0, "the number of documents", 0, kMaxSize);
  totals.chunks = row.number(1, "the sum of chunks", 0, kMaxSize);
  totals.tokens = row.number(2, "the sum of tokens", 0, kMaxSize);
  totals.text_bytes = row.number(3, "the sum of text_bytes", 0, kMaxSize);
  totals.segments = row.number(4, "the number of segments", 0, kMaxSize);
  if (!row.ok()) return row.problem();
  return totals;
}

Result<void> Catalogue::each_document(uint32_t first, bool with_text,
                                      const std::function<bool(const DocumentRecord&)>& visit,
                                      const BadRow& bad_row) const {
  // A statement of its own: `visit` may call any other function of this catalogue.
  MSA_ASSIGN(Statement statement,
             impl_->database.prepare(
                 fmt::format("SELECT {}{} FROM documents WHERE number >= ?1 ORDER BY number",
                             kHeadColumns, with_text ? ", text" : "")));
  statement.bind(1, first);
  for (;;) {
    MSA_ASSIGN(const bool more, statement.step());
    if (!more) return {};
    Result<DocumentRecord> record = read_document(statement, with_text);
    if (!record)
      MSA_TRY(report(bad_row, record.error()));
    else if (!visit(*record))
      return {};
  }
}

Result<std::optional<DocumentRecord>> Catalogue::find(uint32_t number) const {
  const ResetOnExit reset(impl_->find_number);
  impl_->find_number.bind(1, number);
  MSA_ASSIGN(const bool found, impl_->find_number.step());
  if (!found) return std::optional<DocumentRecord>();
  MSA_ASSIGN(DocumentRecord record, read_document(impl_->find_number, true));
  return std::optional(std::move(record));
}

Result<std::optional<DocumentRecord>> Catalogue::find_id(std::string_view id) const {
  const ResetOnExit reset(impl_->find_id);
  impl_->find_id.bind(1, id);
  MSA_ASSIGN(const bool found, impl_->find_id.step());
  if (!found) return std::optional<DocumentRecord>();
  MSA_ASSIGN(DocumentRecord record, read_document(impl_->find_id, false));
  return std::optional(std::move(record));
}

Result<std::vector<std::string>> Catalogue::check() const {
  std::vector<std::string> problems;
  const std::string file = impl_->database.file().string();
  MSA_ASSIGN(Statement integrity, impl_->database.prepare("PRAGMA integrity_check(100)"));
  for (;;) {
    MSA_ASSIGN(const bool more, integrity.step());
    if (!more) break;
    Row row(integrity, "integrity_check");
    if (std::string line = row.text(0, "the result"); line != "ok")
      problems.push_back(fmt::format("{}: {}", file, line));
  }
  MSA_ASSIGN(Statement references, impl_->database.prepare("PRAGMA foreign_key_check"));
  for (;;) {
    MSA_ASSIGN(const bool more, references.step());
    if (!more) return problems;
    Row row(references, "foreign_key_check");
    const std::string table = row.text(0, "table");
    const uint64_t id = row.bits(1, "rowid");
    problems.push_back(fmt::format("{}: table {}, row {}: names a segment that is not recorded",
                                   file, table, static_cast<int64_t>(id)));
  }
}

Result<std::unique_ptr<Catalogue::ReadScope>> Catalogue::begin_read() const {
  MSA_ASSIGN(Transaction transaction, Transaction::begin(impl_->database, Transaction::Kind::read));
  return std::make_unique<Closer>(std::move(transaction));
}

}  // namespace msa
