#include <fmt/format.h>

#include <cassert>
#include <mutex>
#include <system_error>
#include <utility>
#include <vector>

#include "memory/bank.h"
#include "memory/bank_files.h"
#include "memory/bank_verify.h"

namespace msa {
namespace {

namespace fs = std::filesystem;

// A segment as of one snapshot. Ids are never reused and segments never change, so what is mapped
// stays right, and the snapshots between which no document has left it share the list as well.
struct Part {
  SegmentRecord record;
  std::shared_ptr<const Segment> arrays;
  std::shared_ptr<const std::vector<DocumentSpan>> documents;  // live ones, ascending
  uint64_t chunks = 0;                                         // of these
};
using Parts = std::vector<Part>;  // ascending id

// Connections to the catalogue that no view uses at present. Opening one checks the schema, which a
// query should not have to wait for.
class SpareConnections {
 public:
  Result<Catalogue> take(const fs::path& folder) {
    {
      const std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        Catalogue catalogue = std::move(idle_.back());
        idle_.pop_back();
        return catalogue;
      }
    }
    return Catalogue::open(folder / kCatalogueFile, Catalogue::Access::read);
  }
  void give_back(Catalogue catalogue) {
    constexpr size_t kMost = 4;
    const std::lock_guard lock(mutex_);
    if (idle_.size() < kMost) idle_.push_back(std::move(catalogue));
  }

 private:
  std::mutex mutex_;
  std::vector<Catalogue> idle_;
};

class FolderView final : public BankView {
 public:
  FolderView(std::shared_ptr<const Snapshot> snapshot, Catalogue catalogue,
             std::unique_ptr<Catalogue::ReadScope> moment, std::shared_ptr<SpareConnections> spare)
      : snapshot_(std::move(snapshot)),
        catalogue_(std::move(catalogue)),
        moment_(std::move(moment)),
        spare_(std::move(spare)) {}
  ~FolderView() override {
    moment_.reset();
    spare_->give_back(std::move(catalogue_));
  }

  const std::shared_ptr<const Snapshot>& snapshot() const override { return snapshot_; }
  const Catalogue& catalogue() const override { return catalogue_; }

 private:
  std::shared_ptr<const Snapshot> snapshot_;
  Catalogue catalogue_;
  std::unique_ptr<Catalogue::ReadScope> moment_;  // ends before its catalogue
  std::shared_ptr<SpareConnections> spare_;
};

class FolderReader final : public BankReader {
 public:
  FolderReader(fs::path folder, BankManifest manifest, Catalogue catalogue)
      : folder_(std::move(folder)),
        manifest_(std::move(manifest)),
        catalogue_(std::move(catalogue)) {}

  const fs::path& folder() const override { return folder_; }
  const BankManifest& manifest() const override { return manifest_; }
  Catalogue& catalogue() override { return catalogue_; }

  Result<std::shared_ptr<const Snapshot>> snapshot() override {
    return retried([&]() -> Result<std::shared_ptr<const Snapshot>> {
      // Asked before the layout is read: a commit in between makes the next call read it once more.
      MSA_ASSIGN(const int64_t version, catalogue_.data_version());
      if (snapshot_ && version == version_) return snapshot_;
      return load(catalogue_, version);
    });
  }

  Result<std::unique_ptr<BankView>> view() override {
    return retried([&]() -> Result<std::unique_ptr<BankView>> {
      MSA_ASSIGN(const int64_t before, catalogue_.data_version());
      MSA_ASSIGN(Catalogue catalogue, spare_->take(folder_));
      MSA_ASSIGN(auto moment, catalogue.begin_read());
      // SQLite chooses the moment at the first read.
      MSA_ASSIGN([[maybe_unused]] const uint32_t next, catalogue.next_number());
      MSA_ASSIGN(const int64_t version, catalogue_.data_version());
      std::shared_ptr<const Snapshot> snapshot = snapshot_;
      if (!snapshot || version != version_) {
        MSA_ASSIGN(snapshot, load(catalogue, before));
      }
      return std::make_unique<FolderView>(std::move(snapshot), std::move(catalogue),
                                          std::move(moment), spare_);
    });
  }

  Result<uint64_t> disk_bytes() const override {
    uint64_t bytes = 0;
    std::error_code failed;
    for (fs::recursive_directory_iterator entry(folder_, failed), end; !failed && entry != end;
         entry.increment(failed)) {
      // A file that a writer has just renamed or removed counts nothing.
      std::error_code gone;
      if (!entry->is_regular_file(gone) || gone) continue;
      if (const uintmax_t size = entry->file_size(gone); !gone) bytes += size;
    }
    if (failed) return system_error("list", folder_, failed.value());
    return bytes;
  }

  Result<Report> verify(const std::function<void(uint64_t, uint64_t)>& progress,
                        const std::stop_token& stop) override {
    return verify_bank(folder_, manifest_, catalogue_, progress, nullptr, stop);
  }

 private:
  // A compaction may remove a file between the moment its record was read and that at which it is
  // opened. What was committed meanwhile says where its documents are now.
  template <class Attempt>
  auto retried(Attempt attempt) -> decltype(attempt()) {
    constexpr int kAttempts = 10;
    for (int i = 1;; ++i) {
      MSA_ASSIGN(const int64_t before, catalogue_.data_version());
      auto outcome = attempt();
      if (outcome || outcome.error().code != Code::not_found || i == kAttempts) return outcome;
      MSA_ASSIGN(const int64_t after, catalogue_.data_version());
      if (after == before) return outcome;
    }
  }

  // The state that `catalogue` sees, which is that of `version` or a later one.
  Result<std::shared_ptr<const Snapshot>> load(const Catalogue& catalogue, int64_t version) {
    std::vector<KnownSegment> known;
    for (const Part& part : *parts_) known.push_back({part.record, part.documents->size()});
    MSA_ASSIGN(LayoutChanges layout, catalogue.layout_since(known));
    auto parts = std::make_shared<Parts>();
    auto snapshot = std::make_shared<Snapshot>();
    snapshot->router_layers = manifest_.router_layers;
    for (size_t s = 0, before = 0; s < layout.segments.size(); ++s) {
      Part& part = parts->emplace_back();
      part.record = std::move(layout.segments[s]);
      while (before < parts_->size() && (*parts_)[before].record.id < part.record.id) ++before;
      if (before < parts_->size() && (*parts_)[before].record == part.record) {
        part = (*parts_)[before];
      } else {
        MSA_ASSIGN(Segment opened, open_segment(folder_, part.record, manifest_.segment_shape()));
        part.arrays = std::make_shared<const Segment>(std::move(opened));
      }
      if (auto& documents = layout.documents[s]) {
        part.chunks = 0;
        for (const DocumentSpan& span : *documents) part.chunks += span.chunks;
        part.documents = std::make_shared<const std::vector<DocumentSpan>>(std::move(*documents));
      }
      assert(part.documents);
      snapshot->segments.push_back(
          {part.arrays->layers(), *part.documents, part.record.id, &part.arrays->file()});
      snapshot->documents += part.documents->size();
      snapshot->chunks += part.chunks;
    }
    snapshot->keep_alive = parts;
    parts_ = std::move(parts);
    snapshot_ = std::move(snapshot);
    version_ = version;
    return snapshot_;
  }

  fs::path folder_;
  BankManifest manifest_;
  Catalogue catalogue_;
  std::shared_ptr<SpareConnections> spare_ = std::make_shared<SpareConnections>();
  std::shared_ptr<const Parts> parts_ = std::make_shared<Parts>();  // those of snapshot_
  std::shared_ptr<const Snapshot> snapshot_;
  int64_t version_ = 0;  // the catalogue's data_version when snapshot_ was made
};

}  // namespace

Result<std::shared_ptr<BankReader>> BankReader::open(const fs::path& folder) {
  MSA_TRY(check_is_bank(folder));
  MSA_ASSIGN(Catalogue catalogue,
             Catalogue::open(folder / kCatalogueFile, Catalogue::Access::read));
  MSA_ASSIGN(const std::string json, catalogue.manifest());
  MSA_ASSIGN(BankManifest manifest, parse_manifest(json, folder));
  return std::make_shared<FolderReader>(folder, std::move(manifest), std::move(catalogue));
}

}  // namespace msa
