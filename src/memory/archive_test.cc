// Banks as files: what comes out is what went in, and what an archive must not do to its reader.
#include "memory/archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>

#include "memory/bank_files.h"
#include "memory/test_bank.h"
#include "memory/text_export.h"

namespace msa {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// An entry of a hand-made archive.
struct Entry {
  std::string name, bytes;
  unsigned type = AE_IFREG;
  std::string link = {};
};

void write_archive(const fs::path& file, const std::vector<Entry>& entries) {
  archive* a = archive_write_new();
  if (file.extension() == ".zst") archive_write_add_filter_zstd(a);
  archive_write_set_format_pax_restricted(a);
  ASSERT_EQ(archive_write_open_filename(a, file.c_str()), ARCHIVE_OK);
  for (const Entry& e : entries) {
    archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, e.name.c_str());
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_filetype(entry, e.type);
    if (e.type == AE_IFLNK) archive_entry_set_symlink(entry, e.link.c_str());
    if (e.type == AE_IFREG && !e.link.empty()) archive_entry_set_hardlink(entry, e.link.c_str());
    archive_entry_set_size(entry, static_cast<la_int64_t>(e.bytes.size()));
    EXPECT_EQ(archive_write_header(a, entry), ARCHIVE_OK) << e.name;
    if (!e.bytes.empty()) archive_write_data(a, e.bytes.data(), e.bytes.size());
    archive_entry_free(entry);
  }
  archive_write_close(a);
  archive_write_free(a);
}

std::vector<Entry> read_archive(const fs::path& file) {
  std::vector<Entry> entries;
  archive* a = archive_read_new();
  archive_read_support_filter_zstd(a);
  archive_read_support_format_tar(a);
  EXPECT_EQ(archive_read_open_filename(a, file.c_str(), 1 << 16), ARCHIVE_OK);
  archive_entry* entry = nullptr;
  while (archive_read_next_header(a, &entry) == ARCHIVE_OK) {
    Entry& e = entries.emplace_back();
    e.name = archive_entry_pathname(entry);
    e.bytes.resize(static_cast<size_t>(archive_entry_size(entry)));
    EXPECT_EQ(archive_read_data(a, e.bytes.data(), e.bytes.size()),
              static_cast<la_ssize_t>(e.bytes.size()));
  }
  archive_read_free(a);
  return entries;
}

class Archive : public testing::Test {
 protected:
  void SetUp() override { fill_bank(bank_, manifest_, {4, 3}); }

  ArchiveReport exported(const fs::path& file) {
    const auto report = export_bank(bank_, file, {}, {});
    EXPECT_TRUE(report.ok()) << report.error().message;
    return report.ok() ? *report : ArchiveReport();
  }
  // Expects a refusal of which nothing is left.
  void refused(const fs::path& file, const std::string& mention, Code code = Code::corrupt) {
    const auto before = *list_names(folder_.path());
    const auto report = import_bank(file, copy_, {}, {});
    ASSERT_FALSE(report.ok()) << mention;
    EXPECT_EQ(report.error().code, code) << report.error().message;
    EXPECT_THAT(report.error().message, HasSubstr(mention));
    EXPECT_THAT(report.error().message, HasSubstr(file.filename().string()));
    EXPECT_EQ(report.error().message.find('\n'), std::string::npos);
    EXPECT_EQ(*list_names(folder_.path()), before);
  }
  void refused_entries(const std::vector<Entry>& entries, const std::string& mention) {
    const fs::path file = folder_ / "made.tar";
    write_archive(file, entries);
    refused(file, mention);
    fs::remove(file);
  }

  TestFolder folder_;
  BankManifest manifest_ = small_manifest();
  fs::path bank_ = folder_ / "bank", copy_ = folder_ / "copy";
};

TEST_F(Archive, WhatGoesInComesOut) {
  for (const char* name : {"bank.tar.zst", "bank.tar"}) {
    const fs::path file = folder_ / name;
    const ArchiveReport out = exported(file);
    EXPECT_EQ(out.documents, 7u);
    EXPECT_EQ(out.segments, 2u);
    EXPECT_EQ(out.archive_bytes, fs::file_size(file));
    const auto in = import_bank(file, copy_, {}, {});
    ASSERT_TRUE(in.ok()) << in.error().message;
    EXPECT_EQ(in->bytes, out.bytes);
    expect_bank(copy_, 7);
    EXPECT_THAT(verify_problems(copy_), IsEmpty());
    // It goes on like any bank.
    fill_bank(copy_, manifest_, {2});
    expect_bank(copy_, 9);
    fs::remove_all(copy_);
  }
  EXPECT_THAT(*list_names(folder_.path()), ElementsAre("bank", "bank.tar", "bank.tar.zst"));
  EXPECT_THAT(verify_problems(bank_), IsEmpty());
}

TEST_F(Archive, AnEmptyBank) {
  bank_ = folder_ / "empty";
  fill_bank(bank_, manifest_, {});
  exported(folder_ / "e.tar.zst");
  ASSERT_TRUE(import_bank(folder_ / "e.tar.zst", copy_, {}, {}).ok());
  expect_bank(copy_, 0);
}

TEST_F(Archive, TextsOfRemovedDocumentsDoNotComeAlong) {
  auto writer = BankWriter::open(bank_);
  ASSERT_TRUE((*writer)->remove("doc/5").ok());
  ASSERT_TRUE((*writer)->commit().ok());
  exported(folder_ / "x.tar");
  const std::string text = make_document(5).text, kept = make_document(4).text;
  const std::vector<Entry> entries = read_archive(folder_ / "x.tar");
  EXPECT_EQ(entries.front().bytes.find(text), std::string::npos);
  EXPECT_NE(entries.front().bytes.find(kept), std::string::npos);
}

TEST_F(Archive, NamesThatAreTakenOrSayNothing) {
  exported(folder_ / "x.tar");
  const auto again = export_bank(bank_, folder_ / "x.tar", {}, {});
  ASSERT_FALSE(again.ok());
  EXPECT_THAT(again.error().message, HasSubstr("is there already"));
  EXPECT_THAT(export_bank(bank_, folder_ / "x.zip", {}, {}).error().message,
              HasSubstr(".tar.zst or .tar"));
  EXPECT_EQ(export_bank(folder_ / "no", folder_ / "y.tar", {}, {}).error().code, Code::not_found);
  fs::create_directory(copy_);
  refused(folder_ / "no.tar", "no.tar", Code::not_found);
  const auto in = import_bank(folder_ / "x.tar", copy_, {}, {});
  ASSERT_FALSE(in.ok());
  EXPECT_THAT(in.error().message, HasSubstr("is there already"));
  EXPECT_THAT(*list_names(folder_.path()), ElementsAre("bank", "copy", "x.tar"));
}

TEST_F(Archive, OfOneMomentWhileOthersWrite) {
  std::atomic<bool> done = false;
  std::thread busy([&] {
    for (uint32_t i = 0; !done; ++i) {
      auto writer = BankWriter::open(bank_);
      ASSERT_TRUE(writer.ok()) << writer.error().message;
      ASSERT_TRUE(add_documents(**writer, manifest_, 2).ok());
      ASSERT_TRUE((*writer)->commit().ok());
      if (i % 3 == 2) {
        ASSERT_TRUE((*writer)->compact(128u << 20, {}, {}).ok());
      }
    }
  });
  for (int i = 0; i < 8; ++i) {
    const fs::path file = folder_ / fmt::format("{}.tar", i);
    const ArchiveReport out = exported(file);
    const auto in = import_bank(file, copy_, {}, {});
    EXPECT_TRUE(in.ok()) << in.error().message;
    if (in.ok()) expect_bank(copy_, static_cast<uint32_t>(out.documents));
    fs::remove_all(copy_);
  }
  done = true;
  busy.join();
}

TEST_F(Archive, ADamagedBankIsNotExported) {
  const fs::path segment = bank_ / kSegmentFolder / "00000002.seg";
  flip_bit(segment, fs::file_size(segment) - 1);
  const auto out = export_bank(bank_, folder_ / "x.tar", {}, {});
  ASSERT_FALSE(out.ok());
  EXPECT_EQ(out.error().code, Code::corrupt);
  EXPECT_THAT(out.error().message, HasSubstr("00000002.seg"));
  EXPECT_THAT(*list_names(folder_.path()), ElementsAre("bank"));
}

TEST_F(Archive, AnythingButOneBankIsRefused) {
  exported(folder_ / "x.tar");
  const std::vector<Entry> whole = read_archive(folder_ / "x.tar");
  ASSERT_EQ(whole.size(), 3u);
  const auto with = [&](Entry entry) {
    std::vector<Entry> entries = whole;
    entries.push_back(std::move(entry));
    return entries;
  };
  refused_entries({}, "");
  refused_entries(with({"../outside", "x"}), "'../outside', which does not belong");
  refused_entries(with({"segments/../../outside", "x"}), "does not belong");
  refused_entries(with({(folder_ / "outside").string(), "x"}), "does not belong");
  refused_entries(with({"notes.txt", "x"}), "'notes.txt'");
  refused_entries(with({"segments/00000009.seg", "x"}), "does not belong");
  refused_entries(with(whole[1]), "twice");
  refused_entries(with(whole[0]), "twice");
  refused_entries(with({"link", "", AE_IFLNK, "/etc/passwd"}), "'link' is not a plain file");
  refused_entries(with({"hard", "", AE_IFREG, "/etc/passwd"}), "'hard' is not a plain file");
  refused_entries(with({"folder/", "", AE_IFDIR}), "is not a plain file");
  refused_entries(with({"pipe", "", AE_IFIFO}), "'pipe' is not a plain file");
  // In place of a file that belongs there.
  std::vector<Entry> entries = whole;
  entries[2] = {whole[2].name, "", AE_IFLNK, "/etc/passwd"};
  refused_entries(entries, "is not a plain file");
  entries = whole;
  entries[2].bytes.pop_back();
  refused_entries(entries, "bytes, its catalogue says");
  entries = whole;
  entries.pop_back();
  refused_entries(entries, "lacks 1 of its segments");
  refused_entries({whole[1], whole[0], whole[2]}, "not the bank's catalogue");
  refused_entries({{"catalogue.sqlite", "not a database at all"}}, "SQLite");
  // Segments may come in any order.
  const fs::path file = folder_ / "order.tar";
  write_archive(file, {whole[0], whole[2], whole[1]});
  EXPECT_TRUE(import_bank(file, copy_, {}, {}).ok());
  expect_bank(copy_, 7);
}

TEST_F(Archive, BombsAreRefusedBeforeTheyUnpack) {
  const fs::path file = folder_ / "bomb.tar.zst";
  write_archive(file, {{"catalogue.sqlite", std::string(100u << 20, '\0')}});
  ASSERT_LT(fs::file_size(file), 64u << 10);
  refused(file, "unpacks to 104857600 bytes");
  // A catalogue that promises more than its segments can have.
  exported(folder_ / "x.tar");
  std::vector<Entry> entries = read_archive(folder_ / "x.tar");
  const fs::path lying = folder_ / "lying.sqlite";
  std::ofstream(lying, std::ios::binary) << entries[0].bytes;
  tamper(lying, "UPDATE segments SET bytes = 9000000000000000000");
  entries[0].bytes = TestFolder::get(lying);
  refused_entries(entries, "do not fit each other");
}

TEST_F(Archive, DamageAnywhereIsNoticedOrHarmless) {
  const fs::path file = folder_ / "x.tar";
  exported(file);
  const std::string bytes = TestFolder::get(file);
  std::mt19937_64 random(3);
  int refusals = 0;
  for (int i = 0; i < 120; ++i) {
    const fs::path bad = folder_ / "bad.tar";
    fs::copy_file(file, bad, fs::copy_options::overwrite_existing);
    flip_bit(bad, random() % bytes.size(), static_cast<unsigned>(random() % 8));
    const auto in = import_bank(bad, copy_, {}, {});
    if (in.ok())
      expect_bank(copy_, 7);
    else
      ++refusals;
    fs::remove_all(copy_);
  }
  EXPECT_GT(refusals, 40);
  for (int i = 0; i < 40; ++i) {
    const fs::path bad = folder_ / "short.tar";
    std::ofstream(bad, std::ios::binary)
        << bytes.substr(0, static_cast<size_t>(i) * (bytes.size() - 2048) / 40);
    EXPECT_FALSE(import_bank(bad, copy_, {}, {}).ok()) << i;
    EXPECT_FALSE(fs::exists(copy_));
  }
}

TEST_F(Archive, AStopLeavesNothing) {
  std::stop_source source;
  const auto stop = [&](std::string_view, uint64_t, uint64_t) { source.request_stop(); };
  const auto out = export_bank(bank_, folder_ / "x.tar.zst", stop, source.get_token());
  ASSERT_FALSE(out.ok());
  EXPECT_EQ(out.error().code, Code::cancelled);
  EXPECT_THAT(*list_names(folder_.path()), ElementsAre("bank"));
  exported(folder_ / "x.tar.zst");
  for (const char* stage : {"unpacking", "verifying"}) {
    std::stop_source later;
    const auto in = import_bank(
        folder_ / "x.tar.zst", copy_,
        [&](std::string_view doing, uint64_t, uint64_t) {
          if (doing == stage) later.request_stop();
        },
        later.get_token());
    ASSERT_FALSE(in.ok()) << stage;
    EXPECT_EQ(in.error().code, Code::cancelled);
    EXPECT_THAT(*list_names(folder_.path()), ElementsAre("bank", "x.tar.zst"));
  }
}

// Not after the segment that is being read: one may take long.
TEST_F(Archive, AStopIsNoticedWithinASegment) {
  fs::remove_all(bank_);
  fill_bank(bank_, manifest_, {200});
  exported(folder_ / "x.tar");
  // The catalogue, the header, and at least two pieces for each of six arrays.
  int steps = 0;
  ASSERT_TRUE(
      import_bank(
          folder_ / "x.tar", copy_,
          [&](std::string_view doing, uint64_t, uint64_t) { steps += doing == "verifying"; }, {})
          .ok());
  fs::remove_all(copy_);
  EXPECT_GE(steps, 8);
  for (int last = 1; last <= steps; ++last) {
    std::stop_source source;
    int step = 0;
    const auto in = import_bank(
        folder_ / "x.tar", copy_,
        [&](std::string_view doing, uint64_t, uint64_t) {
          if (doing == "verifying" && ++step == last) source.request_stop();
        },
        source.get_token());
    ASSERT_FALSE(in.ok()) << last;
    EXPECT_EQ(in.error().code, Code::cancelled);
    EXPECT_THAT(in.error().message, HasSubstr("nothing was imported"));
    EXPECT_EQ(step, last);
    EXPECT_THAT(*list_names(folder_.path()), ElementsAre("bank", "x.tar"));
  }
}

TEST_F(Archive, TextsAreOneRecordForEachId) {
  {
    auto writer = BankWriter::open(bank_);
    NewDocument twin = make_document(2);
    twin.id = "twin";
    twin.source = "else\"where";
    ASSERT_TRUE((*writer)->add_alias(twin, 2).ok());
    ASSERT_TRUE((*writer)->remove("doc/5").ok());
    ASSERT_TRUE((*writer)->commit().ok());
  }
  const auto out = export_texts(bank_, folder_ / "t.jsonl", {}, {});
  ASSERT_TRUE(out.ok()) << out.error().message;
  EXPECT_EQ(out->documents, 6u);
  EXPECT_EQ(out->records, 7u);
  const std::string lines = TestFolder::get(folder_ / "t.jsonl");
  EXPECT_EQ(out->bytes, lines.size());
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 7);
  EXPECT_THAT(lines, HasSubstr(R"({"id":"twin","title":"Title 2","text":"Text of 2, with)"));
  EXPECT_THAT(lines, HasSubstr(R"("source":"else\"where"})"));
  EXPECT_EQ(lines.find("doc/5"), std::string::npos);
  EXPECT_THAT(export_texts(bank_, folder_ / "t.jsonl", {}, {}).error().message,
              HasSubstr("is there already"));
  EXPECT_THAT(export_texts(bank_, folder_ / "t.txt", {}, {}).error().message, HasSubstr(".jsonl"));
  std::stop_source source;
  source.request_stop();
  EXPECT_EQ(export_texts(bank_, folder_ / "u.jsonl", {}, source.get_token()).error().code,
            Code::cancelled);
  EXPECT_FALSE(fs::exists(folder_ / "u.jsonl"));
}

}  // namespace
}  // namespace msa
