#include <fmt/format.h>

#include <map>
#include <optional>
#include <system_error>
#include <utility>

#include "memory/bank.h"
#include "memory/bank_files.h"
#include "memory/bank_verify.h"

namespace msa {
namespace {

namespace fs = std::filesystem;

// Segments by id. Ids are never reused and segments never change, so what is mapped stays right.
using Segments = std::map<int64_t, std::shared_ptr<const Segment>>;

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
    // Asked before the layout is read: a commit in between makes the next call read it once more.
    MSA_ASSIGN(const int64_t version, catalogue_.data_version());
    if (snapshot_ && version == version_) return snapshot_;
    MSA_ASSIGN(CatalogueLayout layout, catalogue_.layout());

    auto segments = std::make_shared<Segments>();
    auto snapshot = std::make_shared<Snapshot>();
    snapshot->router_layers = manifest_.router_layers;
    for (size_t s = 0; s < layout.segments.size(); ++s) {
      const SegmentRecord& record = layout.segments[s];
      std::shared_ptr<const Segment>& segment = (*segments)[record.id];
      if (segments_ && segments_->contains(record.id)) {
        segment = segments_->at(record.id);
      } else {
        MSA_ASSIGN(Segment opened, open_segment(folder_, record, manifest_.segment_shape()));
        segment = std::make_shared<const Segment>(std::move(opened));
      }
      snapshot->segments.push_back({segment->layers(), std::move(layout.documents[s])});
    }
    snapshot->documents = layout.document_count;
    snapshot->chunks = layout.chunk_count;
    snapshot->keep_alive = segments;
    segments_ = std::move(segments);
    snapshot_ = std::move(snapshot);
    version_ = version;
    return snapshot_;
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

  Result<Report> verify(const std::function<void(uint64_t, uint64_t)>& progress) override {
    return verify_bank(folder_, manifest_, catalogue_, progress);
  }

 private:
  fs::path folder_;
  BankManifest manifest_;
  Catalogue catalogue_;
  std::shared_ptr<const Segments> segments_;  // those of snapshot_
  std::shared_ptr<const Snapshot> snapshot_;
  int64_t version_ = 0;  // the catalogue's data_version when snapshot_ was made
};

}  // namespace

Result<std::shared_ptr<BankReader>> BankReader::open(const fs::path& folder) {
  std::error_code failed;
  const fs::file_status status = fs::status(folder, failed);
  if (status.type() == fs::file_type::not_found)
    return Error{Code::not_found,
                 fmt::format("{}: there is no such folder; check the path, or encode documents to "
                             "make a bank",
                             folder.string())};
  if (failed) return system_error("open", folder, failed.value());
  if (status.type() != fs::file_type::directory)
    return Error{Code::invalid_argument,
                 fmt::format("{}: is not a folder; a memory bank is one", folder.string())};
  const fs::path file = folder / kCatalogueFile;
  if (!fs::exists(file, failed) && !failed)
    return Error{Code::not_found,
                 fmt::format("{}: is not a memory bank (has no {}); check the path, or encode "
                             "documents to make a bank",
                             folder.string(), kCatalogueFile)};
  MSA_ASSIGN(Catalogue catalogue, Catalogue::open(file, Catalogue::Access::read));
  MSA_ASSIGN(const std::string json, catalogue.manifest());
  MSA_ASSIGN(BankManifest manifest, parse_manifest(json, folder));
  return std::make_shared<FolderReader>(folder, std::move(manifest), std::move(catalogue));
}

}  // namespace msa
