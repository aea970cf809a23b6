#include "memory/catalogue.h"

#include <fmt/format.h>

#include <utility>

#include "base/hash.h"
#include "memory/bank_files.h"
#include "memory/catalogue_digest.h"
#include "memory/catalogue_impl.h"

namespace msa {
namespace {

namespace fs = std::filesystem;
using sqlite::ResetOnExit;
using sqlite::Row;
using sqlite::Statement;
using sqlite::Transaction;

// Aliases whose rows are bad, or whose ids are documents' own.
Result<void> check_aliases(const sqlite::Database& database, std::vector<std::string>& problems) {
  MSA_ASSIGN(Statement every,
             database.prepare(fmt::format(
                 "SELECT {}, EXISTS(SELECT 1 FROM documents d WHERE d.id = a.id) FROM aliases a",
                 kAliasColumns)));
  for (;;) {
    MSA_ASSIGN(const bool more, every.step());
    if (!more) return {};
    const Result<AliasRecord> alias = read_alias(every);
    Row row(every, "aliases");
    if (alias && row.number(6, "whether its id is a document's own", 0, 1) != 0)
      row.reject("its id is a document's own too");
    if (!alias || !row.ok())
      problems.push_back(alias ? row.problem().message : alias.error().message);
  }
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

Error low_next_segment(const fs::path& catalogue, int64_t next, int64_t recorded) {
  return Error{Code::corrupt,
               fmt::format("{}: table meta: {} is {}, but segment {} is recorded; mend the bank "
                           "with `msa memory repair`",
                           catalogue.string(), kNextSegmentKey, next, recorded)};
}

Result<void> report(const Catalogue::BadRow& bad_row, const Error& error) {
  if (!bad_row) return error;
  bad_row(error);
  return {};
}

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
  record.segment = static_cast<int64_t>(row.number(8, "segment", 1, kMaxSegment));
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

Result<SegmentRecord> read_segment(const Statement& statement) {
  Row row(statement, "segments");
  SegmentRecord record;
  record.id = static_cast<int64_t>(row.number(0, "id", 1, kMaxSegment));
  record.file = row.text(1, "file");
  if (row.ok() && !is_plain_file_name(record.file))
    row.reject("the file's name is not a plain file name");
  record.chunks = row.number(2, "chunks", 0, kMaxChunks);
  record.bytes = row.number(3, "bytes", 0, kMaxSize);
  record.checksum = row.bits(4, "checksum");
  if (!row.ok()) return row.problem();
  return record;
}

Result<AliasRecord> read_alias(const Statement& statement) {
  Row row(statement, "aliases");
  AliasRecord alias;
  alias.id = row.text(1, "id");
  alias.number = static_cast<uint32_t>(row.number(2, "number", 0, kMaxNumber));
  alias.source = row.text(3, "source");
  alias.char_begin = row.number(4, "char_begin", 0, kMaxSize);
  alias.char_end = row.number(5, "char_end", alias.char_begin, kMaxSize);
  if (!row.ok()) return row.problem();
  return alias;
}

Result<std::unique_ptr<Catalogue::Impl>> Catalogue::Impl::prepare(CatalogueDatabase opened,
                                                                  Access access) {
  auto impl = std::make_unique<Impl>();
  impl->database = std::move(opened.database);
  impl->version = opened.version;
  const sqlite::Database& db = impl->database;
  MSA_ASSIGN(impl->get_meta, db.prepare("SELECT rowid, value FROM meta WHERE key = ?1"));
  MSA_ASSIGN(
      impl->find_number,
      db.prepare(fmt::format("SELECT {}, text FROM documents WHERE number = ?1", kHeadColumns)));
  MSA_ASSIGN(impl->find_id,
             db.prepare(fmt::format("SELECT {} FROM documents WHERE id = ?1", kHeadColumns)));
  MSA_ASSIGN(impl->data_version, db.prepare("PRAGMA data_version"));
  if (impl->version >= 2) MSA_TRY(impl->prepare_aliases());
  if (access == Access::write) MSA_TRY(impl->prepare_changes());
  return impl;
}

Result<void> Catalogue::Impl::prepare_aliases() {
  MSA_ASSIGN(find_alias,
             database.prepare(fmt::format("SELECT {} FROM aliases WHERE id = ?1", kAliasColumns)));
  MSA_ASSIGN(aliases_of,
             database.prepare(fmt::format("SELECT {} FROM aliases WHERE number = ?1 ORDER BY alias",
                                          kAliasColumns)));
  return {};
}

Result<bool> Catalogue::Impl::has_version_2() {
  if (version >= 2) return true;
  MSA_ASSIGN(const int64_t now, database.integer("PRAGMA user_version"));
  if (now < 2) return false;
  MSA_TRY(prepare_aliases());
  version = now;
  return true;
}

Error Catalogue::Impl::missing_meta(std::string_view key) const {
  return Error{Code::corrupt, fmt::format("{}: table meta lacks '{}'; restore the bank from a "
                                          "copy, or encode into a new one",
                                          database.file().string(), key)};
}

Result<uint64_t> Catalogue::Impl::meta_number(std::string_view key, uint64_t least, uint64_t most) {
  const ResetOnExit reset(get_meta);
  get_meta.bind(1, key);
  MSA_ASSIGN(const bool found, get_meta.step());
  if (!found) return missing_meta(key);
  Row row(get_meta, "meta");
  const uint64_t value = row.number(1, key, least, most);
  if (!row.ok()) return row.problem();
  return value;
}

Result<void> Catalogue::Impl::set_meta_number(std::string_view key, int64_t from, int64_t to) {
  changes.set_meta.reset();
  changes.set_meta.bind(1, key);
  changes.set_meta.bind(2, to);
  MSA_TRY(changes.set_meta.run());
  digest_change +=
      digest_of(key, static_cast<uint64_t>(to)) - digest_of(key, static_cast<uint64_t>(from));
  return {};
}

Catalogue::Catalogue(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Catalogue::Catalogue(Catalogue&&) noexcept = default;
Catalogue& Catalogue::operator=(Catalogue&&) noexcept = default;
Catalogue::~Catalogue() = default;

Result<Catalogue> Catalogue::create(const fs::path& file, std::string_view manifest,
                                    int64_t version) {
  MSA_TRY(create_catalogue_database(file, manifest, version));
  return open(file, Access::write);
}

Result<Catalogue> Catalogue::open(const fs::path& file, Access access) {
  MSA_ASSIGN(CatalogueDatabase opened, open_catalogue_database(file, access));
  MSA_ASSIGN(auto impl, Impl::prepare(std::move(opened), access));
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
  MSA_ASSIGN(const uint64_t next, impl_->meta_number(kNextSegmentKey, 1, kMaxSegment + 1));
  return static_cast<int64_t>(next);
}

Result<int64_t> Catalogue::data_version() const {
  const ResetOnExit reset(impl_->data_version);
  MSA_ASSIGN([[maybe_unused]] const bool row, impl_->data_version.step());
  Row version(impl_->data_version, "data_version");
  return static_cast<int64_t>(version.bits(0, "data_version"));
}

Result<std::vector<SegmentRecord>> Catalogue::segments(const BadRow& bad_row) const {
  MSA_ASSIGN(Statement statement, impl_->database.prepare(fmt::format(
                                      "SELECT {} FROM segments ORDER BY id", kSegmentColumns)));
  std::vector<SegmentRecord> segments;
  for (;;) {
    MSA_ASSIGN(const bool more, statement.step());
    if (!more) return segments;
    Result<SegmentRecord> record = read_segment(statement);
    if (record)
      segments.push_back(std::move(*record));
    else
      MSA_TRY(report(bad_row, record.error()));
  }
}

Result<CatalogueTotals> Catalogue::totals() const {
  MSA_ASSIGN(const bool aliases, impl_->has_version_2());
  MSA_ASSIGN(Statement statement,
             impl_->database.prepare(
                 fmt::format("SELECT count(*), ifnull(sum(chunks), 0), ifnull(sum(tokens), 0), "
                             "ifnull(sum(text_bytes), 0), (SELECT count(*) FROM segments), "
                             "(SELECT ifnull(sum(chunks), 0) FROM segments), {} FROM documents",
                             aliases ? "(SELECT count(*) FROM aliases)" : "0")));
  MSA_ASSIGN([[maybe_unused]] const bool more, statement.step());
  Row row(statement, "documents (totals)");
  CatalogueTotals totals;
  totals.documents = row.number(0, "the number of documents", 0, kMaxSize);
  totals.chunks = row.number(1, "the sum of chunks", 0, kMaxSize);
  totals.tokens = row.number(2, "the sum of tokens", 0, kMaxSize);
  totals.text_bytes = row.number(3, "the sum of text_bytes", 0, kMaxSize);
  totals.segments = row.number(4, "the number of segments", 0, kMaxSize);
  totals.segment_chunks = row.number(5, "the sum of segments' chunks", 0, kMaxSize);
  totals.aliases = row.number(6, "the number of aliases", 0, kMaxSize);
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
  {
    const ResetOnExit reset(impl_->find_id);
    impl_->find_id.bind(1, id);
    MSA_ASSIGN(const bool found, impl_->find_id.step());
    if (found) {
      MSA_ASSIGN(DocumentRecord record, read_document(impl_->find_id, false));
      return std::optional(std::move(record));
    }
  }
  MSA_ASSIGN(const bool aliases, impl_->has_version_2());
  if (!aliases) return std::optional<DocumentRecord>();
  AliasRecord alias;
  {
    const ResetOnExit reset(impl_->find_alias);
    impl_->find_alias.bind(1, id);
    MSA_ASSIGN(const bool found, impl_->find_alias.step());
    if (!found) return std::optional<DocumentRecord>();
    MSA_ASSIGN(alias, read_alias(impl_->find_alias));
  }
  MSA_ASSIGN(auto record, find(alias.number));
  if (record) record->text.clear();
  return record;
}

Result<std::vector<AliasRecord>> Catalogue::aliases(uint32_t number) const {
  std::vector<AliasRecord> aliases;
  MSA_ASSIGN(const bool any, impl_->has_version_2());
  if (!any) return aliases;
  const ResetOnExit reset(impl_->aliases_of);
  impl_->aliases_of.bind(1, number);
  for (;;) {
    MSA_ASSIGN(const bool more, impl_->aliases_of.step());
    if (!more) return aliases;
    MSA_ASSIGN(AliasRecord alias, read_alias(impl_->aliases_of));
    aliases.push_back(std::move(alias));
  }
}

Result<std::vector<std::string>> Catalogue::check(const std::stop_token& stop) const {
  const sqlite::StopScope scope(impl_->database, stop);
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
    if (!more) break;
    Row row(references, "foreign_key_check");
    const std::string table = row.text(0, "table");
    const uint64_t id = row.bits(1, "rowid");
    problems.push_back(fmt::format("{}: table {}, row {}: names a {} that is not recorded", file,
                                   table, static_cast<int64_t>(id),
                                   table == "aliases" ? "document" : "segment"));
  }
  MSA_ASSIGN(const bool aliases, impl_->has_version_2());
  if (aliases) MSA_TRY(check_aliases(impl_->database, problems));
  MSA_ASSIGN(const int64_t version, impl_->database.integer("PRAGMA user_version"));
  // What was changed shows once: only where nothing else does, the digest is all there is to say.
  if (version < 3 || !problems.empty()) return problems;
  MSA_ASSIGN(const RowsDigest rows, digest_of_rows(impl_->database));
  MSA_ASSIGN(const int64_t written, impl_->database.integer(fmt::format(
                                        "SELECT value FROM meta WHERE key = '{}'", kDigestKey)));
  if (!rows.complete) return problems;
  if (rows.sum != static_cast<uint64_t>(written)) {
    problems.push_back(fmt::format(
        "{}: the rows have the digest {}, written was {}: something else than msa changed an id, "
        "a source, a range, a place or a count, or removed a row; restore the bank from a copy, "
        "or accept what is there with `msa memory repair`",
        file, to_hex(rows.sum), to_hex(static_cast<uint64_t>(written))));
    return problems;
  }
  // The digest of an older version's tables is of what they say, right or wrong. The ids are read
  // first: a commit meanwhile only raises what comes next.
  MSA_ASSIGN(const int64_t last,
             impl_->database.integer("SELECT ifnull(max(id), 0) FROM segments"));
  MSA_ASSIGN(const int64_t next, next_segment());
  if (next <= last)
    problems.push_back(low_next_segment(impl_->database.file(), next, last).message);
  return problems;
}

Result<std::unique_ptr<Catalogue::ReadScope>> Catalogue::begin_read() const {
  MSA_ASSIGN(Transaction transaction, Transaction::begin(impl_->database, Transaction::Kind::read));
  return std::make_unique<Closer>(std::move(transaction));
}

}  // namespace msa
