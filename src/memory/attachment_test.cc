// Banks made of other banks: which documents come, under which numbers, and what is refused.
#include "memory/attachment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <map>
#include <set>

#include "memory/bank_files.h"
#include "memory/numbering.h"
#include "memory/repair.h"
#include "memory/test_bank.h"
#include "memory/test_repair.h"

namespace msa {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class Attaching : public testing::Test {
 protected:
  // Adds documents with numbers that the bank gives them, made of these numbers, one commit each
  // `per_commit`.
  void add(const fs::path& folder, Numbering numbering, uint32_t count, uint32_t per_commit = 2) {
    auto writer = open_or_create_numbered(folder, manifest_, numbering);
    ASSERT_TRUE(writer.ok()) << writer.error().message;
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t number = (*writer)->next_number();
      const auto added = (*writer)->add({make_document(number)}, make_batch(manifest_, {number}));
      ASSERT_TRUE(added.ok()) << added.error().message;
      if (i % per_commit == per_commit - 1) {
        ASSERT_TRUE((*writer)->commit().ok());
      }
    }
    ASSERT_TRUE((*writer)->commit().ok());
  }
  // One document with text and vectors of `seed`, under another id.
  void add_text(const fs::path& folder, Numbering numbering, std::string id, uint32_t seed,
                uint64_t char_begin = 0) {
    auto writer = open_or_create_numbered(folder, manifest_, numbering);
    ASSERT_TRUE(writer.ok()) << writer.error().message;
    NewDocument document = make_document(seed);
    document.id = std::move(id);
    document.char_begin = char_begin;
    document.char_end = char_begin + 5;
    ASSERT_TRUE((*writer)->add({document}, make_batch(manifest_, {seed})).ok());
    ASSERT_TRUE((*writer)->commit().ok());
  }
  void remove(const fs::path& folder, const std::string& id) {
    auto writer = BankWriter::open(folder);
    ASSERT_TRUE(writer.ok()) << writer.error().message;
    ASSERT_EQ(*(*writer)->remove(id), BankWriter::Removed::document);
    ASSERT_TRUE((*writer)->commit().ok());
  }

  Result<AttachmentReport> attach(const std::vector<fs::path>& others,
                                  const AttachmentOptions& options = {},
                                  std::stop_token stop = {}) {
    return attach_banks(bank_, others, options, {}, std::move(stop));
  }
  AttachmentReport attached(const std::vector<fs::path>& others,
                            const AttachmentOptions& options = {}) {
    auto report = attach(others, options);
    EXPECT_TRUE(report.ok()) << report.error().message;
    EXPECT_THAT(verify_problems(bank_), IsEmpty());
    return report.ok() ? *report : AttachmentReport();
  }
  // Expects a refusal that leaves the bank as it is, and none where there was none.
  void refused(const std::vector<fs::path>& others, Code code, const std::string& mention,
               const AttachmentOptions& options = {}) {
    const auto before = everything();
    const bool folder_there = fs::exists(bank_), bank_there = fs::exists(bank_ / kCatalogueFile);
    const auto report = attach(others, options);
    ASSERT_FALSE(report.ok());
    EXPECT_EQ(fs::exists(bank_), folder_there);
    EXPECT_EQ(fs::exists(bank_ / kCatalogueFile), bank_there);
    EXPECT_EQ(report.error().code, code) << report.error().message;
    EXPECT_THAT(report.error().message, HasSubstr(mention));
    EXPECT_EQ(report.error().message.find('\n'), std::string::npos);
    EXPECT_EQ(everything(), before);
    if (bank_there) {
      EXPECT_THAT(verify_problems(bank_), IsEmpty());
    }
  }
  // Names and numbers, and the segment files.
  std::pair<std::map<std::string, uint32_t>, std::vector<std::string>> everything() {
    return {numbers(), *list_names(bank_ / kSegmentFolder)};
  }
  std::map<std::string, uint32_t> numbers() {
    std::map<std::string, uint32_t> all;
    auto reader = BankReader::open(bank_);
    if (!reader) return all;
    const Catalogue& catalogue = (*reader)->catalogue();
    const auto visited = catalogue.each_document(0, false, [&](const DocumentRecord& d) {
      all[d.id] = d.number;
      const auto aliases = catalogue.aliases(d.number);
      for (const AliasRecord& a : *aliases) all[a.id] = d.number;
      return true;
    });
    EXPECT_TRUE(visited.ok());
    return all;
  }
  uint32_t next_number() { return (*BankWriter::open(bank_))->next_number(); }

  TestFolder folder_;
  BankManifest manifest_ = small_manifest();
  fs::path bank_ = folder_ / "bank", a_ = folder_ / "a", b_ = folder_ / "b", c_ = folder_ / "c";
};

TEST_F(Attaching, ShardsOfOneInputMakeTheWholeBank) {
  add(a_, {0, 3}, 4);
  add(b_, {1, 3}, 4);
  add(c_, {2, 3}, 3);
  EXPECT_THAT(verify_problems(b_), IsEmpty());
  const AttachmentReport report = attached({a_, b_, c_});
  EXPECT_EQ(report.documents, 11u);
  EXPECT_EQ(report.segments, 6u);
  EXPECT_GT(report.copied_bytes, 0u);
  expect_bank(bank_, 11);
  // The others are as they were, and the bank goes on behind all of them.
  EXPECT_THAT(verify_problems(a_), IsEmpty());
  fill_bank(bank_, manifest_, {2});
  expect_bank(bank_, 13);
}

TEST_F(Attaching, BanksOfInt8ContentMakeOneOfInt8Content) {
  manifest_.content = ContentFormat::int8;
  add(a_, {0, 2}, 4);
  add(b_, {1, 2}, 4);
  remove(b_, "doc/7");
  const AttachmentReport report = attached({a_, b_});
  EXPECT_EQ(report.documents, 7u);
  expect_bank(bank_, 7);
  EXPECT_EQ((*BankReader::open(bank_))->manifest().content, ContentFormat::int8);
}

TEST_F(Attaching, OneShardAfterAnotherInAnyOrderAndIntoOneOfThem) {
  add(a_, {0, 3}, 4);
  add(b_, {1, 3}, 4);
  add(c_, {2, 3}, 3);
  bank_ = c_;
  attached({b_});
  EXPECT_THAT(numbers(), SizeIs(7));
  attached({a_});
  expect_bank(bank_, 11);
  EXPECT_EQ(next_number(), 11u);
}

TEST_F(Attaching, NumbersContinueWhereAShardWasStopped) {
  add(a_, {1, 4}, 3);
  add(a_, {1, 4}, 2);
  bank_ = a_;
  std::set<uint32_t> found;
  for (const auto& [id, number] : numbers()) found.insert(number);
  EXPECT_EQ(found, (std::set<uint32_t>{1, 5, 9, 13, 17}));
  EXPECT_THAT(verify_problems(a_), IsEmpty());
  // Whoever numbers otherwise from then on leaves what is free, too.
  add(a_, {}, 2);
  EXPECT_EQ(numbers().at("doc/18"), 18u);
  EXPECT_THAT(verify_problems(a_), IsEmpty());
}

TEST_F(Attaching, AfterTheBanksOwnNumbers) {
  fill_bank(bank_, manifest_, {4, 3});
  add(a_, {7, 2}, 3);
  add(b_, {8, 2}, 2);
  EXPECT_EQ(attached({a_, b_}).documents, 5u);
  expect_bank(bank_, 12);
}

TEST_F(Attaching, ANumberThatWasGivenOutIsRefused) {
  fill_bank(bank_, manifest_, {4});
  add(a_, {2, 1}, 3);
  // Other texts under other ids.
  auto writer = BankWriter::open(bank_);
  ASSERT_TRUE((*writer)->remove("doc/2").ok());
  ASSERT_TRUE((*writer)->remove("doc/3").ok());
  ASSERT_TRUE((*writer)->commit().ok());
  writer->reset();
  // 2 and 3 are free of documents, but were given out.
  refused({a_}, Code::invalid_argument, "2 ('doc/2'), 3 ('doc/3')");
  refused({a_}, Code::invalid_argument, "--first-number 4");
  add(b_, {4, 1}, 3);
  EXPECT_EQ(attached({b_}).documents, 3u);
}

TEST_F(Attaching, ANumberOfARemovedDocumentStaysTakenAcrossBanks) {
  add(a_, {0, 2}, 3);
  remove(a_, "doc/2");
  attached({a_});
  EXPECT_EQ(numbers(), (std::map<std::string, uint32_t>{{"doc/0", 0}, {"doc/4", 4}}));
  add(b_, {2, 1}, 1);
  refused({b_}, Code::invalid_argument, "2 ('doc/2')");
  add(c_, {1, 2}, 2);  // 1 and 3 never were
  EXPECT_EQ(attached({c_}).documents, 2u);
  EXPECT_EQ(next_number(), 5u);
}

TEST_F(Attaching, TwoBanksWithTheSameNumbersAreRefused) {
  add(a_, {0, 1}, 2);
  add_text(b_, {1, 1}, "other", 50);
  refused({a_, b_}, Code::invalid_argument, "1 ('other')");
  EXPECT_THAT(numbers(), IsEmpty());
}

TEST_F(Attaching, RemovedDocumentsStayOutWithTheirRows) {
  add(a_, {0, 1}, 6, 6);
  remove(a_, "doc/1");
  remove(a_, "doc/4");
  const AttachmentReport report = attached({a_});
  EXPECT_EQ(report.documents, 4u);
  auto reader = BankReader::open(bank_);
  const CatalogueTotals totals = *(*reader)->catalogue().totals();
  EXPECT_EQ(totals.chunks, totals.segment_chunks);
  EXPECT_EQ(totals.chunks, chunks_of(0) + chunks_of(2) + chunks_of(3) + chunks_of(5));
}

TEST_F(Attaching, EqualTextsBecomeFurtherIds) {
  add(bank_, {0, 1}, 2);
  add_text(a_, {5, 1}, "twin", 1);
  add_text(a_, {5, 1}, "new", 70);
  const AttachmentReport report = attached({a_});
  EXPECT_EQ(report.documents, 1u);
  EXPECT_EQ(report.aliases, 1u);
  EXPECT_EQ(report.segments, 1u);  // that of "twin" is not needed
  EXPECT_EQ(numbers(),
            (std::map<std::string, uint32_t>{{"doc/0", 0}, {"doc/1", 1}, {"twin", 1}, {"new", 6}}));
}

TEST_F(Attaching, WhatIsThereIsPassedOver) {
  add(a_, {0, 1}, 3);
  attached({a_});
  const auto before = everything();
  const AttachmentReport report = attached({a_});
  EXPECT_EQ(report.documents, 0u);
  EXPECT_EQ(report.already_there, 3u);
  EXPECT_EQ(everything(), before);
}

TEST_F(Attaching, AliasesComeAlong) {
  add(a_, {0, 1}, 2);
  {
    auto writer = BankWriter::open(a_);
    NewDocument twin = make_document(1);
    twin.id = "twin";
    ASSERT_TRUE((*writer)->add_alias(twin, 1).ok());
    ASSERT_TRUE((*writer)->commit().ok());
  }
  attached({a_});
  EXPECT_EQ(numbers().at("twin"), 1u);
}

TEST_F(Attaching, AnIdWithAnotherTextIsRefusedOrReplaced) {
  add(bank_, {0, 1}, 3);
  add_text(a_, {3, 1}, "doc/1", 81);
  add_text(a_, {3, 1}, "fresh", 82);
  refused({a_}, Code::invalid_argument, "'doc/1'");
  refused({a_}, Code::invalid_argument, "--replace");
  AttachmentOptions options;
  options.replace = true;
  const AttachmentReport report = attached({a_}, options);
  EXPECT_EQ(report.replaced, 1u);
  EXPECT_EQ(report.documents, 2u);
  EXPECT_EQ(numbers(), (std::map<std::string, uint32_t>{
                           {"doc/0", 0}, {"doc/1", 3}, {"doc/2", 2}, {"fresh", 4}}));
}

TEST_F(Attaching, ATextIsReplacedWithAllItsPassages) {
  for (uint32_t i = 1; i <= 4; ++i)
    add_text(bank_, {}, fmt::format("long#{}", i), 60 + i, (i - 1) * 10);
  // Not passages but texts of their own, as of an array in a file.
  for (uint32_t i = 0; i <= 3; ++i) add_text(bank_, {}, fmt::format("array#{}", i), 70 + i);
  add_text(a_, {8, 1}, "long#1", 61);
  add_text(a_, {8, 1}, "long#2", 92, 10);
  add_text(a_, {8, 1}, "array#1", 93);
  AttachmentOptions options;
  options.replace = true;
  const AttachmentReport report = attached({a_}, options);
  EXPECT_EQ(report.already_there, 1u);
  EXPECT_EQ(report.replaced, 4u);  // long#2 and array#1 by new texts, long#3 and long#4 by nothing
  EXPECT_EQ(numbers(), (std::map<std::string, uint32_t>{{"long#1", 0},
                                                        {"long#2", 9},
                                                        {"array#0", 4},
                                                        {"array#1", 10},
                                                        {"array#2", 6},
                                                        {"array#3", 7}}));
}

TEST_F(Attaching, AnErrorListsTheFirstFew) {
  add(bank_, {0, 1}, 9);
  for (uint32_t i = 0; i < 9; ++i) add_text(a_, {9, 1}, fmt::format("doc/{}", i), 100 + i);
  const auto report = attach({a_});
  ASSERT_FALSE(report.ok());
  EXPECT_THAT(report.error().message, AllOf(HasSubstr("9 of its ids"), HasSubstr("'doc/4', …")));
  EXPECT_EQ(report.error().message.find("'doc/5'"), std::string::npos);
}

TEST_F(Attaching, AnotherBankMustFit) {
  add(a_, {0, 1}, 1);
  add(bank_, {1, 1}, 1);
  struct Case {
    const char* mention;
    std::function<void(BankManifest&)> change;
  };
  const std::vector<Case> cases = {
      {"another model", [](BankManifest& m) { m.model_fingerprint = 1; }},
      {"another tokenizer", [](BankManifest& m) { m.tokenizer_fingerprint = 1; }},
      {"router layers 1,2,6, not 1,2,5", [](BankManifest& m) { m.router_layers[2] = 6; }},
      {"3 key/value heads of size 12, not 2 of 12", [](BankManifest& m) { m.kv_heads = 3; }},
      {"chunks of 8 tokens, not of 4", [](BankManifest& m) { m.chunk_size = 8; }},
      {"dot similarity, not for cosine", [](BankManifest& m) { m.cosine = false; }},
      {"F32, not BF16", [](BankManifest& m) { m.dtype = DType::f32; }},
      {"content as int8, not in full", [](BankManifest& m) { m.content = ContentFormat::int8; }}};
  for (const Case& c : cases) {
    BankManifest manifest = manifest_;
    c.change(manifest);
    fs::remove_all(b_);
    fill_bank(b_, manifest, {2});
    refused({a_, b_}, Code::mismatch, c.mention);
  }
}

TEST_F(Attaching, NothingDamagedIsTakenOver) {
  add(a_, {0, 1}, 4, 4);
  add(bank_, {4, 1}, 2);
  const fs::path segment = a_ / kSegmentFolder / "00000001.seg";
  const auto size = fs::file_size(segment);
  for (const uint64_t byte : {uint64_t{20}, uint64_t{70}, uint64_t{4096}, size / 2, size - 1}) {
    for (const bool move : {false, true}) {
      flip_bit(segment, byte);
      AttachmentOptions options;
      options.move = move;
      refused({a_}, Code::corrupt, "00000001.seg", options);
      flip_bit(segment, byte);
    }
  }
  fs::rename(segment, folder_ / "away");
  refused({a_}, Code::not_found, "00000001.seg");
  fs::rename(folder_ / "away", segment);
  tamper(a_ / kCatalogueFile, "UPDATE documents SET text = text || 'x' WHERE number = 2");
  refused({a_}, Code::corrupt, "row 2");
}

TEST_F(Attaching, MovedSegmentsAreNotCopied) {
  add(a_, {0, 2}, 4);
  remove(a_, "doc/2");
  add(b_, {1, 2}, 3);
  struct stat before, after;
  ASSERT_EQ(::stat((b_ / kSegmentFolder / "00000002.seg").c_str(), &before), 0);
  AttachmentOptions options;
  options.move = true;
  const AttachmentReport report = attached({a_, b_}, options);
  EXPECT_EQ(report.documents, 6u);
  EXPECT_EQ(report.copied_bytes, 0u);
  EXPECT_GT(report.linked_bytes, 0u);
  EXPECT_THAT(report.left, IsEmpty());
  EXPECT_FALSE(fs::exists(a_));
  EXPECT_FALSE(fs::exists(b_));
  ASSERT_EQ(::stat((bank_ / kSegmentFolder / "00000004.seg").c_str(), &after), 0);
  EXPECT_EQ(before.st_ino, after.st_ino);
  // Whose header still has the number it had there; a swapped file is found out all the same.
  fs::rename(bank_ / kSegmentFolder / "00000003.seg", folder_ / "x");
  fs::copy_file(bank_ / kSegmentFolder / "00000004.seg", bank_ / kSegmentFolder / "00000003.seg");
  EXPECT_THAT(verify_problems(bank_), testing::Not(IsEmpty()));
  fs::rename(folder_ / "x", bank_ / kSegmentFolder / "00000003.seg");
  // A compaction makes one segment of them.
  const auto compacted = (*BankWriter::open(bank_))->compact(1u << 20, {}, {});
  ASSERT_TRUE(compacted.ok()) << compacted.error().message;
  EXPECT_EQ(compacted->segments_after, 1u);
  EXPECT_THAT(verify_problems(bank_), IsEmpty());
  EXPECT_THAT(numbers(), SizeIs(6));
}

TEST_F(Attaching, WhatElseLiesInAMovedBankStays) {
  add(a_, {0, 1}, 2);
  std::ofstream(a_ / "notes.txt") << "mine";
  AttachmentOptions options;
  options.move = true;
  const AttachmentReport report = attached({a_}, options);
  EXPECT_THAT(report.left, SizeIs(1));
  EXPECT_EQ(TestFolder::get(a_ / "notes.txt"), "mine");
  EXPECT_FALSE(fs::exists(a_ / kCatalogueFile));
}

TEST_F(Attaching, AMoveThatWasInterruptedIsGoneOnWith) {
  add(a_, {0, 3}, 4);
  add(b_, {1, 3}, 4);
  add(c_, {2, 3}, 3);
  attached({a_, b_, c_});
  // As a kill leaves a bank whose removal has begun.
  const auto interrupt = [](const fs::path& bank) {
    fs::rename(bank / kCatalogueFile, bank / "catalogue.sqlite.moved");
    std::ofstream(bank / "catalogue.sqlite-wal") << "log";
    std::ofstream(bank / kSegmentFolder / "00000007.seg.tmp-x1") << "unfinished";
  };
  interrupt(a_);
  refused({a_, b_}, Code::not_found, "is not a memory bank");
  EXPECT_FALSE(BankWriter::open_or_create(a_, manifest_).ok());
  AttachmentOptions options;
  options.move = true;
  {
    const auto lock = FolderLock::take(a_);
    refused({a_, b_}, Code::busy, "someone else is writing", options);
  }
  AttachmentReport report = attached({a_, b_}, options);
  EXPECT_EQ(report.documents, 0u);
  EXPECT_EQ(report.already_there, 4u);
  EXPECT_THAT(report.left, IsEmpty());
  EXPECT_FALSE(fs::exists(a_));
  EXPECT_FALSE(fs::exists(b_));
  // What else lies there stays, as always, and nothing may be left to attach.
  interrupt(c_);
  std::ofstream(c_ / kSegmentFolder / "notes.txt") << "mine";
  report = attached({c_}, options);
  EXPECT_THAT(report.left, SizeIs(1));
  EXPECT_THAT(*list_names(c_), testing::ElementsAre("segments"));
  EXPECT_THAT(*list_names(c_ / kSegmentFolder), testing::ElementsAre("notes.txt"));
  expect_bank(bank_, 11);
}

TEST_F(Attaching, BadCalls) {
  add(bank_, {0, 1}, 2);
  add(a_, {2, 1}, 1);
  refused({}, Code::invalid_argument, "name at least one");
  refused({bank_}, Code::invalid_argument, "is the bank itself");
  refused({folder_ / "a/../bank"}, Code::invalid_argument, "is the bank itself");
  refused({a_, folder_ / "./a"}, Code::invalid_argument, "is given twice");
  refused({folder_ / "nothing"}, Code::not_found, "nothing");
  fs::create_directory(folder_ / "empty");
  refused({folder_ / "empty"}, Code::not_found, "is not a memory bank");
  {
    const auto lock = FolderLock::take(bank_);
    refused({a_}, Code::busy, "someone else is writing");
  }
  {
    const auto lock = FolderLock::take(a_);
    AttachmentOptions options;
    options.move = true;
    refused({a_}, Code::busy, "someone else is writing", options);
    EXPECT_EQ(attached({a_}).documents, 1u);  // reading it is fine
  }
}

TEST_F(Attaching, AStopLeavesNothing) {
  add(bank_, {0, 1}, 2);
  add(a_, {2, 1}, 4);
  const auto before = everything();
  std::stop_source source;
  // In the middle of the copying.
  const auto report = attach_banks(
      bank_, {a_}, {}, [&](uint64_t, uint64_t) { source.request_stop(); }, source.get_token());
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code, Code::cancelled);
  EXPECT_EQ(everything(), before);
  EXPECT_EQ(attached({a_}).documents, 4u);
  expect_bank(bank_, 6);
}

TEST_F(Attaching, AFailureMakesNoBank) {
  add(a_, {0, 1}, 4);
  add_text(b_, {1, 1}, "other", 50);
  bank_ = folder_ / "new" / "above" / "bank";
  refused({a_, b_}, Code::invalid_argument, "1 ('other')");
  std::stop_source source;
  const auto stopped = attach_banks(
      bank_, {a_}, {}, [&](uint64_t, uint64_t) { source.request_stop(); }, source.get_token());
  ASSERT_FALSE(stopped.ok());
  EXPECT_EQ(stopped.error().code, Code::cancelled);
  EXPECT_FALSE(fs::exists(folder_ / "new"));
  // Files that were linked go as well, and stay where they came from.
  const fs::path segment = a_ / kSegmentFolder / "00000002.seg";
  flip_bit(segment, fs::file_size(segment) - 1);
  AttachmentOptions options;
  options.move = true;
  refused({a_}, Code::corrupt, segment.filename().string(), options);
  EXPECT_FALSE(fs::exists(folder_ / "new"));
  flip_bit(segment, fs::file_size(segment) - 1);
  expect_bank(a_, 4);
  // What was there stays: an empty folder, a bank without documents, other files above.
  fs::create_directories(bank_);
  refused({a_, b_}, Code::invalid_argument, "1 ('other')");
  EXPECT_THAT(*list_names(bank_), IsEmpty());
  fill_bank(bank_, manifest_, {});
  refused({a_, b_}, Code::invalid_argument, "1 ('other')");
  EXPECT_TRUE(fs::exists(bank_ / kCatalogueFile));
  fs::remove_all(bank_);
  std::ofstream(folder_ / "new" / "notes.txt") << "notes";
  refused({a_, b_}, Code::invalid_argument, "1 ('other')");
  EXPECT_THAT(*list_names(folder_ / "new"), testing::ElementsAre("above", "notes.txt"));
  EXPECT_EQ(attached({a_}).documents, 4u);
  expect_bank(bank_, 4);
}

TEST_F(Attaching, ProgressReachesItsEnd) {
  add(a_, {0, 1}, 4);
  uint64_t last = 0, all = 0;
  const auto report = attach_banks(bank_, {a_}, {},
                                   [&](uint64_t done, uint64_t of) {
                                     EXPECT_GE(done, last);
                                     last = done;
                                     all = of;
                                   },
                                   {});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(last, all);
  EXPECT_GT(all, 0u);
}

TEST_F(Attaching, ReadersGoOn) {
  add(bank_, {0, 1}, 2);
  add(a_, {2, 1}, 2);
  auto reader = BankReader::open(bank_);
  const auto before = *(*reader)->snapshot();
  attached({a_});
  EXPECT_EQ(before->documents, 2u);
  EXPECT_EQ((*(*reader)->snapshot())->documents, 4u);
}

// What other programs do to the record of numbers is found.
TEST_F(Attaching, AFalseRecordOfNumbersIsAProblem) {
  add(a_, {1, 3}, 3);
  tamper(a_ / kCatalogueFile, R"(UPDATE meta SET value = '{"next":8,"runs":[[1,3,2]]}'
                                 WHERE key = 'given_numbers')");
  EXPECT_THAT(verify_problems(a_), testing::Contains(HasSubstr("never given out")));
  tamper(a_ / kCatalogueFile, "UPDATE meta SET value = 'x' WHERE key = 'given_numbers'");
  EXPECT_THAT(verify_problems(a_), testing::Contains(HasSubstr("given_numbers")));
  refused({a_}, Code::corrupt, "given_numbers");
  // Repaired, no number is free any more.
  {
    auto repair = BankRepair::open(a_, Catalogue::Access::write);
    ASSERT_TRUE(repair.ok()) << repair.error().message;
    ASSERT_FALSE((*repair)->inspect({})->none());
    ASSERT_TRUE((*repair)->run(test_encoder(), false, {}, {}).ok());
  }
  EXPECT_THAT(verify_problems(a_), IsEmpty());
  add(b_, {2, 3}, 1);
  bank_ = a_;
  refused({b_}, Code::invalid_argument, "2 ('doc/2')");
}

}  // namespace
}  // namespace msa
