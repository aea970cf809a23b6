// What a writer does to a catalogue.
#include <fmt/format.h>

#include <optional>
#include <utility>

#include "base/checked.h"
#include "memory/bank_files.h"
#include "memory/catalogue_digest.h"
#include "memory/catalogue_impl.h"
#include "memory/given_numbers.h"

namespace msa {
namespace {

using sqlite::ResetOnExit;
using sqlite::Row;
using sqlite::Statement;
using sqlite::Transaction;

}  // namespace

std::string insert_document_sql() {
  return fmt::format(
      "INSERT INTO documents({}, text) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, "
      "?13)",
      kHeadColumns);
}

Result<void> insert_row(Statement& s, const DocumentRecord& d, int64_t segment) {
  s.reset();
  s.bind(1, d.number);
  s.bind(2, d.id);
  s.bind(3, d.title);
  s.bind(4, d.source);
  s.bind(5, static_cast<int64_t>(d.char_begin));
  s.bind(6, static_cast<int64_t>(d.char_end));
  s.bind(7, static_cast<int64_t>(d.hash));
  s.bind(8, static_cast<int64_t>(d.tokens));
  s.bind(9, segment);
  s.bind(10, d.first_chunk);
  s.bind(11, d.chunks);
  s.bind(12, static_cast<int64_t>(d.text.size()));
  s.bind(13, d.text);
  return s.run();
}

Result<void> insert_row(Statement& s, const AliasRecord& alias) {
  s.reset();
  s.bind(1, alias.id);
  s.bind(2, alias.number);
  s.bind(3, alias.source);
  s.bind(4, static_cast<int64_t>(alias.char_begin));
  s.bind(5, static_cast<int64_t>(alias.char_end));
  return s.run();
}

Result<void> insert_row(Statement& s, const SegmentRecord& segment) {
  s.reset();
  s.bind(1, segment.id);
  s.bind(2, segment.file);
  s.bind(3, static_cast<int64_t>(segment.chunks));
  s.bind(4, static_cast<int64_t>(segment.bytes));
  s.bind(5, static_cast<int64_t>(segment.checksum));
  return s.run();
}

Result<void> Catalogue::Impl::prepare_changes() {
  const auto prepare = [&](Statement& statement, std::string_view sql) -> Result<void> {
    MSA_ASSIGN(statement, database.prepare(sql));
    return {};
  };
  Changes& c = changes;
  MSA_TRY(prepare(c.set_meta, "UPDATE meta SET value = ?2 WHERE key = ?1"));
  MSA_TRY(prepare(c.insert_segment, kInsertSegmentSql));
  MSA_TRY(prepare(c.retire_segment,
                  "INSERT INTO retired(id, file) SELECT id, file FROM segments WHERE id = ?1"));
  MSA_TRY(prepare(c.delete_segment,
                  fmt::format("DELETE FROM segments WHERE id = ?1 RETURNING {}", kSegmentColumns)));
  MSA_TRY(prepare(c.find_head,
                  fmt::format("SELECT {} FROM documents WHERE number = ?1", kHeadColumns)));
  MSA_TRY(prepare(c.insert_document, insert_document_sql()));
  // A document whose size is not as it was when its rows were copied must not move.
  MSA_TRY(prepare(c.move_document,
                  "UPDATE documents SET segment = ?2, first_chunk = ?3 "
                  "WHERE number = ?1 AND chunks = ?4 RETURNING number"));
  MSA_TRY(prepare(c.rename_document,
                  "UPDATE documents SET id = ?2, source = ?3, char_begin = ?4, char_end = ?5 "
                  "WHERE number = ?1"));
  MSA_TRY(prepare(c.delete_document, "DELETE FROM documents WHERE number = ?1"));
  MSA_TRY(prepare(c.insert_alias, kInsertAliasSql));
  MSA_TRY(prepare(c.delete_alias, "DELETE FROM aliases WHERE id = ?1"));
  return prepare(c.find_text,
                 "SELECT number FROM documents WHERE hash = ?1 AND title = ?2 AND text = ?3 "
                 "ORDER BY number");
}

Result<void> Catalogue::Impl::save_digest() {
  if (digest_change == 0) return {};
  uint64_t sum = 0;
  {
    const ResetOnExit reset(get_meta);
    get_meta.bind(1, kDigestKey);
    MSA_ASSIGN(const bool found, get_meta.step());
    if (!found) return missing_meta(kDigestKey);
    Row row(get_meta, "meta");
    sum = row.bits(1, kDigestKey);
    if (!row.ok()) return row.problem();
  }
  changes.set_meta.reset();
  changes.set_meta.bind(1, kDigestKey);
  changes.set_meta.bind(2, static_cast<int64_t>(sum + digest_change));
  return changes.set_meta.run();
}

Result<DocumentRecord> Catalogue::Impl::head(uint32_t number) {
  const ResetOnExit reset(changes.find_head);
  changes.find_head.bind(1, number);
  MSA_ASSIGN(const bool found, changes.find_head.step());
  if (!found)
    return Error{Code::not_found, fmt::format("{}: there is no document {}; list the documents to "
                                              "see the numbers",
                                              database.file().string(), number)};
  return read_document(changes.find_head, false);
}

Result<void> Catalogue::Impl::insert(const SegmentRecord& segment) {
  digest_change += digest_of(segment);
  return insert_row(changes.insert_segment, segment);
}

Result<void> Catalogue::Impl::retire(int64_t segment) {
  changes.retire_segment.reset();
  changes.retire_segment.bind(1, segment);
  MSA_TRY(changes.retire_segment.run());
  const ResetOnExit reset(changes.delete_segment);
  changes.delete_segment.bind(1, segment);
  MSA_ASSIGN(const bool found, changes.delete_segment.step());
  if (!found) return {};
  MSA_ASSIGN(const SegmentRecord record, read_segment(changes.delete_segment));
  digest_change -= digest_of(record);
  return {};
}

Result<void> Catalogue::Impl::apply(const DocumentRecord& d, int64_t segment) {
  {
    const ResetOnExit reset(find_alias);
    find_alias.bind(1, d.id);
    MSA_ASSIGN(const bool taken, find_alias.step());
    if (taken)
      return Error{Code::invalid_argument,
                   fmt::format("{}: '{}' names another document; give it another id",
                               database.file().string(), d.id)};
  }
  digest_change += digest_of(d, segment, d.first_chunk);
  return insert_row(changes.insert_document, d, segment);
}

Result<void> Catalogue::Impl::apply(const AliasRecord& alias) {
  {
    const ResetOnExit reset(find_id);
    find_id.bind(1, alias.id);
    MSA_ASSIGN(const bool taken, find_id.step());
    if (taken)
      return Error{Code::invalid_argument,
                   fmt::format("{}: '{}' names another document; give it another id",
                               database.file().string(), alias.id)};
  }
  digest_change += digest_of(alias);
  return insert_row(changes.insert_alias, alias);
}

Result<void> Catalogue::Impl::apply(const NameRemoval& removal) {
  std::optional<DocumentRecord> owner;  // the document whose own id it is
  {
    const ResetOnExit reset(find_id);
    find_id.bind(1, removal.id);
    MSA_ASSIGN(const bool found, find_id.step());
    if (found) {
      MSA_ASSIGN(owner, read_document(find_id, false));
    }
  }
  const auto drop_alias = [&](const AliasRecord& alias) -> Result<void> {
    changes.delete_alias.reset();
    changes.delete_alias.bind(1, alias.id);
    digest_change -= digest_of(alias);
    return changes.delete_alias.run();
  };
  if (!owner) {
    const ResetOnExit reset(find_alias);
    find_alias.bind(1, removal.id);
    MSA_ASSIGN(const bool found, find_alias.step());
    if (!found)
      return Error{Code::not_found,
                   fmt::format("{}: there is no document with id '{}'; list the documents to see "
                               "the ids",
                               database.file().string(), removal.id)};
    MSA_ASSIGN(const AliasRecord alias, read_alias(find_alias));
    find_alias.reset();
    return drop_alias(alias);
  }
  std::optional<AliasRecord> heir;
  {
    const ResetOnExit reset(aliases_of);
    aliases_of.bind(1, owner->number);
    MSA_ASSIGN(const bool found, aliases_of.step());
    if (found) {
      MSA_ASSIGN(heir, read_alias(aliases_of));
    }
  }
  digest_change -= digest_of(*owner, owner->segment, owner->first_chunk);
  if (!heir) {
    changes.delete_document.reset();
    changes.delete_document.bind(1, owner->number);
    return changes.delete_document.run();
  }
  MSA_TRY(drop_alias(*heir));
  DocumentRecord renamed = *owner;
  renamed.id = heir->id;
  renamed.source = heir->source;
  renamed.char_begin = heir->char_begin;
  renamed.char_end = heir->char_end;
  digest_change += digest_of(renamed, renamed.segment, renamed.first_chunk);
  Statement& s = changes.rename_document;
  s.reset();
  s.bind(1, owner->number);
  s.bind(2, heir->id);
  s.bind(3, heir->source);
  s.bind(4, static_cast<int64_t>(heir->char_begin));
  s.bind(5, static_cast<int64_t>(heir->char_end));
  return s.run();
}

Result<void> Catalogue::commit(const std::optional<SegmentRecord>& segment,
                               const std::vector<CatalogueStep>& steps, uint32_t next_number) {
  const auto refuse = [&](std::string_view why) {
    return Error{Code::invalid_argument,
                 fmt::format("{}: {} cannot be recorded: {}; report this as a bug",
                             impl_->database.file().string(),
                             segment ? fmt::format("segment {}", segment->id) : "a change", why)};
  };
  const uint64_t rows = segment ? segment->chunks : 0;
  if (segment) {
    if (segment->id < 1 || segment->id > kMaxSegment) return refuse("its id is out of range");
    if (!is_plain_file_name(segment->file)) return refuse("its file's name is not a plain one");
    if (rows > kMaxChunks || segment->bytes > kMaxSize) return refuse("it is too large");
  }
  uint64_t first_free = 0;
  std::vector<uint32_t> numbers;
  for (const CatalogueStep& step : steps) {
    if (const auto* alias = std::get_if<AliasRecord>(&step);
        alias != nullptr && (alias->char_end < alias->char_begin || alias->char_end > kMaxSize))
      return refuse("an alias's extent is out of range");
    const auto* d = std::get_if<DocumentRecord>(&step);
    if (d == nullptr) continue;
    if (d->number >= next_number) return refuse("a document's number is not below the next one");
    if (d->chunks == 0 || d->first_chunk < first_free ||
        !in_bounds<uint64_t>(d->first_chunk, d->chunks, rows))
      return refuse("a document's rows overlap another's or lie outside");
    if (d->char_end < d->char_begin || d->char_end > kMaxSize || d->tokens > kMaxSize)
      return refuse("a document's extent is out of range");
    if (!numbers.empty() && d->number <= numbers.back())
      return refuse("documents are not in the order of their numbers");
    numbers.push_back(d->number);
    first_free = uint64_t{d->first_chunk} + d->chunks;
  }

  MSA_ASSIGN(Transaction transaction,
             Transaction::begin(impl_->database, Transaction::Kind::write));
  MSA_ASSIGN(const uint32_t old_next, this->next_number());
  MSA_ASSIGN(const int64_t old_segment, next_segment());
  if (next_number < old_next || (segment && segment->id < old_segment))
    return refuse("its numbers have been given out before");
  impl_->digest_change = 0;
  if (segment) MSA_TRY(impl_->insert(*segment));
  for (const CatalogueStep& step : steps) {
    if (const auto* d = std::get_if<DocumentRecord>(&step)) {
      if (d->number < old_next) return refuse("a document's number has been given out before");
      MSA_TRY(impl_->apply(*d, segment->id));
    } else if (const auto* alias = std::get_if<AliasRecord>(&step)) {
      MSA_TRY(impl_->apply(*alias));
    } else {
      MSA_TRY(impl_->apply(std::get<NameRemoval>(step)));
    }
  }
  // Where numbers are passed over, they stay free.
  if (numbers.size() != next_number - old_next) {
    MSA_ASSIGN(GivenNumbers given, read_given_numbers(impl_->database));
    for (const uint32_t number : numbers) given.add(number);
    if (!given.complete()) {
      MSA_ASSIGN(const uint64_t change, write_given_numbers(impl_->database, given));
      impl_->digest_change += change;
    }
  }
  if (next_number != old_next)
    MSA_TRY(impl_->set_meta_number(kNextNumberKey, old_next, next_number));
  if (segment) MSA_TRY(impl_->set_meta_number(kNextSegmentKey, old_segment, segment->id + 1));
  MSA_TRY(impl_->save_digest());
  return transaction.commit();
}

Result<void> Catalogue::commit_segment(const SegmentRecord& segment,
                                       const std::vector<DocumentRecord>& documents,
                                       uint32_t next_number) {
  return commit(segment, {documents.begin(), documents.end()}, next_number);
}

Result<void> Catalogue::replace_segments(const std::vector<int64_t>& old,
                                         const std::optional<SegmentRecord>& segment,
                                         const std::vector<DocumentSpan>& moved) {
  const std::string file = impl_->database.file().string();
  const auto refuse = [&](std::string_view why) {
    return Error{
        Code::invalid_argument,
        fmt::format("{}: segments cannot be replaced: {}; report this as a bug", file, why)};
  };
  if (segment &&
      (segment->id < 1 || segment->id > kMaxSegment || !is_plain_file_name(segment->file) ||
       segment->chunks > kMaxChunks || segment->bytes > kMaxSize))
    return refuse("the new one's record is out of range");
  if (!segment && !moved.empty()) return refuse("their documents have no new place");
  uint64_t first_free = 0, next_number = 0;
  for (const DocumentSpan& span : moved) {
    if (span.number < next_number || span.chunks == 0 || span.first_chunk < first_free ||
        !in_bounds<uint64_t>(span.first_chunk, span.chunks, segment->chunks))
      return refuse("documents overlap, lie outside or are not in order");
    next_number = uint64_t{span.number} + 1;
    first_free = uint64_t{span.first_chunk} + span.chunks;
  }

  MSA_ASSIGN(Transaction transaction,
             Transaction::begin(impl_->database, Transaction::Kind::write));
  MSA_ASSIGN(const int64_t old_segment, next_segment());
  impl_->digest_change = 0;
  if (segment) {
    if (segment->id < old_segment) return refuse("the new one's id has been given out before");
    MSA_TRY(impl_->insert(*segment));
    MSA_TRY(impl_->set_meta_number(kNextSegmentKey, old_segment, segment->id + 1));
  }
  Statement& move = impl_->changes.move_document;
  for (const DocumentSpan& span : moved) {
    MSA_ASSIGN(const DocumentRecord old_place, impl_->head(span.number));
    impl_->digest_change += digest_of(old_place, segment->id, span.first_chunk) -
                            digest_of(old_place, old_place.segment, old_place.first_chunk);
    const ResetOnExit reset(move);
    move.bind(1, span.number);
    move.bind(2, segment->id);
    move.bind(3, span.first_chunk);
    move.bind(4, span.chunks);
    MSA_ASSIGN(const bool found, move.step());
    if (!found) return refuse(fmt::format("there is no document {} of this size", span.number));
  }
  // A document that was forgotten refers to a segment that goes: SQLite refuses that.
  for (const int64_t id : old) MSA_TRY(impl_->retire(id));
  MSA_TRY(impl_->save_digest());
  return transaction.commit();
}

Result<std::vector<SegmentRecord>> Catalogue::retired() const {
  std::vector<SegmentRecord> records;
  MSA_ASSIGN(const bool any, impl_->has_version_2());
  if (!any) return records;
  MSA_ASSIGN(Statement statement,
             impl_->database.prepare("SELECT id, file FROM retired ORDER BY id"));
  for (;;) {
    MSA_ASSIGN(const bool more, statement.step());
    if (!more) return records;
    Row row(statement, "retired");
    SegmentRecord record;
    record.id = static_cast<int64_t>(row.number(0, "id", 1, kMaxSegment));
    record.file = row.text(1, "file");
    if (row.ok() && !is_plain_file_name(record.file))
      row.reject("the file's name is not a plain file name");
    if (!row.ok()) return row.problem();
    records.push_back(std::move(record));
  }
}

Result<void> Catalogue::forget_retired() {
  return impl_->database.execute("DELETE FROM retired");
}

Result<std::vector<uint32_t>> Catalogue::find_text(std::string_view title,
                                                   std::string_view text) const {
  Statement& s = impl_->changes.find_text;
  const ResetOnExit reset(s);
  s.bind(1, static_cast<int64_t>(document_hash(title, text)));
  s.bind(2, title);
  s.bind(3, text);
  std::vector<uint32_t> numbers;
  for (;;) {
    MSA_ASSIGN(const bool more, s.step());
    if (!more) return numbers;
    Row row(s, "documents");
    numbers.push_back(static_cast<uint32_t>(row.number(0, "number", 0, kMaxNumber)));
    if (!row.ok()) return row.problem();
  }
}

}  // namespace msa
