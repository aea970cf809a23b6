#include "memory/catalogue_repair.h"

#include <fmt/format.h>

#include <limits>
#include <tuple>

#include "memory/bank_files.h"
#include "memory/catalogue_digest.h"
#include "memory/catalogue_impl.h"
#include "memory/catalogue_schema.h"
#include "memory/given_numbers.h"

namespace msa {
namespace {

using sqlite::Database;
using sqlite::ResetOnExit;
using sqlite::Row;
using sqlite::Statement;
using sqlite::Transaction;

constexpr std::string_view kStrayAliases =
    "aliases WHERE number NOT IN (SELECT number FROM documents) "
    "OR id IN (SELECT id FROM documents)";

Result<bool> has_aliases(const Database& database) {
  MSA_ASSIGN(const int64_t tables, database.integer("SELECT count(*) FROM sqlite_schema WHERE "
                                                    "type = 'table' AND name = 'aliases'"));
  return tables > 0;
}

int64_t whole(Row& row, int column, std::string_view name) {
  return static_cast<int64_t>(row.bits(column, name));
}

// Runs a statement that has integers only.
Result<void> run(Statement& statement, std::initializer_list<int64_t> values) {
  statement.reset();
  int parameter = 0;
  for (const int64_t value : values) statement.bind(++parameter, value);
  return statement.run();
}

// What meta has under `key`, if that is an integer.
Result<std::optional<int64_t>> meta_integer(const Database& database, std::string_view key) {
  MSA_ASSIGN(Statement get, database.prepare("SELECT rowid, value FROM meta WHERE key = ?1 AND "
                                             "typeof(value) = 'integer'"));
  get.bind(1, key);
  MSA_ASSIGN(const bool found, get.step());
  if (!found) return std::optional<int64_t>();
  Row row(get, "meta");
  return std::optional<int64_t>(whole(row, 1, key));
}

// What the rows that CatalogueRepair::replace() changes count in the digest, as they are now. Those
// that cannot be read count nothing, as in digest_of_rows().
Result<uint64_t> digest_of_replaced(const Database& database,
                                    const std::optional<SegmentRecord>& segment,
                                    const std::vector<CatalogueRepair::Encoded>& encoded,
                                    const std::vector<int64_t>& dropped,
                                    const std::vector<int64_t>& old) {
  uint64_t sum = 0;
  // Calls `add` for each row that a statement with one parameter finds.
  const auto each = [](Statement& statement, int64_t value, const auto& add) -> Result<void> {
    const ResetOnExit reset(statement);
    statement.bind(1, value);
    for (;;) {
      MSA_ASSIGN(const bool more, statement.step());
      if (!more) return {};
      add();
    }
  };
  MSA_ASSIGN(Statement documents, database.prepare(fmt::format(
                                      "SELECT {} FROM documents WHERE number = ?1", kHeadColumns)));
  const auto add_document = [&] {
    const Result<DocumentRecord> d = read_document(documents, false);
    if (d) sum += digest_of(*d, d->segment, d->first_chunk);
  };
  for (const CatalogueRepair::Encoded& d : encoded)
    MSA_TRY(each(documents, d.number, add_document));
  for (const int64_t number : dropped) MSA_TRY(each(documents, number, add_document));

  MSA_ASSIGN(Statement aliases, database.prepare(fmt::format(
                                    "SELECT {} FROM aliases WHERE number = ?1", kAliasColumns)));
  for (const int64_t number : dropped)
    MSA_TRY(each(aliases, number, [&] {
      if (const Result<AliasRecord> alias = read_alias(aliases)) sum += digest_of(*alias);
    }));

  MSA_ASSIGN(Statement segments, database.prepare(fmt::format(
                                     "SELECT {} FROM segments WHERE id = ?1", kSegmentColumns)));
  const auto add_segment = [&] {
    if (const Result<SegmentRecord> record = read_segment(segments)) sum += digest_of(*record);
  };
  for (const int64_t id : old) MSA_TRY(each(segments, id, add_segment));
  if (segment) {
    MSA_TRY(each(segments, segment->id, add_segment));
    MSA_ASSIGN(const std::optional<int64_t> next, meta_integer(database, kNextSegmentKey));
    if (next) sum += digest_of(kNextSegmentKey, static_cast<uint64_t>(*next));
  }
  return sum;
}

// Adds to the digest that is stored; if that cannot be read, computes it anew.
Result<void> change_digest(const Database& database, uint64_t change) {
  MSA_ASSIGN(const std::optional<int64_t> stored, meta_integer(database, kDigestKey));
  if (!stored) return renew_digest(database);
  MSA_ASSIGN(Statement set, database.prepare("UPDATE meta SET value = ?2 WHERE key = ?1"));
  set.bind(1, kDigestKey);
  set.bind(2, static_cast<int64_t>(static_cast<uint64_t>(*stored) + change));
  return set.run();
}

}  // namespace

Result<CatalogueRepair> CatalogueRepair::open(const std::filesystem::path& file,
                                              Catalogue::Access access) {
  MSA_ASSIGN(CatalogueDatabase opened, open_catalogue_database(file, access));
  return CatalogueRepair(std::move(opened.database));
}

Result<std::vector<std::string>> CatalogueRepair::structure_problems() const {
  std::vector<std::string> problems;
  MSA_ASSIGN(Statement statement, database_.prepare("PRAGMA integrity_check(100)"));
  for (;;) {
    MSA_ASSIGN(const bool more, statement.step());
    if (!more) return problems;
    Row row(statement, "integrity_check");
    if (std::string line = row.text(0, "the result"); line != "ok")
      problems.push_back(std::move(line));
  }
}

Result<void> CatalogueRepair::rebuild_indexes() const {
  return database_.execute("REINDEX");
}

Result<std::vector<std::pair<int64_t, std::string>>> CatalogueRepair::segments() const {
  std::vector<std::pair<int64_t, std::string>> all;
  MSA_ASSIGN(Statement statement, database_.prepare("SELECT id, file FROM segments ORDER BY id"));
  for (;;) {
    MSA_ASSIGN(const bool more, statement.step());
    if (!more) return all;
    Row row(statement, "segments");
    const int64_t id = whole(row, 0, "id");
    all.emplace_back(id, row.text(1, "file"));
    if (!row.ok()) return row.problem();
  }
}

Result<std::vector<CatalogueRepair::Place>> CatalogueRepair::places() const {
  std::vector<Place> places;
  // From the table itself, not from the index over these columns.
  MSA_ASSIGN(Statement statement,
             database_.prepare("SELECT number, segment, first_chunk, chunks FROM documents NOT "
                               "INDEXED ORDER BY segment, first_chunk, number"));
  for (;;) {
    MSA_ASSIGN(const bool more, statement.step());
    if (!more) return places;
    Row row(statement, "documents");
    Place& place = places.emplace_back();
    place.number = whole(row, 0, "number");
    place.segment = whole(row, 1, "segment");
    place.first_chunk = whole(row, 2, "first_chunk");
    place.chunks = whole(row, 3, "chunks");
    if (!row.ok()) return row.problem();
  }
}

Result<CatalogueRepair::Text> CatalogueRepair::text(int64_t number) const {
  MSA_ASSIGN(Statement statement, database_.prepare("SELECT number, id, title, text, hash FROM "
                                                    "documents WHERE number = ?1"));
  statement.bind(1, number);
  MSA_ASSIGN(const bool found, statement.step());
  if (!found)
    return Error{Code::corrupt,
                 fmt::format("{}: document {} cannot be found by its number; restore the bank from "
                             "a copy",
                             database_.file().string(), number)};
  Row row(statement, "documents");
  Text text;
  text.id = row.text(1, "id");
  text.title = row.text(2, "title");
  text.text = row.text(3, "text");
  const uint64_t hash = row.bits(4, "hash");
  if (!row.ok()) return row.problem();
  text.intact = document_hash(text.title, text.text) == hash;
  return text;
}

Result<uint64_t> CatalogueRepair::stray_aliases() const {
  MSA_ASSIGN(const bool any, has_aliases(database_));
  if (!any) return uint64_t{0};
  MSA_ASSIGN(const int64_t count,
             database_.integer(fmt::format("SELECT count(*) FROM {}", kStrayAliases)));
  return static_cast<uint64_t>(count);
}

Result<std::pair<int64_t, int64_t>> CatalogueRepair::least_next() const {
  MSA_ASSIGN(const int64_t number,
             database_.integer("SELECT ifnull(max(number), -1) + 1 FROM documents"));
  MSA_ASSIGN(const int64_t segment,
             database_.integer(fmt::format(
                 "SELECT ifnull(max(id), 0) + 1 FROM segments WHERE id < {}", kMaxSegment)));
  return std::pair(number, segment);
}

Result<void> CatalogueRepair::replace(const std::optional<SegmentRecord>& segment,
                                      const std::vector<Encoded>& encoded,
                                      const std::vector<int64_t>& dropped,
                                      const std::vector<int64_t>& old) const {
  const Database& db = database_;
  MSA_ASSIGN(Transaction transaction, Transaction::begin(db, Transaction::Kind::write));
  MSA_ASSIGN(const uint64_t before, digest_of_replaced(db, segment, encoded, dropped, old));
  if (segment) {
    MSA_ASSIGN(Statement insert, db.prepare(fmt::format("INSERT INTO segments({}) "
                                                        "VALUES(?1, ?2, ?3, ?4, ?5)",
                                                        kSegmentColumns)));
    insert.bind(1, segment->id);
    insert.bind(2, segment->file);
    insert.bind(3, static_cast<int64_t>(segment->chunks));
    insert.bind(4, static_cast<int64_t>(segment->bytes));
    insert.bind(5, static_cast<int64_t>(segment->checksum));
    MSA_TRY(insert.run());
    MSA_ASSIGN(Statement next, db.prepare(fmt::format("UPDATE meta SET value = ?1 WHERE key = '{}'",
                                                      kNextSegmentKey)));
    MSA_TRY(run(next, {segment->id + 1}));
    MSA_ASSIGN(Statement move,
               db.prepare("UPDATE documents SET segment = ?2, first_chunk = ?3, chunks = ?4, "
                          "tokens = ?5, text_bytes = length(CAST(text AS BLOB)) "
                          "WHERE number = ?1"));
    for (const Encoded& d : encoded)
      MSA_TRY(run(
          move, {d.number, segment->id, d.first_chunk, d.chunks, static_cast<int64_t>(d.tokens)}));
  }
  if (!dropped.empty()) {
    MSA_ASSIGN(Statement names, db.prepare("DELETE FROM aliases WHERE number = ?1"));
    MSA_ASSIGN(Statement document, db.prepare("DELETE FROM documents WHERE number = ?1"));
    for (const int64_t number : dropped) {
      MSA_TRY(run(names, {number}));
      MSA_TRY(run(document, {number}));
    }
  }
  if (!old.empty()) {
    MSA_ASSIGN(Statement retire, db.prepare("INSERT OR IGNORE INTO retired(id, file) "
                                            "SELECT id, file FROM segments WHERE id = ?1"));
    MSA_ASSIGN(Statement remove, db.prepare("DELETE FROM segments WHERE id = ?1"));
    MSA_ASSIGN(Statement find, db.prepare("SELECT id, file FROM segments WHERE id = ?1"));
    for (const int64_t id : old) {
      bool ours = false;
      {
        const ResetOnExit reset(find);
        find.bind(1, id);
        MSA_ASSIGN(const bool found, find.step());
        if (found) {
          Row row(find, "segments");
          const std::string file = row.text(1, "file");
          if (!row.ok()) return row.problem();
          ours = parse_segment_file_name(file).has_value();
        }
      }
      // A name that no segment of ours ever had is nothing to be removed.
      if (ours) MSA_TRY(run(retire, {id}));
      MSA_TRY(run(remove, {id}));
    }
  }
  MSA_ASSIGN(const uint64_t after, digest_of_replaced(db, segment, encoded, dropped, old));
  MSA_TRY(change_digest(db, after - before));
  return transaction.commit();
}

Result<void> CatalogueRepair::tidy() const {
  MSA_ASSIGN(Transaction transaction, Transaction::begin(database_, Transaction::Kind::write));
  MSA_TRY(database_.execute(fmt::format("DELETE FROM {}", kStrayAliases).c_str()));
  {
    MSA_ASSIGN(Statement retired, database_.prepare("SELECT id, file FROM retired"));
    MSA_ASSIGN(Statement forget, database_.prepare("DELETE FROM retired WHERE id = ?1"));
    std::vector<int64_t> foreign;
    for (;;) {
      MSA_ASSIGN(const bool more, retired.step());
      if (!more) break;
      Row row(retired, "retired");
      const int64_t id = whole(row, 0, "id");
      if (!parse_segment_file_name(row.text(1, "file"))) foreign.push_back(id);
    }
    for (const int64_t id : foreign) MSA_TRY(run(forget, {id}));
  }
  MSA_ASSIGN(const auto least, least_next());
  MSA_ASSIGN(Statement raise,
             database_.prepare("UPDATE meta SET value = ?2 WHERE key = ?1 AND "
                               "(typeof(value) <> 'integer' OR value < ?2 OR value > ?3)"));
  for (const auto& [key, value, highest] :
       {std::tuple{kNextNumberKey, least.first, std::numeric_limits<int64_t>::max()},
        {kNextSegmentKey, least.second, kMaxSegment}}) {
    raise.reset();
    raise.bind(1, key);
    raise.bind(2, value);
    raise.bind(3, highest);
    MSA_TRY(raise.run());
  }
  MSA_TRY(mend_given_numbers(database_));
  MSA_TRY(renew_digest(database_));
  return transaction.commit();
}

}  // namespace msa
