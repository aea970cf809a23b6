#include "memory/catalogue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <cerrno>
#include <random>

#include "memory/catalogue_attach.h"
#include "memory/sqlite.h"
#include "memory/test_bank.h"

namespace msa {
namespace {

using testing::HasSubstr;

SegmentRecord segment_record(int64_t id, uint64_t chunks = 10) {
  return {id, fmt::format("{:08}.seg", id), chunks, chunks * 100, 0xfeedfacecafebeef};
}

DocumentRecord document_record(uint32_t number, uint32_t first_chunk, uint32_t chunks) {
  DocumentRecord record;
  record.number = number;
  record.id = fmt::format("id-{}", number);
  record.title = "T";
  record.text = fmt::format("text {}", number);
  record.hash = document_hash(record.title, record.text);
  record.tokens = 9;
  record.first_chunk = first_chunk;
  record.chunks = chunks;
  return record;
}

class CatalogueTest : public testing::Test {
 protected:
  Catalogue create() {
    auto catalogue = Catalogue::create(file_, "{\"a\":1}");
    EXPECT_TRUE(catalogue.ok()) << catalogue.error().message;
    return std::move(catalogue).value();
  }
  // Two segments, documents 0 to 3, the last with an unusual text.
  void fill() {
    Catalogue catalogue = create();
    ASSERT_TRUE(catalogue
                    .commit_segment(segment_record(1),
                                    {document_record(0, 0, 4), document_record(1, 4, 6)}, 2)
                    .ok());
    DocumentRecord odd = document_record(3, 3, 1);
    odd.text = std::string("a\0b\n\xc3\xbc", 6);
    odd.title = "";
    odd.hash = UINT64_MAX;
    ASSERT_TRUE(
        catalogue.commit_segment(segment_record(2), {document_record(2, 0, 3), odd}, 4).ok());
  }
  Result<Catalogue> read() { return Catalogue::open(file_, Catalogue::Access::read); }

  TestFolder folder_;
  std::filesystem::path file_ = folder_ / "catalogue.sqlite";
};

TEST_F(CatalogueTest, ANewOneIsEmptyAndOneFile) {
  {
    const Catalogue catalogue = create();
    EXPECT_EQ(*catalogue.next_number(), 0u);
    EXPECT_EQ(*catalogue.next_segment(), 1);
    EXPECT_EQ(*catalogue.manifest(), "{\"a\":1}");
    EXPECT_EQ(catalogue.totals()->documents, 0u);
    EXPECT_TRUE(catalogue.check()->empty());
  }
  EXPECT_EQ(folder_.entries(), 1u);  // closed: neither log nor unfinished file
  const auto again = Catalogue::create(file_, "{}");
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().code, Code::invalid_argument);
}

TEST_F(CatalogueTest, ReadsBackWhatWasCommitted) {
  fill();
  const auto catalogue = read();
  ASSERT_TRUE(catalogue.ok()) << catalogue.error().message;
  EXPECT_EQ(*catalogue->next_number(), 4u);
  EXPECT_EQ(*catalogue->next_segment(), 3);

  const auto segments = catalogue->segments();
  ASSERT_EQ(segments->size(), 2u);
  EXPECT_EQ((*segments)[1].id, 2);
  EXPECT_EQ((*segments)[1].file, "00000002.seg");
  EXPECT_EQ((*segments)[1].chunks, 10u);
  EXPECT_EQ((*segments)[1].bytes, 1000u);
  EXPECT_EQ((*segments)[1].checksum, 0xfeedfacecafebeefu);

  const auto layout = catalogue->layout();
  ASSERT_TRUE(layout.ok()) << layout.error().message;
  EXPECT_EQ(layout->document_count, 4u);
  EXPECT_EQ(layout->chunk_count, 14u);
  ASSERT_EQ(layout->documents[0].size(), 2u);
  EXPECT_EQ(layout->documents[0][1].number, 1u);
  EXPECT_EQ(layout->documents[0][1].first_chunk, 4u);
  EXPECT_EQ(layout->documents[0][1].chunks, 6u);

  const auto totals = catalogue->totals();
  EXPECT_EQ(totals->documents, 4u);
  EXPECT_EQ(totals->chunks, 14u);
  EXPECT_EQ(totals->tokens, 36u);
  EXPECT_EQ(totals->segments, 2u);
  EXPECT_EQ(totals->text_bytes, 24u);

  const auto odd = catalogue->find(3);
  ASSERT_TRUE(odd.ok() && odd->has_value());
  EXPECT_EQ((*odd)->text, std::string("a\0b\n\xc3\xbc", 6));
  EXPECT_EQ((*odd)->hash, UINT64_MAX);
  EXPECT_EQ((*odd)->segment, 2);
  EXPECT_FALSE(catalogue->find(4)->has_value());
  const auto by_id = catalogue->find_id("id-2");
  ASSERT_TRUE(by_id.ok() && by_id->has_value());
  EXPECT_EQ((*by_id)->number, 2u);
  EXPECT_EQ((*by_id)->text, "");  // not read
  EXPECT_FALSE(catalogue->find_id("id-9")->has_value());
  EXPECT_FALSE(catalogue->find_id("")->has_value());
}

TEST_F(CatalogueTest, VisitsDocumentsInOrderUntilToldToStop) {
  fill();
  const auto catalogue = read();
  std::vector<uint32_t> seen;
  ASSERT_TRUE(catalogue
                  ->each_document(1, false,
                                  [&](const DocumentRecord& d) {
                                    EXPECT_TRUE(d.text.empty());
                                    // Looking up another document inside the loop is fine.
                                    EXPECT_TRUE(catalogue->find(0)->has_value());
                                    seen.push_back(d.number);
                                    return seen.size() < 2;
                                  })
                  .ok());
  EXPECT_THAT(seen, testing::ElementsAre(1u, 2u));
}

TEST_F(CatalogueTest, SnapshotsAndTotalsReadNoTexts) {
  fill();
  const auto database = sqlite::Database::open(file_, sqlite::Database::Mode::read);
  for (const char* query :
       {"SELECT number, segment, first_chunk, chunks FROM documents ORDER BY segment, first_chunk",
        "SELECT count(*), sum(chunks), sum(tokens), sum(text_bytes) FROM documents"}) {
    auto plan = database->prepare(std::string("EXPLAIN QUERY PLAN ") + query);
    ASSERT_TRUE(plan->step().value());
    sqlite::Row row(*plan, "plan");
    EXPECT_THAT(row.text(3, "detail"), HasSubstr("COVERING INDEX documents_place"));
  }
}

TEST_F(CatalogueTest, ACommitIsSeenByOthersAtOnceAndAsAWhole) {
  Catalogue writer = create();
  auto reader = read();
  const int64_t version = *reader->data_version();
  EXPECT_EQ(*reader->data_version(), version);
  {
    const auto moment = reader->begin_read();
    ASSERT_TRUE(moment.ok());
    EXPECT_EQ(reader->totals()->documents, 0u);
    ASSERT_TRUE(writer.commit_segment(segment_record(1), {document_record(0, 0, 4)}, 1).ok());
    EXPECT_EQ(reader->totals()->documents, 0u);  // still that moment
    EXPECT_EQ(reader->layout()->document_count, 0u);
  }
  EXPECT_NE(*reader->data_version(), version);
  EXPECT_EQ(reader->totals()->documents, 1u);
}

TEST_F(CatalogueTest, AFailedCommitLeavesNothing) {
  Catalogue catalogue = create();
  ASSERT_TRUE(catalogue.commit_segment(segment_record(1), {document_record(0, 0, 4)}, 1).ok());
  DocumentRecord twin = document_record(2, 4, 1);
  twin.id = "id-0";
  const auto refused =
      catalogue.commit_segment(segment_record(2), {document_record(1, 0, 2), twin}, 3);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::invalid_argument);
  EXPECT_THAT(refused.error().message, HasSubstr("documents.id"));
  EXPECT_EQ(catalogue.totals()->documents, 1u);
  EXPECT_EQ(catalogue.segments()->size(), 1u);
  EXPECT_EQ(*catalogue.next_number(), 1u);
  EXPECT_TRUE(catalogue.commit_segment(segment_record(2), {document_record(1, 0, 2)}, 2).ok());
}

TEST_F(CatalogueTest, RefusesRecordsThatCannotBe) {
  Catalogue catalogue = create();
  ASSERT_TRUE(catalogue.commit_segment(segment_record(3), {document_record(4, 0, 4)}, 5).ok());
  const auto refused = [&](SegmentRecord segment, std::vector<DocumentRecord> documents,
                           uint32_t next) {
    const auto done = catalogue.commit_segment(segment, documents, next);
    return !done.ok() && done.error().code == Code::invalid_argument;
  };
  EXPECT_TRUE(refused(segment_record(0), {}, 5));
  EXPECT_TRUE(refused(segment_record(-1), {}, 5));
  EXPECT_TRUE(refused(segment_record(2), {}, 5));                          // id given out before
  EXPECT_TRUE(refused(segment_record(4), {}, 4));                          // number goes back
  EXPECT_TRUE(refused(segment_record(4), {document_record(4, 0, 1)}, 6));  // number again
  EXPECT_TRUE(refused(segment_record(4), {document_record(6, 0, 1)}, 6));  // not below the next
  EXPECT_TRUE(refused(segment_record(4), {document_record(5, 8, 3)}, 6));  // outside
  EXPECT_TRUE(refused(segment_record(4), {document_record(5, 0, 0)}, 6));  // empty
  EXPECT_TRUE(refused(segment_record(4), {document_record(5, 0, 4), document_record(6, 3, 1)}, 7));
  for (const char* name : {"", ".", "..", "../x", "a/b", "/x"}) {
    SegmentRecord segment = segment_record(4);
    segment.file = name;
    EXPECT_TRUE(refused(segment, {document_record(5, 0, 1)}, 6)) << name;
  }
  EXPECT_EQ(catalogue.totals()->documents, 1u);
}

TEST_F(CatalogueTest, IdsOfSegmentsEndBeforeIntegersDo) {
  {
    Catalogue catalogue = create();
    const auto refused = catalogue.commit_segment(segment_record(INT64_MAX - 1), {}, 0);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, Code::invalid_argument);
  }
  {
    auto attachment = CatalogueAttachment::begin(file_);
    ASSERT_TRUE(attachment.ok()) << attachment.error().message;
    for (const int64_t id : {int64_t{0}, INT64_MAX - 1, INT64_MAX}) {
      const auto refused = attachment->insert(segment_record(id));
      ASSERT_FALSE(refused.ok()) << id;
      EXPECT_EQ(refused.error().code, Code::invalid_argument);
    }
  }
  tamper(file_,
         "UPDATE meta SET value = 9223372036854775807 WHERE key = 'next_segment';"
         "INSERT INTO segments VALUES(9223372036854775806, 'x.seg', 1, 1, 1)");
  const auto next = read()->next_segment();
  ASSERT_FALSE(next.ok());
  EXPECT_EQ(next.error().code, Code::corrupt);
  EXPECT_THAT(next.error().message, HasSubstr("next_segment is 9223372036854775807"));
  EXPECT_FALSE(read()->segments().ok());
}

// While it lives, a log cannot be synced, as on a full disk that notices only then.
class UnsyncedLogs {
 public:
  UnsyncedLogs() {
    real_ = sqlite3_vfs_find(nullptr);
    failing_ = *real_;
    failing_.zName = "unsynced-logs";
    failing_.xOpen = [](sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out) {
      const int code = real_->xOpen(real_, name, file, flags, out);
      if (code == SQLITE_OK && (flags & SQLITE_OPEN_WAL) != 0) {
        methods_ = *file->pMethods;
        methods_.xSync = [](sqlite3_file*, int) { return SQLITE_IOERR_FSYNC; };
        file->pMethods = &methods_;
      }
      return code;
    };
    failing_.xGetLastError = [](sqlite3_vfs*, int, char*) { return ENOSPC; };
    EXPECT_EQ(sqlite3_vfs_register(&failing_, /*makeDflt=*/1), SQLITE_OK);
  }
  UnsyncedLogs(const UnsyncedLogs&) = delete;
  UnsyncedLogs& operator=(const UnsyncedLogs&) = delete;
  ~UnsyncedLogs() { sqlite3_vfs_unregister(&failing_); }

 private:
  static inline sqlite3_vfs* real_ = nullptr;
  static inline sqlite3_vfs failing_{};
  static inline sqlite3_io_methods methods_{};
};

TEST_F(CatalogueTest, ALogThatCannotBeSyncedLeavesOpenWhatTheDiskHolds) {
  fill();
  {
    const UnsyncedLogs unsynced;
    auto catalogue = Catalogue::open(file_, Catalogue::Access::write);
    ASSERT_TRUE(catalogue.ok()) << catalogue.error().message;
    const auto done = catalogue->commit_segment(segment_record(3), {document_record(4, 0, 1)}, 5);
    ASSERT_FALSE(done.ok());
    EXPECT_EQ(done.error().code, Code::io);  // not no_space, after which the segment's file goes
  }
  EXPECT_EQ(read()->totals()->documents, 4u);
}

TEST_F(CatalogueTest, TellsForeignFilesApart) {
  const auto open_both = [&](Code code, std::string_view words) {
    for (const auto access : {Catalogue::Access::read, Catalogue::Access::write}) {
      const auto catalogue = Catalogue::open(file_, access);
      ASSERT_FALSE(catalogue.ok());
      EXPECT_EQ(catalogue.error().code, code) << catalogue.error().message;
      EXPECT_THAT(catalogue.error().message, HasSubstr(std::string(words)));
      EXPECT_THAT(catalogue.error().message, HasSubstr("catalogue.sqlite"));
    }
  };
  open_both(Code::not_found, "no such file");
  folder_.put("catalogue.sqlite", "");
  open_both(Code::mismatch, "another kind");
  folder_.put("catalogue.sqlite", std::string(10'000, 'x'));
  open_both(Code::corrupt, "not an SQLite database");
  std::filesystem::remove(file_);
  tamper(file_, "CREATE TABLE bookmarks(a); PRAGMA application_id = 42");
  open_both(Code::mismatch, "another kind");
}

TEST_F(CatalogueTest, NamesTheVersionItCannotRead) {
  fill();
  tamper(file_, fmt::format("PRAGMA user_version = {}", kInt8CatalogueVersion + 1));
  auto catalogue = read();
  ASSERT_FALSE(catalogue.ok());
  EXPECT_EQ(catalogue.error().code, Code::unsupported);
  EXPECT_THAT(catalogue.error().message,
              HasSubstr(fmt::format("version {}", kInt8CatalogueVersion + 1)));
  EXPECT_THAT(catalogue.error().message, HasSubstr("newer msa"));
  tamper(file_, "PRAGMA user_version = 0");
  catalogue = read();
  ASSERT_FALSE(catalogue.ok());
  EXPECT_EQ(catalogue.error().code, Code::corrupt);
  // An older version's, with what only a newer one has.
  tamper(file_, "PRAGMA user_version = 2");
  catalogue = read();
  ASSERT_FALSE(catalogue.ok());
  EXPECT_EQ(catalogue.error().code, Code::corrupt);
}

TEST_F(CatalogueTest, AcceptsNoSchemaButItsOwn) {
  for (const char* sql :
       {"DROP INDEX documents_place", "DROP TABLE meta", "ALTER TABLE documents ADD COLUMN x ANY",
        "CREATE TRIGGER t AFTER INSERT ON documents BEGIN DELETE FROM segments; END",
        "ALTER TABLE documents RENAME TO d2; CREATE VIEW documents AS SELECT * FROM d2",
        "CREATE TABLE extra(a)",
        // Under names as SQLite gives them.
        "PRAGMA writable_schema = ON; CREATE TRIGGER sqlite_x AFTER UPDATE ON meta BEGIN "
        "DELETE FROM documents WHERE number > 1; END",
        "PRAGMA writable_schema = ON; CREATE VIEW sqlite_stat1 AS SELECT 1",
        "PRAGMA writable_schema = ON; CREATE INDEX sqlite_x ON documents(title)",
        "PRAGMA writable_schema = ON; CREATE TABLE sqlite_x(a)"}) {
    std::filesystem::remove(file_);
    fill();
    tamper(file_, sql);
    const auto catalogue = read();
    ASSERT_FALSE(catalogue.ok()) << sql;
    EXPECT_EQ(catalogue.error().code, Code::corrupt) << catalogue.error().message;
  }
  // Statistics of SQLite's own are harmless.
  std::filesystem::remove(file_);
  fill();
  tamper(file_, "ANALYZE");
  EXPECT_TRUE(read().ok());
}

TEST_F(CatalogueTest, NothingInTheFileRuns) {
  fill();
  tamper(file_,
         "CREATE TRIGGER t AFTER UPDATE ON meta BEGIN DELETE FROM documents; END;"
         "CREATE VIEW v AS SELECT 1");
  const auto database = sqlite::Database::open(file_, sqlite::Database::Mode::write);
  ASSERT_TRUE(database.ok()) << database.error().message;
  const auto done = database->execute("UPDATE meta SET value = 9 WHERE key = 'next_segment'");
  ASSERT_TRUE(done.ok()) << done.error().message;
  const auto documents = database->integer("SELECT count(*) FROM documents");
  ASSERT_TRUE(documents.ok()) << documents.error().message;
  EXPECT_EQ(*documents, 4);
  EXPECT_FALSE(database->integer("SELECT * FROM v").ok());
}

struct Tampering {
  const char* sql;
  const char* words;
};

TEST_F(CatalogueTest, ValuesThatCannotBeAreErrorsThatNameTheRow) {
  const Tampering cases[] = {
      {"UPDATE documents SET first_chunk = -1 WHERE number = 1", "row 1: first_chunk is -1"},
      {"UPDATE documents SET first_chunk = 4294967295 WHERE number = 1", "row 1: first_chunk is"},
      {"UPDATE documents SET first_chunk = 3 WHERE number = 1", "row 1: its chunks overlap"},
      {"UPDATE documents SET chunks = 0 WHERE number = 1", "row 1: chunks is 0"},
      {"UPDATE documents SET chunks = 7 WHERE number = 1", "row 1: 7 chunks from 4 on"},
      {"UPDATE documents SET chunks = -4 WHERE number = 0", "row 0: chunks is -4"},
      {"UPDATE documents SET chunks = 9223372036854775807 WHERE number = 0", "row 0: chunks"},
      {"UPDATE documents SET segment = 7 WHERE number = 1", "row 1: segment 7 is not recorded"},
      {"UPDATE documents SET segment = -2 WHERE number = 1", "row 1: segment is -2"},
      {"DELETE FROM segments WHERE id = 2", "row 2: segment 2 is not recorded"},
      {"UPDATE documents SET number = -9 WHERE number = 1", "row -9: number is -9"},
      {"UPDATE documents SET number = 4294967295 WHERE number = 1", "row 4294967295: number"},
      {"UPDATE documents SET number = 5000000000 WHERE number = 1", "row 5000000000: number"},
      {"UPDATE documents SET number = 4 WHERE number = 1", "not below next_number, 4"},
      {"UPDATE meta SET value = 3 WHERE key = 'next_number'", "not below next_number, 3"},
      {"UPDATE meta SET value = -1 WHERE key = 'next_number'", "next_number is -1"},
      {"UPDATE meta SET value = 'x' WHERE key = 'next_number'", "next_number is not an integer"},
      {"DELETE FROM meta WHERE key = 'next_number'", "lacks 'next_number'"},
      {"UPDATE segments SET file = '../x' WHERE id = 2", "row 2: the file's name"},
      {"UPDATE segments SET file = '' WHERE id = 2", "row 2: the file's name"},
      {"UPDATE segments SET file = '/etc/passwd' WHERE id = 2", "row 2: the file's name"},
      {"UPDATE segments SET file = '..' WHERE id = 1", "row 1: the file's name"},
      {"UPDATE segments SET chunks = -1 WHERE id = 2", "row 2: chunks is -1"},
      {"UPDATE segments SET chunks = 4294967296 WHERE id = 2", "row 2: chunks is 4294967296"},
      {"UPDATE segments SET bytes = -5 WHERE id = 2", "row 2: bytes is -5"},
      {"UPDATE segments SET id = 0 WHERE id = 1", "row 0: id is 0"},
      {"UPDATE documents SET number = number + 10 WHERE number = 2;"
       "UPDATE meta SET value = 20 WHERE key = 'next_number'",
       "row 3: stands behind document 12"},
  };
  for (const Tampering& t : cases) {
    std::filesystem::remove(file_);
    fill();
    tamper(file_, t.sql);
    const auto catalogue = read();
    ASSERT_TRUE(catalogue.ok()) << catalogue.error().message;
    const auto layout = catalogue->layout();
    ASSERT_FALSE(layout.ok()) << t.sql;
    EXPECT_EQ(layout.error().code, Code::corrupt);
    EXPECT_THAT(layout.error().message, HasSubstr(t.words)) << t.sql;
    EXPECT_THAT(layout.error().message, HasSubstr("catalogue.sqlite"));
  }
}

TEST_F(CatalogueTest, BadDocumentsAreErrorsHoweverTheyAreRead) {
  for (const char* column : {"char_begin = -1", "char_end = -1", "char_begin = 7, char_end = 6",
                             "tokens = -1", "chunks = 0", "text_bytes = -3", "segment = 0"}) {
    std::filesystem::remove(file_);
    fill();
    tamper(file_, fmt::format("UPDATE documents SET {} WHERE number = 1", column));
    const auto catalogue = read();
    const auto by_number = catalogue->find(1);
    ASSERT_FALSE(by_number.ok()) << column;
    EXPECT_EQ(by_number.error().code, Code::corrupt);
    EXPECT_THAT(by_number.error().message, HasSubstr("row 1: "));
    EXPECT_FALSE(catalogue->find_id("id-1").ok());
    EXPECT_TRUE(catalogue->find(2).ok());
    uint32_t visited = 0, bad = 0;
    const auto count = [&](const DocumentRecord&) { return ++visited, true; };
    EXPECT_FALSE(catalogue->each_document(0, true, count).ok());
    EXPECT_EQ(visited, 1u);
    // Passed over where somebody listens.
    visited = 0;
    EXPECT_TRUE(catalogue->each_document(0, true, count, [&](const Error&) { ++bad; }).ok());
    EXPECT_EQ(visited, 3u);
    EXPECT_EQ(bad, 1u);
  }
  std::filesystem::remove(file_);
  fill();
  tamper(file_, "UPDATE documents SET text = 'longer than before' WHERE number = 1");
  EXPECT_FALSE(read()->find(1).ok());
  tamper(file_, "UPDATE documents SET tokens = 9223372036854775807");
  EXPECT_FALSE(read()->totals().ok());  // the sum does not fit
}

TEST_F(CatalogueTest, CheckFindsBrokenReferences) {
  fill();
  tamper(file_, "DELETE FROM segments WHERE id = 1");
  const auto problems = read()->check();
  ASSERT_TRUE(problems.ok());
  EXPECT_EQ(problems->size(), 2u);
  EXPECT_THAT((*problems)[0], HasSubstr("names a segment that is not recorded"));
}

// Whatever stands in the file: an answer or an error, never a crash.
TEST_F(CatalogueTest, SurvivesRandomDamage) {
  fill();
  const std::string good = TestFolder::get(file_);
  std::mt19937 random(5);
  size_t errors = 0;
  for (int round = 0; round < 300; ++round) {
    std::string bytes = good;
    if (round % 10 == 0) bytes.resize(random() % bytes.size());
    for (int flips = 1 + static_cast<int>(random() % 8); flips-- > 0 && !bytes.empty();) {
      const size_t at =
          round % 2 == 0 ? random() % bytes.size() : random() % std::min<size_t>(bytes.size(), 200);
      bytes[at] = static_cast<char>(random());
    }
    const TestFolder damaged;
    const auto file = damaged.put("catalogue.sqlite", bytes);
    const auto catalogue = Catalogue::open(file, Catalogue::Access::read);
    if (!catalogue) {
      ++errors;
      EXPECT_FALSE(catalogue.error().message.empty());
      continue;
    }
    errors += !catalogue->manifest().ok() + !catalogue->next_number().ok();
    errors += !catalogue->layout().ok() + !catalogue->totals().ok() + !catalogue->check().ok();
    errors += !catalogue->find(1).ok() + !catalogue->find_id("id-2").ok();
    errors += !catalogue->each_document(0, true, [](const DocumentRecord&) { return true; }).ok();
  }
  EXPECT_GT(errors, 50u);
}

TEST(DocumentHash, TellsTitleFromText) {
  EXPECT_EQ(document_hash("a", "b"), document_hash("a", "b"));
  EXPECT_NE(document_hash("ab", "c"), document_hash("a", "bc"));
  EXPECT_NE(document_hash("", "ab"), document_hash("ab", ""));
  EXPECT_NE(document_hash("a", "b"), document_hash("b", "a"));
}

}  // namespace
}  // namespace msa
