#include "crash/bank_life.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <set>
#include <utility>

#include "crash/file_faults.h"
#include "memory/attachment.h"
#include "memory/numbering.h"
#include "memory/repair.h"
#include "memory/test_bank.h"
#include "memory/test_repair.h"

namespace msa::crash {
namespace {

namespace fs = std::filesystem;

NewDocument document_of(std::string id, uint32_t seed) {
  NewDocument document = make_document(seed);
  document.id = std::move(id);
  return document;
}

Error wrong(std::string what) {
  return {Code::internal, std::move(what)};
}

// Which document of make_document() this is, if it is one.
Result<uint32_t> seed_of(const DocumentRecord& record) {
  unsigned seed = 0;
  if (std::sscanf(record.text.c_str(), "Text of %u,", &seed) != 1)
    return wrong(fmt::format("document {} has a foreign text", record.number));
  const NewDocument expected = make_document(seed);
  if (record.title != expected.title || record.text != expected.text ||
      record.source != expected.source || record.char_begin != expected.char_begin ||
      record.char_end != expected.char_end || record.tokens != expected.tokens ||
      record.chunks != chunks_of(seed) ||
      record.hash != document_hash(expected.title, expected.text))
    return wrong(fmt::format("document {} is not what was given as {}", record.number, seed));
  return seed;
}

Result<void> check_vectors(const SegmentView& segment, const DocumentSpan& span, uint32_t seed) {
  for (size_t l = 0; l < segment.layers.size(); ++l) {
    const SegmentLayer& layer = segment.layers[l];
    const size_t width = layer.keys.cols;
    for (uint32_t c = 0; c < span.chunks; ++c) {
      const size_t row = span.first_chunk + c;
      uint64_t bad = wrong_content(layer, row, seed, l, c);
      for (size_t i = 0; i < width; ++i)
        bad += get_value(layer.keys, row, i) != value_of(seed, l, 0, c, i);
      if (bad > 0)
        return wrong(fmt::format("document {}: chunk {} of layer {} is not what was encoded",
                                 span.number, c, l));
    }
  }
  return {};
}

// A bank beside the one of a story: one of two shards from number 3 on, of four documents in
// three segments, of which one has been removed.
fs::path shard_of(const fs::path& folder, uint32_t shard) {
  return folder / fmt::format("shard-{}", shard);
}
void make_shard(const fs::path& folder, uint32_t shard) {
  auto writer = open_or_create_numbered(shard_of(folder, shard), small_manifest(), {3 + shard, 2});
  ASSERT_TRUE(writer.ok()) << writer.error().message;
  for (const uint32_t number : {3u, 5u, 7u, 9u}) {
    ASSERT_EQ((*writer)->next_number(), number + shard);
    const uint32_t seed = number + shard;
    const auto added = (*writer)->add({document_of(fmt::format("doc/{}", seed), seed)},
                                      make_batch(small_manifest(), seed, 1));
    ASSERT_TRUE(added.ok()) << added.error().message;
    if (number != 5) {
      ASSERT_TRUE((*writer)->commit().ok());
    }
  }
  ASSERT_TRUE((*writer)->remove(fmt::format("doc/{}", 5 + shard)).ok());
  ASSERT_TRUE((*writer)->commit().ok());
}
std::map<uint32_t, BankState::Document> documents_of(uint32_t shard) {
  std::map<uint32_t, BankState::Document> documents;
  for (const uint32_t number : {3u, 7u, 9u})
    documents[number + shard] = {number + shard, {fmt::format("doc/{}", number + shard)}};
  return documents;
}

// A shard that is moved is there as a whole until the bank beside it has all of it.
Result<void> check_moved_shard(const fs::path& bank) {
  const fs::path shard = shard_of(bank.parent_path(), 0);
  if (fs::exists(shard / "catalogue.sqlite")) {
    for (const std::string& problem : verify_problems(shard)) return wrong("the shard: " + problem);
    MSA_ASSIGN(const BankState left, read_state(shard));
    if (left.documents != documents_of(0)) return wrong("the shard has " + describe(left));
    return {};
  }
  MSA_ASSIGN(const BankState state, read_state(bank));
  for (const auto& [number, document] : documents_of(0))
    if (!state.documents.contains(number))
      return wrong(fmt::format("document {} is nowhere any more", number));
  // The same command removes what is left of it.
  if (fs::exists(shard / "catalogue.sqlite.moved")) {
    AttachmentOptions options;
    options.move = true;
    MSA_ASSIGN(const AttachmentReport report, attach_banks(bank, {shard}, options, {}, {}));
    if (!report.left.empty()) return wrong("left of the shard: " + report.left.front());
    if (fs::exists(shard)) return wrong("the shard's folder is still there");
  }
  return {};
}

// Encodes what is damaged again, two documents at a time.
Result<void> repair_bank(const fs::path& bank) {
  MSA_ASSIGN(const auto repair, BankRepair::open(bank, Catalogue::Access::write));
  MSA_TRY(repair->inspect({}));
  RepairEncoder encoder = test_encoder();
  encoder.segment_bytes = 1;
  MSA_TRY(repair->run(encoder, /*drop_hopeless=*/false, {}, {}));
  return {};
}

}  // namespace

std::string describe(const BankState& state) {
  if (!state.exists) return "no bank";
  std::string text = fmt::format("next number {}", state.next_number);
  for (const auto& [number, document] : state.documents)
    text +=
        fmt::format(", {}: text {} as {}", number, document.seed, fmt::join(document.ids, " and "));
  return text;
}

Result<void> BankLife::attempt(const std::function<Result<void>()>& step) {
  for (;;) {
    Result<void> done = step();
    if (done || !on_failure || !on_failure(done.error())) return done;
  }
}

void BankLife::committed() {
  states_.push_back(now_);
  acknowledge();
}

Result<void> BankLife::open() {
  MSA_TRY(attempt([&]() -> Result<void> {
    auto writer = BankWriter::open_or_create(folder_, small_manifest());
    if (!writer) return std::move(writer).error();
    writer_ = std::move(*writer);
    return {};
  }));
  if (!now_.exists) {
    // A story may begin with a bank that is there.
    MSA_ASSIGN(now_, read_state(folder_));
    committed();
  }
  return {};
}

Result<void> BankLife::close() {
  writer_.reset();
  return {};
}

Result<void> BankLife::add(std::string id, uint32_t seed) {
  const uint32_t number = writer_->next_number();
  EncodedBatch batch = make_batch(small_manifest(), seed, 1);
  MSA_TRY(writer_->add({document_of(id, seed)}, std::move(batch)));
  now_.documents[number] = {seed, {std::move(id)}};
  now_.next_number = number + 1;
  return {};
}

Result<void> BankLife::alias(std::string id, uint32_t seed) {
  const NewDocument document = document_of(id, seed);
  MSA_ASSIGN(const auto twin, writer_->find_text(document.title, document.text));
  if (!twin) return wrong("no such text");
  MSA_TRY(writer_->add_alias(document, *twin));
  now_.documents.at(*twin).ids.push_back(std::move(id));
  return {};
}

Result<void> BankLife::remove(const std::string& id) {
  MSA_ASSIGN(const BankWriter::Removed removed, writer_->remove(id));
  if (removed == BankWriter::Removed::nothing) return wrong("no such name");
  for (auto& [number, document] : now_.documents) {
    if (std::erase(document.ids, id) == 0) continue;
    if (document.ids.empty()) now_.documents.erase(number);
    break;
  }
  return {};
}

Result<void> BankLife::commit() {
  MSA_TRY(attempt([&] { return writer_->commit(); }));
  committed();
  return {};
}

Result<void> BankLife::compact() {
  MSA_TRY(attempt([&]() -> Result<void> {
    const auto report = writer_->compact(128u << 20, {}, {});
    return report ? Result<void>() : report.error();
  }));
  committed();
  return {};
}

Result<void> BankLife::repair() {
  MSA_TRY(attempt([&]() -> Result<void> {
    if (Result<void> repaired = repair_bank(folder_); !repaired) return repaired;
    Result<BankState> found = read_state(folder_);
    if (!found) return std::move(found).error();
    now_ = std::move(*found);
    return {};
  }));
  committed();
  return {};
}

Result<void> BankLife::attach(const std::vector<fs::path>& others, bool move,
                              const std::map<uint32_t, BankState::Document>& documents,
                              uint32_t next_number) {
  MSA_TRY(attempt([&]() -> Result<void> {
    AttachmentOptions options;
    options.move = move;
    const auto report = attach_banks(folder_, others, options, {}, {});
    return report ? Result<void>() : report.error();
  }));
  now_.documents.insert(documents.begin(), documents.end());
  now_.next_number = std::max(now_.next_number, next_number);
  committed();
  return {};
}

fs::path bank_of(const fs::path& folder) {
  return folder / "bank";
}

Result<BankState> read_state(const fs::path& bank) {
  BankState state;
  auto reader = BankReader::open(bank);
  if (!reader) {
    if (reader.error().code == Code::not_found) return state;
    return std::move(reader).error();
  }
  state.exists = true;
  MSA_ASSIGN(const auto snapshot, (*reader)->snapshot());
  const Catalogue& catalogue = (*reader)->catalogue();
  MSA_ASSIGN(state.next_number, catalogue.next_number());
  Result<void> rows;
  MSA_TRY(catalogue.each_document(0, true, [&](const DocumentRecord& record) {
    const Result<uint32_t> seed = seed_of(record);
    const auto aliases = catalogue.aliases(record.number);
    if (!seed || !aliases) {
      rows = seed ? aliases.error() : seed.error();
      return false;
    }
    BankState::Document& document = state.documents[record.number];
    document = {*seed, {record.id}};
    for (const AliasRecord& alias : *aliases) document.ids.push_back(alias.id);
    return true;
  }));
  MSA_TRY(std::move(rows));
  uint64_t spans = 0;
  for (const SegmentView& segment : snapshot->segments)
    for (const DocumentSpan& span : segment.documents) {
      const auto document = state.documents.find(span.number);
      if (document == state.documents.end()) return wrong("rows of a document that is not there");
      MSA_TRY(check_vectors(segment, span, document->second.seed));
      ++spans;
    }
  if (spans != state.documents.size()) return wrong("documents without rows");
  return state;
}

std::string check_bank(const fs::path& bank, const std::vector<BankState>& states,
                       uint64_t acknowledged) {
  Result<BankState> found = read_state(bank);
  if (!found) return "reading: " + found.error().message;
  if (found->exists)
    for (const std::string& problem : verify_problems(bank)) return "verify: " + problem;
  const bool there = acknowledged < states.size() && *found == states[acknowledged];
  const bool done = acknowledged + 1 < states.size() && *found == states[acknowledged + 1];
  if (!there && !done)
    return fmt::format("after {} commits found {}; expected {}", acknowledged, describe(*found),
                       describe(states[std::min<size_t>(acknowledged, states.size() - 1)]));

  // The next writer takes away what was left, and goes on.
  BankState expected = *found;
  expected.exists = true;
  {
    auto writer = BankWriter::open_or_create(bank, small_manifest());
    if (!writer) return "the next writer: " + writer.error().message;
    constexpr uint32_t kSeed = 900;
    if ((*writer)->next_number() != expected.next_number) return "the next number is another one";
    const auto added =
        (*writer)->add({document_of("after", kSeed)}, make_batch(small_manifest(), kSeed, 1));
    const auto committed = added ? (*writer)->commit() : added;
    if (!committed) return "the next commit: " + committed.error().message;
    expected.documents[expected.next_number++] = {kSeed, {"after"}};
  }
  Result<BankState> after = read_state(bank);
  if (!after) return "after the next commit: " + after.error().message;
  if (*after != expected)
    return fmt::format("after the next commit found {}; expected {}", describe(*after),
                       describe(expected));
  for (const std::string& problem : verify_problems(bank))
    return "verify after the next commit: " + problem;

  auto reader = BankReader::open(bank);
  if (!reader) return "reading again: " + reader.error().message;
  const auto records = (*reader)->catalogue().segments();
  if (!records) return "reading again: " + records.error().message;
  std::set<std::string> expected_files, files;
  for (const SegmentRecord& record : *records) expected_files.insert(record.file);
  for (const fs::directory_entry& entry : fs::directory_iterator(bank / "segments"))
    files.insert(entry.path().filename().string());
  if (files != expected_files)
    return fmt::format("left-over files: {}, recorded are {}", fmt::join(files, " "),
                       fmt::join(expected_files, " "));
  return "";
}

void PrintTo(const Story& story, std::ostream* out) {
  *out << story.name;
}

const std::vector<Story>& stories() {
  static const std::vector<Story> all = {
      {"a bank's life", [](const fs::path&) {},
       [](BankLife& bank) -> Result<void> {
         MSA_TRY(bank.open());
         for (const uint32_t seed : {1, 2, 3}) MSA_TRY(bank.add(fmt::format("doc/{}", seed), seed));
         MSA_TRY(bank.commit());
         for (const uint32_t seed : {4, 5, 6, 7})
           MSA_TRY(bank.add(fmt::format("doc/{}", seed), seed));
         MSA_TRY(bank.commit());
         // A further name, alone: a commit without a segment.
         MSA_TRY(bank.alias("twin/2", 2));
         MSA_TRY(bank.commit());
         // An update: out with the old text, in with the new one.
         MSA_TRY(bank.remove("doc/3"));
         MSA_TRY(bank.add("doc/3", 33));
         MSA_TRY(bank.alias("twin/4", 4));
         MSA_TRY(bank.commit());
         // The document stays, under its other name.
         MSA_TRY(bank.remove("doc/2"));
         MSA_TRY(bank.remove("doc/5"));
         MSA_TRY(bank.commit());
         MSA_TRY(bank.close());
         MSA_TRY(bank.open());
         MSA_TRY(bank.add("doc/8", 8));
         MSA_TRY(bank.add("doc/2", 22));
         MSA_TRY(bank.commit());
         MSA_TRY(bank.compact());
         MSA_TRY(bank.remove("twin/2"));
         MSA_TRY(bank.remove("doc/8"));
         MSA_TRY(bank.add("doc/9", 9));
         MSA_TRY(bank.commit());
         MSA_TRY(bank.close());
         MSA_TRY(bank.open());
         for (const char* id : {"doc/1", "doc/2", "doc/3", "doc/4", "twin/4", "doc/6", "doc/7"})
           MSA_TRY(bank.remove(id));
         MSA_TRY(bank.commit());
         // One segment has no live rows any more, the other is rewritten.
         MSA_TRY(bank.compact());
         return bank.close();
       }},
      {"a bank of version 1",
       [](const fs::path& folder) {
         fill_bank(bank_of(folder), small_manifest(), {3, 2});
         tamper(bank_of(folder) / "catalogue.sqlite",
                "DROP TABLE aliases; DROP TABLE retired; DROP INDEX documents_hash;"
                "DELETE FROM meta WHERE key = 'digest'; PRAGMA user_version = 1");
       },
       [](BankLife& bank) -> Result<void> {
         MSA_TRY(bank.open());
         MSA_TRY(bank.add("new", 40));
         MSA_TRY(bank.commit());
         return bank.close();
       }},
      // Made as int8, which it stays, whatever opens it.
      {"a bank of int8",
       [](const fs::path& folder) {
         fill_bank(bank_of(folder), small_manifest(DType::bf16, ContentFormat::int8), {3, 2});
       },
       [](BankLife& bank) -> Result<void> {
         MSA_TRY(bank.open());
         MSA_TRY(bank.add("new/40", 40));
         MSA_TRY(bank.add("new/41", 41));
         MSA_TRY(bank.commit());
         MSA_TRY(bank.remove("doc/1"));
         MSA_TRY(bank.add("doc/1", 42));
         MSA_TRY(bank.commit());
         MSA_TRY(bank.compact());
         return bank.close();
       }},
      {"the repair of a bank",
       [](const fs::path& folder) {
         const fs::path segments = bank_of(folder) / "segments";
         fill_bank(bank_of(folder), small_manifest(), {4, 2, 3});
         fs::remove(segments / "00000002.seg");
         flip_bit(segments / "00000001.seg", 5000);
         std::ofstream(segments / "00000009.seg") << "an orphan";
       },
       [](BankLife& bank) { return bank.repair(); }, repair_bank},
      {"two shards attached",
       [](const fs::path& folder) {
         fill_bank(bank_of(folder), small_manifest(), {2, 1});
         make_shard(folder, 0);
         make_shard(folder, 1);
       },
       [](BankLife& bank) -> Result<void> {
         const fs::path folder = bank.folder().parent_path();
         MSA_TRY(bank.open());
         MSA_TRY(bank.close());
         auto documents = documents_of(0);
         documents.merge(documents_of(1));
         MSA_TRY(bank.attach({shard_of(folder, 0), shard_of(folder, 1)}, false, documents, 11));
         MSA_TRY(bank.open());
         MSA_TRY(bank.add("new", 40));
         MSA_TRY(bank.commit());
         return bank.close();
       }},
      {"a shard moved",
       [](const fs::path& folder) {
         fill_bank(bank_of(folder), small_manifest(), {2, 1});
         make_shard(folder, 0);
       },
       [](BankLife& bank) -> Result<void> {
         MSA_TRY(bank.open());
         MSA_TRY(bank.close());
         MSA_TRY(
             bank.attach({shard_of(bank.folder().parent_path(), 0)}, true, documents_of(0), 10));
         MSA_TRY(bank.open());
         MSA_TRY(bank.compact());
         return bank.close();
       },
       check_moved_shard},
  };
  return all;
}

}  // namespace msa::crash
