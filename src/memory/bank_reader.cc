#include <fmt/format.h>
#include <sys/stat.h>

#include <cassert>
#include <cstdint>
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

// What tells one state of a file from another without reading it.
struct FileState {
  dev_t device = 0;
  ino_t inode = 0;
  off_t bytes = 0;
  int64_t seconds = 0, nanoseconds = 0;  // of the last change
  bool operator==(const FileState&) const = default;
};
FileState state_of(const fs::path& file) {
  struct stat found;
  if (::stat(file.c_str(), &found) != 0) return {};
  return {found.st_dev, found.st_ino, found.st_size, found.st_mtim.tv_sec, found.st_mtim.tv_nsec};
}

// A catalogue's file as it was when it was opened. Where SQLite can keep no log beside it, its
// connections take it for a file that never changes (catalogue_schema.cc). Should it change all the
// same, they would mix the pages that they know with new ones.
class CatalogueFile {
 public:
  explicit CatalogueFile(fs::path file)
      : file_(std::move(file)), state_(state_of(file_)), without_log_(has_no_log()) {}
  // Asked before and after: it is not known when SQLite looked.
  void opened() { without_log_ = without_log_ || has_no_log(); }

  const fs::path& path() const { return file_; }
  // Whether connections do not see what somebody else has changed since.
  bool changed() const {
    return without_log_ && (log_bytes(file_) > 0 || state_of(file_) != state_);
  }
  Error changed_meanwhile() const {
    return Error{Code::busy,
                 fmt::format("{}: was changed while it was read; ask again", file_.string())};
  }
  bool same_file(const CatalogueFile& other) const {
    return state_.device == other.state_.device && state_.inode == other.state_.inode;
  }

 private:
  bool has_no_log() const { return cannot_be_written(folder_of(file_)) && log_bytes(file_) == 0; }

  fs::path file_;
  FileState state_;
  bool without_log_ = false;
};

struct OpenedCatalogue {
  Catalogue catalogue;
  CatalogueFile file;
};
Result<OpenedCatalogue> open_catalogue(const fs::path& folder) {
  CatalogueFile file(folder / kCatalogueFile);
  MSA_ASSIGN(Catalogue catalogue, Catalogue::open(file.path(), Catalogue::Access::read));
  file.opened();
  return OpenedCatalogue{std::move(catalogue), std::move(file)};
}

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
             std::unique_ptr<Catalogue::ReadScope> moment, CatalogueFile file,
             std::shared_ptr<SpareConnections> spare)
      : snapshot_(std::move(snapshot)),
        catalogue_(std::move(catalogue)),
        moment_(std::move(moment)),
        file_(std::move(file)),
        spare_(std::move(spare)) {}
  ~FolderView() override {
    moment_.reset();
    spare_->give_back(std::move(catalogue_));
  }

  const std::shared_ptr<const Snapshot>& snapshot() const override { return snapshot_; }
  const Catalogue& catalogue() const override { return catalogue_; }
  Result<void> check() const override {
    if (file_.changed()) return file_.changed_meanwhile();
    return {};
  }

 private:
  std::shared_ptr<const Snapshot> snapshot_;
  Catalogue catalogue_;
  std::unique_ptr<Catalogue::ReadScope> moment_;  // ends before its catalogue
  CatalogueFile file_;
  std::shared_ptr<SpareConnections> spare_;
};

class FolderReader final : public BankReader {
 public:
  FolderReader(fs::path folder, BankManifest manifest, OpenedCatalogue opened)
      : folder_(std::move(folder)),
        manifest_(std::move(manifest)),
        catalogue_(std::move(opened.catalogue)),
        file_(std::move(opened.file)) {}

  const fs::path& folder() const override { return folder_; }
  const BankManifest& manifest() const override { return manifest_; }
  Catalogue& catalogue() override {
    (void)follow();  // where that fails, the next snapshot says why
    return catalogue_;
  }

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
                                          std::move(moment), file_, spare_);
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
    MSA_TRY(follow());
    auto report = verify_bank(folder_, manifest_, catalogue_, progress, nullptr, stop);
    if (file_.changed()) return file_.changed_meanwhile();
    return report;
  }

 private:
  // Opens the catalogue anew if its file changed and the connections do not see it.
  Result<void> follow() {
    if (!file_.changed()) return {};
    MSA_ASSIGN(OpenedCatalogue opened, open_catalogue(folder_));
    MSA_ASSIGN(const std::string json, opened.catalogue.manifest());
    MSA_ASSIGN(const BankManifest now, parse_manifest(json, folder_));
    MSA_TRY(check_manifest(now, manifest_, folder_));
    snapshot_.reset();
    if (!opened.file.same_file(file_)) parts_ = std::make_shared<const Parts>();
    catalogue_ = std::move(opened.catalogue);
    file_ = std::move(opened.file);
    // Views give their connections back to the former ones, which go with the last of them.
    spare_ = std::make_shared<SpareConnections>();
    return {};
  }

  // A compaction may remove a file between the moment its record was read and that at which it is
  // opened. What was committed meanwhile says where its documents are now.
  template <class Attempt>
  auto retried(Attempt attempt) -> decltype(attempt()) {
    constexpr int kAttempts = 10;
    for (int i = 1;; ++i) {
      MSA_TRY(follow());
      MSA_ASSIGN(const int64_t before, catalogue_.data_version());
      auto outcome = attempt();
      if (file_.changed()) {
        // What was read may be of two states, and so may what was kept of it.
        snapshot_.reset();
        parts_ = std::make_shared<const Parts>();
        if (i == kAttempts) return file_.changed_meanwhile();
        continue;
      }
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
  CatalogueFile file_;
  std::shared_ptr<SpareConnections> spare_ = std::make_shared<SpareConnections>();
  std::shared_ptr<const Parts> parts_ = std::make_shared<Parts>();  // those of snapshot_
  std::shared_ptr<const Snapshot> snapshot_;
  int64_t version_ = 0;  // the catalogue's data_version when snapshot_ was made
};

}  // namespace

Result<std::shared_ptr<BankReader>> BankReader::open(const fs::path& folder) {
  MSA_TRY(check_is_bank(folder));
  MSA_ASSIGN(OpenedCatalogue opened, open_catalogue(folder));
  MSA_ASSIGN(const std::string json, opened.catalogue.manifest());
  MSA_ASSIGN(BankManifest manifest, parse_manifest(json, folder));
  return std::make_shared<FolderReader>(folder, std::move(manifest), std::move(opened));
}

}  // namespace msa
