#include "memory/catalogue_attach.h"

#include <fmt/format.h>

#include <utility>

#include "memory/catalogue_digest.h"
#include "memory/catalogue_impl.h"
#include "memory/catalogue_schema.h"

namespace msa {

using sqlite::Database;
using sqlite::ResetOnExit;
using sqlite::Row;
using sqlite::Statement;
using sqlite::Transaction;

// Members are destroyed in reverse order: the transaction and the statements before the connection.
struct CatalogueAttachment::State {
  Database database;
  Statement find_id, find_alias, find_number, find_text, oldest_alias;
  Statement insert_document, insert_alias, insert_segment;
  Statement delete_document, delete_alias, rename_document, set_meta;
  std::optional<Transaction> transaction;
  GivenNumbers given;
  uint32_t old_next_number = 0;
  int64_t old_next_segment = 0;
  uint64_t digest_change = 0;

  explicit State(Database opened) : database(std::move(opened)) {}

  Result<void> prepare() {
    const auto make = [&](Statement& statement, const std::string& sql) -> Result<void> {
      MSA_ASSIGN(statement, database.prepare(sql));
      return {};
    };
    MSA_TRY(make(find_id, fmt::format("SELECT {} FROM documents WHERE id = ?1", kHeadColumns)));
    MSA_TRY(
        make(find_number, fmt::format("SELECT {} FROM documents WHERE number = ?1", kHeadColumns)));
    MSA_TRY(make(find_alias, fmt::format("SELECT {} FROM aliases WHERE id = ?1", kAliasColumns)));
    MSA_TRY(make(oldest_alias,
                 fmt::format("SELECT {} FROM aliases WHERE number = ?1 ORDER BY alias LIMIT 1",
                             kAliasColumns)));
    MSA_TRY(make(find_text,
                 "SELECT number FROM documents WHERE hash = ?1 AND title = ?2 AND text = ?3 "
                 "ORDER BY number LIMIT 1"));
    MSA_TRY(make(insert_document, insert_document_sql()));
    MSA_TRY(make(insert_alias, std::string(kInsertAliasSql)));
    MSA_TRY(make(insert_segment, std::string(kInsertSegmentSql)));
    MSA_TRY(make(delete_document, "DELETE FROM documents WHERE number = ?1"));
    MSA_TRY(make(delete_alias, "DELETE FROM aliases WHERE id = ?1"));
    MSA_TRY(make(rename_document,
                 "UPDATE documents SET id = ?2, source = ?3, char_begin = ?4, char_end = ?5 "
                 "WHERE number = ?1"));
    return make(set_meta, "UPDATE meta SET value = ?2 WHERE key = ?1");
  }

  Result<int64_t> meta(std::string_view key) const {
    return database.integer(fmt::format("SELECT value FROM meta WHERE key = '{}'", key));
  }

  // One row of a query by one value; nothing if there is none.
  template <class Value, class Read>
  auto find(Statement& statement, Value value, Read read)
      -> Result<std::optional<typename decltype(read(statement))::value_type>> {
    using Found = std::optional<typename decltype(read(statement))::value_type>;
    const ResetOnExit reset(statement);
    statement.bind(1, value);
    MSA_ASSIGN(const bool found, statement.step());
    if (!found) return Found();
    MSA_ASSIGN(auto record, read(statement));
    return Found(std::move(record));
  }
  static Result<DocumentRecord> head_of(const Statement& s) { return read_document(s, false); }

  Result<void> drop(const AliasRecord& alias) {
    delete_alias.reset();
    delete_alias.bind(1, alias.id);
    digest_change -= digest_of(alias);
    return delete_alias.run();
  }

  Result<void> set(std::string_view key, int64_t value) {
    set_meta.reset();
    set_meta.bind(1, key);
    set_meta.bind(2, value);
    return set_meta.run();
  }
  Result<void> advance(std::string_view key, int64_t from, int64_t to) {
    if (from == to) return {};
    digest_change +=
        digest_of(key, static_cast<uint64_t>(to)) - digest_of(key, static_cast<uint64_t>(from));
    return set(key, to);
  }
};

CatalogueAttachment::CatalogueAttachment(std::unique_ptr<State> state) : state_(std::move(state)) {}
CatalogueAttachment::CatalogueAttachment(CatalogueAttachment&&) noexcept = default;
CatalogueAttachment& CatalogueAttachment::operator=(CatalogueAttachment&&) noexcept = default;
CatalogueAttachment::~CatalogueAttachment() = default;

Result<CatalogueAttachment> CatalogueAttachment::begin(const std::filesystem::path& file) {
  MSA_ASSIGN(CatalogueDatabase opened, open_catalogue_database(file, Catalogue::Access::write));
  auto state = std::make_unique<State>(std::move(opened.database));
  MSA_TRY(state->prepare());
  MSA_ASSIGN(Transaction transaction,
             Transaction::begin(state->database, Transaction::Kind::write));
  state->transaction.emplace(std::move(transaction));
  // A document is written before the record of its segment, whose checksum is known only when all
  // of them are.
  MSA_TRY(state->database.execute("PRAGMA defer_foreign_keys = ON"));
  MSA_ASSIGN(state->given, read_given_numbers(state->database));
  state->old_next_number = state->given.next();
  MSA_ASSIGN(state->old_next_segment, state->meta(kNextSegmentKey));
  return CatalogueAttachment(std::move(state));
}

Result<int64_t> CatalogueAttachment::next_segment() const {
  return state_->old_next_segment;
}

const GivenNumbers& CatalogueAttachment::given() const {
  return state_->given;
}

Result<std::optional<CatalogueAttachment::Named>> CatalogueAttachment::find_id(
    std::string_view id) {
  State& s = *state_;
  MSA_ASSIGN(auto document, s.find(s.find_id, id, State::head_of));
  if (document) return std::optional(Named{document->number, document->hash, document->char_begin});
  MSA_ASSIGN(const auto alias, s.find(s.find_alias, id, read_alias));
  if (!alias) return std::optional<Named>();
  MSA_ASSIGN(document, s.find(s.find_number, int64_t{alias->number}, State::head_of));
  if (!document)
    return Error{Code::corrupt, fmt::format("{}: '{}' names a document that is not there; mend the "
                                            "bank with `msa memory repair`",
                                            s.database.file().string(), id)};
  return std::optional(Named{document->number, document->hash, alias->char_begin});
}

Result<std::optional<uint32_t>> CatalogueAttachment::find_text(uint64_t hash,
                                                               std::string_view title,
                                                               std::string_view text) {
  Statement& statement = state_->find_text;
  const ResetOnExit reset(statement);
  statement.bind(1, static_cast<int64_t>(hash));
  statement.bind(2, title);
  statement.bind(3, text);
  MSA_ASSIGN(const bool found, statement.step());
  if (!found) return std::optional<uint32_t>();
  Row row(statement, "documents");
  const auto number = static_cast<uint32_t>(row.number(0, "number", 0, kMaxNumber));
  if (!row.ok()) return row.problem();
  return std::optional(number);
}

Result<void> CatalogueAttachment::insert(const DocumentRecord& d) {
  state_->digest_change += digest_of(d, d.segment, d.first_chunk);
  return insert_row(state_->insert_document, d, d.segment);
}

Result<void> CatalogueAttachment::insert(const AliasRecord& alias) {
  state_->digest_change += digest_of(alias);
  return insert_row(state_->insert_alias, alias);
}

Result<void> CatalogueAttachment::insert(const SegmentRecord& segment) {
  if (segment.id < 1 || segment.id > kMaxSegment)
    return Error{Code::invalid_argument,
                 fmt::format("{}: segment {} cannot be recorded: ids go from 1 to {}; attach to a "
                             "new bank",
                             state_->database.file().string(), segment.id, kMaxSegment)};
  state_->digest_change += digest_of(segment);
  return insert_row(state_->insert_segment, segment);
}

Result<void> CatalogueAttachment::remove(std::string_view id) {
  State& s = *state_;
  MSA_ASSIGN(const auto owner, s.find(s.find_id, id, State::head_of));
  if (!owner) {
    MSA_ASSIGN(const auto alias, s.find(s.find_alias, id, read_alias));
    if (alias) return s.drop(*alias);
    return Error{Code::not_found, fmt::format("{}: there is no document with id '{}'; report this "
                                              "as a bug",
                                              s.database.file().string(), id)};
  }
  MSA_ASSIGN(const auto heir, s.find(s.oldest_alias, int64_t{owner->number}, read_alias));
  s.digest_change -= digest_of(*owner, owner->segment, owner->first_chunk);
  if (!heir) {
    s.delete_document.reset();
    s.delete_document.bind(1, owner->number);
    return s.delete_document.run();
  }
  MSA_TRY(s.drop(*heir));
  DocumentRecord renamed = *owner;
  renamed.id = heir->id;
  renamed.source = heir->source;
  renamed.char_begin = heir->char_begin;
  renamed.char_end = heir->char_end;
  s.digest_change += digest_of(renamed, renamed.segment, renamed.first_chunk);
  Statement& rename = s.rename_document;
  rename.reset();
  rename.bind(1, renamed.number);
  rename.bind(2, renamed.id);
  rename.bind(3, renamed.source);
  rename.bind(4, static_cast<int64_t>(renamed.char_begin));
  rename.bind(5, static_cast<int64_t>(renamed.char_end));
  return rename.run();
}

Result<void> CatalogueAttachment::commit(const GivenNumbers& given, int64_t next_segment) {
  State& s = *state_;
  MSA_ASSIGN(const uint64_t change, write_given_numbers(s.database, given));
  s.digest_change += change;
  MSA_TRY(s.advance(kNextNumberKey, s.old_next_number, given.next()));
  MSA_TRY(s.advance(kNextSegmentKey, s.old_next_segment, next_segment));
  if (s.digest_change != 0) {
    MSA_ASSIGN(const int64_t digest, s.meta(kDigestKey));
    MSA_TRY(
        s.set(kDigestKey, static_cast<int64_t>(static_cast<uint64_t>(digest) + s.digest_change)));
  }
  return s.transaction->commit();
}

}  // namespace msa
