#include "memory/catalogue_digest.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <functional>
#include <optional>
#include <string>

#include "base/hash.h"
#include "memory/catalogue_impl.h"

namespace msa {
namespace {

using sqlite::Database;
using sqlite::Row;
using sqlite::Statement;

// Fields one after the other, so that no two rows look alike.
class RowDigest {
 public:
  explicit RowDigest(std::string_view table) { add(table); }
  RowDigest& add(std::string_view text) {
    hasher_.add_number(text.size());
    hasher_.add(text);
    return *this;
  }
  RowDigest& add(uint64_t number) {
    hasher_.add_number(number);
    return *this;
  }
  uint64_t value() const { return hasher_.digest(); }

 private:
  Hasher hasher_;
};

}  // namespace

uint64_t digest_of(const DocumentRecord& d, int64_t segment, uint32_t first_chunk) {
  return RowDigest("documents")
      .add(d.number)
      .add(d.id)
      .add(d.source)
      .add(d.char_begin)
      .add(d.char_end)
      .add(d.hash)
      .add(d.tokens)
      .add(static_cast<uint64_t>(segment))
      .add(first_chunk)
      .add(d.chunks)
      .value();
}

uint64_t digest_of(const AliasRecord& alias) {
  return RowDigest("aliases")
      .add(alias.id)
      .add(alias.number)
      .add(alias.source)
      .add(alias.char_begin)
      .add(alias.char_end)
      .value();
}

uint64_t digest_of(const SegmentRecord& segment) {
  return RowDigest("segments")
      .add(static_cast<uint64_t>(segment.id))
      .add(segment.file)
      .add(segment.chunks)
      .add(segment.bytes)
      .add(segment.checksum)
      .value();
}

uint64_t digest_of(std::string_view key, uint64_t value) {
  return RowDigest("meta").add(key).add(value).value();
}

uint64_t digest_of(std::string_view key, std::string_view value) {
  return RowDigest("meta").add(key).add(value).value();
}

Result<RowsDigest> digest_of_rows(const Database& database) {
  RowsDigest digest;
  // `take` gives a row's own digest, or nothing if the row cannot be read.
  const auto add =
      [&](const std::string& sql,
          const std::function<std::optional<uint64_t>(const Statement&)>& take) -> Result<void> {
    MSA_ASSIGN(Statement statement, database.prepare(sql));
    for (;;) {
      MSA_ASSIGN(const bool more, statement.step());
      if (!more) return {};
      if (const std::optional<uint64_t> row = take(statement))
        digest.sum += *row;
      else
        digest.complete = false;
    }
  };
  using Taken = std::optional<uint64_t>;
  MSA_TRY(add(fmt::format("SELECT {} FROM documents", kHeadColumns), [](const Statement& s) {
    const Result<DocumentRecord> d = read_document(s, false);
    return d ? Taken(digest_of(*d, d->segment, d->first_chunk)) : Taken();
  }));
  MSA_ASSIGN(const int64_t aliases,
             database.integer("SELECT count(*) FROM sqlite_schema WHERE name = 'aliases'"));
  if (aliases > 0)
    MSA_TRY(add(fmt::format("SELECT {} FROM aliases", kAliasColumns), [](const Statement& s) {
      const Result<AliasRecord> alias = read_alias(s);
      return alias ? Taken(digest_of(*alias)) : Taken();
    }));
  MSA_TRY(add(fmt::format("SELECT {} FROM segments", kSegmentColumns), [](const Statement& s) {
    const Result<SegmentRecord> segment = read_segment(s);
    return segment ? Taken(digest_of(*segment)) : Taken();
  }));
  MSA_TRY(add(fmt::format("SELECT rowid, key, value FROM meta WHERE key <> '{}'", kDigestKey),
              [](const Statement& s) {
                Row row(s, "meta");
                const std::string key = row.text(1, "key");
                const uint64_t value = sqlite3_column_type(s.handle(), 2) == SQLITE_INTEGER
                                           ? digest_of(key, row.bits(2, "value"))
                                           : digest_of(key, row.text(2, "value"));
                return row.ok() ? Taken(value) : Taken();
              }));
  return digest;
}

Result<void> renew_digest(const Database& database) {
  MSA_ASSIGN(const RowsDigest digest, digest_of_rows(database));
  MSA_ASSIGN(Statement set, database.prepare("INSERT INTO meta(key, value) VALUES(?1, ?2) "
                                             "ON CONFLICT(key) DO UPDATE SET value = ?2"));
  set.bind(1, kDigestKey);
  set.bind(2, static_cast<int64_t>(digest.sum));
  return set.run();
}

}  // namespace msa
