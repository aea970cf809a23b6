#include "memory/repair.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "base/checked.h"
#include "base/files.h"
#include "memory/bank_files.h"
#include "memory/bank_verify.h"
#include "memory/catalogue_repair.h"
#include "memory/catalogue_schema.h"
#include "memory/compaction.h"
#include "memory/content.h"

namespace msa {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kNumbers = UINT32_MAX;  // numbers are below

// Documents that are encoded together, and the segments that go once they are.
struct Group {
  std::vector<int64_t> segments;
  std::vector<int64_t> documents;  // ascending
  std::vector<int64_t> hopeless;
};

class FolderRepair final : public BankRepair {
 public:
  FolderRepair(fs::path folder, BankManifest manifest, FolderLock lock, Catalogue catalogue,
               CatalogueRepair rows)
      : folder_(std::move(folder)),
        manifest_(std::move(manifest)),
        shape_(manifest_.segment_shape()),
        lock_(std::move(lock)),
        catalogue_(std::move(catalogue)),
        rows_(std::move(rows)) {}

  const BankManifest& manifest() const override { return manifest_; }

  Result<BankDamage> inspect(const Progress& progress) override {
    damage_ = {};
    groups_.clear();
    std::set<int64_t> damaged;
    MSA_ASSIGN(BankReader::Report report,
               verify_bank(folder_, manifest_, catalogue_, progress, &damaged));
    damage_.problems = std::move(report.problems);
    MSA_ASSIGN(const std::vector<std::string> structure, rows_.structure_problems());
    bad_structure_ = !structure.empty();
    // With broken indexes nothing below is certain; run() mends them first and looks again.
    if (!bad_structure_) MSA_TRY(find_damage(std::move(damaged)));
    return damage_;
  }

  Result<RepairOutcome> run(const RepairEncoder& encoder, bool drop_hopeless,
                            const Progress& progress, std::stop_token stop) override {
    if (bad_structure_) {
      MSA_TRY(rows_.rebuild_indexes());
      MSA_ASSIGN(const std::vector<std::string> left, rows_.structure_problems());
      if (!left.empty())
        return Error{Code::corrupt,
                     fmt::format("{}: is damaged inside ({}), which cannot be repaired from what "
                                 "else there is; restore it from a copy or an export",
                                 (folder_ / kCatalogueFile).string(), left.front())};
      MSA_TRY(inspect({}));
    }
    if (!damage_.hopeless.empty() && !drop_hopeless) {
      const BankDamage::Document& first = damage_.hopeless.front();
      return Error{
          Code::corrupt,
          fmt::format("{}: document {} ('{}') and {} more have lost title or text as "
                      "well; update them from their sources, or have them taken out of "
                      "the bank (--drop-lost)",
                      folder_.string(), first.number, first.id, damage_.hopeless.size() - 1)};
    }
    RepairOutcome outcome;
    const uint64_t all = damage_.lost.size();
    for (const Group& group : groups_) {
      MSA_TRY(repair(
          group, encoder, outcome,
          [&] {
            if (progress) progress(outcome.documents, all);
          },
          stop));
      if (outcome.stopped) return outcome;
    }
    MSA_TRY(rows_.tidy());
    for (const std::string& orphan : damage_.orphans)
      MSA_TRY(remove_file(folder_ / kSegmentFolder / orphan));
    if (!damage_.orphans.empty()) MSA_TRY(sync_folder(folder_ / kSegmentFolder));
    MSA_TRY(remove_retired(folder_, catalogue_));
    return outcome;
  }

 private:
  // Which documents have no vectors that can be relied on.
  Result<void> find_damage(std::set<int64_t> damaged) {
    MSA_ASSIGN(const auto records, rows_.segments());
    std::map<int64_t, uint64_t> chunks;  // of each segment whose record can be read
    MSA_ASSIGN(const std::vector<SegmentRecord> readable, catalogue_.segments([](const Error&) {}));
    for (const SegmentRecord& record : readable) chunks[record.id] = record.chunks;
    for (const auto& [id, file] : records)
      if (!chunks.contains(id)) damaged.insert(id);

    // Where one document's rows cannot be right, another's need not be its own either.
    MSA_ASSIGN(const std::vector<CatalogueRepair::Place> places, rows_.places());
    std::map<int64_t, std::pair<int64_t, uint64_t>> last;  // number and end of the one before
    for (const CatalogueRepair::Place& place : places) {
      const auto segment = chunks.find(place.segment);
      if (segment == chunks.end()) continue;
      auto& [number, end] = last.try_emplace(place.segment, -1, 0).first->second;
      const bool right = place.number > number && place.number < kNumbers && place.chunks >= 1 &&
                         place.first_chunk >= 0 &&
                         static_cast<uint64_t>(place.first_chunk) >= end &&
                         in_bounds<uint64_t>(static_cast<uint64_t>(place.first_chunk),
                                             static_cast<uint64_t>(place.chunks), segment->second);
      if (!right) {
        damaged.insert(place.segment);
        continue;
      }
      number = place.number;
      end = static_cast<uint64_t>(place.first_chunk + place.chunks);
    }

    std::map<int64_t, Group> groups;  // by damaged segment; 0: of segments that are not recorded
    for (const auto& [id, file] : records)
      if (damaged.contains(id)) {
        groups[id].segments.push_back(id);
        damage_.segments.push_back(file);
      }
    for (const CatalogueRepair::Place& place : places) {
      const bool gone = damaged.contains(place.segment) || !chunks.contains(place.segment);
      MSA_ASSIGN(const CatalogueRepair::Text text, rows_.text(place.number));
      const bool hopeless = !text.intact || place.number < 0 || place.number >= kNumbers;
      if (!gone && !hopeless) continue;
      Group& group = groups[damaged.contains(place.segment) ? place.segment : 0];
      (hopeless ? group.hopeless : group.documents).push_back(place.number);
      (hopeless ? damage_.hopeless : damage_.lost).push_back({place.number, text.id});
    }
    for (auto& [segment, group] : groups) {
      std::sort(group.documents.begin(), group.documents.end());
      groups_.push_back(std::move(group));
    }
    const auto by_number = [](const BankDamage::Document& a, const BankDamage::Document& b) {
      return a.number < b.number;
    };
    std::sort(damage_.lost.begin(), damage_.lost.end(), by_number);
    std::sort(damage_.hopeless.begin(), damage_.hopeless.end(), by_number);
    MSA_ASSIGN(damage_.stray_aliases, rows_.stray_aliases());
    return find_orphans(records);
  }

  Result<void> find_orphans(const std::vector<std::pair<int64_t, std::string>>& records) {
    std::set<std::string_view> recorded;
    for (const auto& [id, file] : records) recorded.insert(file);
    // If their list is damaged, their files count as what they are: of no use any more.
    const Result<std::vector<SegmentRecord>> retired = catalogue_.retired();
    if (retired)
      for (const SegmentRecord& record : *retired) recorded.insert(record.file);
    MSA_ASSIGN(const std::vector<std::string> names, list_names(folder_ / kSegmentFolder));
    for (const std::string& name : names) {
      const std::optional<int64_t> id = parse_segment_file_name(name);
      if (id && *id < kMaxSegment) next_segment_ = std::max(next_segment_, *id + 1);
      const bool ours = id.has_value() || is_unfinished_segment(name);
      if (ours && !recorded.contains(name)) damage_.orphans.push_back(name);
    }
    return {};
  }

  // What was encoded since the last segment was written.
  struct Pending {
    std::vector<EncodedBatch> batches;
    std::vector<CatalogueRepair::Encoded> documents;
    uint64_t chunks = 0;
  };

  Result<void> repair(const Group& group, const RepairEncoder& encoder, RepairOutcome& outcome,
                      const std::function<void()>& report, const std::stop_token& stop) {
    Pending pending;
    std::vector<std::vector<int32_t>> waiting;
    std::vector<int64_t> numbers;
    size_t waiting_tokens = 0;
    const auto encode = [&]() -> Result<void> {
      if (waiting.empty()) return {};
      const std::vector<std::span<const int32_t>> views(waiting.begin(), waiting.end());
      MSA_ASSIGN(EncodedBatch batch, encoder.encode(views));
      MSA_TRY(round_content(shape_, batch, folder_,
                            [&](size_t i) { return fmt::format("document {}", numbers[i]); }));
      for (size_t i = 0; i < waiting.size(); ++i) {
        pending.documents.push_back({static_cast<uint32_t>(numbers[i]),
                                     static_cast<uint32_t>(pending.chunks), batch.chunks[i],
                                     waiting[i].size()});
        pending.chunks += batch.chunks[i];
      }
      batch.last_hidden = {};
      pending.batches.push_back(std::move(batch));
      outcome.documents += waiting.size();
      outcome.tokens += waiting_tokens;
      waiting.clear();
      numbers.clear();
      waiting_tokens = 0;
      report();
      return {};
    };
    for (const int64_t number : group.documents) {
      if (stop.stop_requested()) {
        // What is encoded moves out of the damaged segment, which stays for the rest.
        outcome.stopped = true;
        return write(pending, {}, {});
      }
      MSA_ASSIGN(const CatalogueRepair::Text text, rows_.text(number));
      waiting.push_back(encoder.tokenize(static_cast<uint32_t>(number), text.title, text.text));
      numbers.push_back(number);
      waiting_tokens += waiting.back().size();
      if (waiting_tokens < encoder.batch_tokens) continue;
      MSA_TRY(encode());
      if (pending.chunks * shape_.bytes_per_chunk() >= encoder.segment_bytes)
        MSA_TRY(write(pending, {}, {}));
    }
    MSA_TRY(encode());
    outcome.dropped += group.hopeless.size();
    return write(pending, group.hopeless, group.segments);
  }

  // The segment file, then the transaction, as in a commit.
  Result<void> write(Pending& pending, const std::vector<int64_t>& dropped,
                     const std::vector<int64_t>& old) {
    if (pending.documents.empty()) {
      if (dropped.empty() && old.empty()) return {};
      return rows_.replace(std::nullopt, {}, dropped, old);
    }
    SegmentRecord record;
    MSA_ASSIGN(record.id, next_segment());
    record.file = segment_file_name(record.id);
    const fs::path file = folder_ / kSegmentFolder / record.file;
    const auto attempt = [&]() -> Result<void> {
      MSA_ASSIGN(const WrittenSegment written,
                 write_segment(file, static_cast<uint64_t>(record.id), shape_, pieces(pending)));
      record.chunks = written.chunks;
      record.bytes = written.bytes;
      record.checksum = written.checksum;
      return rows_.replace(record, pending.documents, dropped, old);
    };
    if (Result<void> done = attempt(); !done) {
      discard_segment(file, done.error());
      return done;
    }
    pending = {};
    return {};
  }

  std::vector<std::vector<SegmentPiece>> pieces(const Pending& pending) const {
    std::vector<std::vector<SegmentPiece>> pieces(shape_.router_layers.size());
    for (size_t l = 0; l < pieces.size(); ++l)
      for (const EncodedBatch& batch : pending.batches)
        pieces[l].push_back(piece_of(shape_, batch, l));
    return pieces;
  }

  // Above every id there is a record or, as find_orphans() saw, a file of: meta may be wrong.
  Result<int64_t> next_segment() {
    int64_t next = next_segment_;
    if (const Result<int64_t> stored = catalogue_.next_segment()) next = std::max(next, *stored);
    MSA_ASSIGN(const auto least, rows_.least_next());
    next = std::max(next, least.second);
    next_segment_ = next + 1;
    return next;
  }

  fs::path folder_;
  BankManifest manifest_;
  SegmentShape shape_;
  FolderLock lock_;
  Catalogue catalogue_;
  CatalogueRepair rows_;
  BankDamage damage_;
  std::vector<Group> groups_;
  bool bad_structure_ = false;
  int64_t next_segment_ = 1;
};

}  // namespace

Result<std::unique_ptr<BankRepair>> BankRepair::open(const fs::path& folder,
                                                     Catalogue::Access access) {
  MSA_TRY(check_is_bank(folder));
  FolderLock lock;
  if (access == Catalogue::Access::write) {
    MSA_ASSIGN(lock, FolderLock::take(folder));
    MSA_TRY(make_folder(folder / kSegmentFolder));
  }
  const fs::path file = folder / kCatalogueFile;
  MSA_ASSIGN(Catalogue catalogue, Catalogue::open(file, access));
  MSA_ASSIGN(CatalogueRepair rows, CatalogueRepair::open(file, access));
  MSA_ASSIGN(const std::string stored, catalogue.manifest());
  MSA_ASSIGN(BankManifest manifest, parse_manifest(stored, folder));
  return std::make_unique<FolderRepair>(folder, std::move(manifest), std::move(lock),
                                        std::move(catalogue), std::move(rows));
}

}  // namespace msa
