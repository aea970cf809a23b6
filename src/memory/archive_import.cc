// An archive into a bank. Nothing that it says is trusted.
#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "base/checked.h"
#include "base/files.h"
#include "base/new_folder.h"
#include "memory/archive.h"
#include "memory/bank.h"
#include "memory/bank_files.h"
#include "memory/bank_verify.h"
#include "memory/segment_format.h"

namespace msa {
namespace {

namespace fs = std::filesystem;

// What a bank unpacks to, at most, from so many bytes: vectors hardly shrink, text seldom to a
// tenth. Far beyond that lie only files that were made to fill a disk.
constexpr uint64_t kMostGrowth = 1000;
constexpr uint64_t kAlwaysAllowed = 64u << 20;

struct FreeReader {
  void operator()(archive* a) const { archive_read_free(a); }
};

class Import {
 public:
  Import(const fs::path& file, const fs::path& folder, const ArchiveProgress& progress,
         std::stop_token stop)
      : file_(file), folder_(folder), progress_(progress), stop_(std::move(stop)) {}

  Result<ArchiveReport> run() {
    {
      // Says what is wrong with a file that cannot be read at all.
      MSA_ASSIGN(const MappedFile probe, MappedFile::open(file_));
      report_.archive_bytes = probe.bytes().size();
    }
    MSA_ASSIGN(NewFolder made, NewFolder::create(folder_));
    working_ = made.working_path();
    MSA_TRY(make_folder(working_ / kSegmentFolder));
    MSA_TRY(unpack());
    MSA_TRY(check());
    MSA_TRY(sync_folder(working_ / kSegmentFolder));
    MSA_TRY(sync_folder(working_));
    MSA_TRY(check_stop());
    MSA_TRY(made.commit());
    return report_;
  }

 private:
  Result<void> check_stop() const {
    if (!stop_.stop_requested()) return {};
    return Error{Code::cancelled, fmt::format("{}: stopped; nothing was imported", file_.string())};
  }

  Error corrupt(std::string_view what) const {
    return {Code::corrupt, fmt::format("{}: {}; get the archive again, or export the bank anew",
                                       file_.string(), what)};
  }
  Error broken(archive* a) const {
    const char* why = archive_error_string(a);
    return corrupt(fmt::format("is not an archive of a bank, or is damaged ({})",
                               why == nullptr ? "no reason given" : why));
  }
  // What a bank in the working folder is blamed for is the archive's fault.
  Error in_archive(const Error& error) const {
    std::string what = error.message;
    for (size_t at; (at = what.find(working_.string() + "/")) != std::string::npos;)
      what.erase(at, working_.string().size() + 1);
    const Code code = error.code == Code::not_found || error.code == Code::mismatch ||
                              error.code == Code::invalid_argument
                          ? Code::corrupt
                          : error.code;
    return {code, fmt::format("{}: {}", file_.string(), what)};
  }

  Result<void> unpack() {
    const std::unique_ptr<archive, FreeReader> reader(archive_read_new());
    if (!reader) return Error{Code::no_space, fmt::format("{}: out of memory", file_.string())};
    archive* const a = reader.get();
    constexpr size_t kBlock = 1u << 18;
    if (archive_read_support_filter_zstd(a) != ARCHIVE_OK ||
        archive_read_support_format_tar(a) != ARCHIVE_OK ||
        archive_read_open_filename(a, file_.c_str(), kBlock) != ARCHIVE_OK)
      return broken(a);
    archive_entry* entry = nullptr;
    for (bool first = true;; first = false) {
      MSA_TRY(check_stop());
      const int code = archive_read_next_header(a, &entry);
      if (code == ARCHIVE_EOF) break;
      if (code != ARCHIVE_OK) return broken(a);
      MSA_ASSIGN(const std::string name, check_entry(entry));
      const auto size = static_cast<uint64_t>(archive_entry_size(entry));
      if (first != (name == kCatalogueFile))
        return corrupt(
            fmt::format("has '{}' {}", name, first ? "first, not the bank's catalogue" : "twice"));
      if (first) {
        MSA_TRY(check_room(size));
      } else {
        const auto expected = expected_.find(name);
        if (expected == expected_.end())
          return corrupt(
              fmt::format("holds '{}', which does not belong to its bank or is there "
                          "twice",
                          name));
        if (expected->second != size)
          return corrupt(fmt::format("'{}' has {} bytes, its catalogue says {}", name, size,
                                     expected->second));
        expected_.erase(expected);
      }
      MSA_TRY(extract(a, name, size));
      if (first) MSA_TRY(read_catalogue(size));
    }
    if (report_.bytes == 0) return corrupt("holds no bank's catalogue");
    if (!expected_.empty())
      return corrupt(fmt::format("lacks {} of its segments, the first is '{}'", expected_.size(),
                                 expected_.begin()->first));
    return {};
  }

  // The entry's name, if it is a plain file that says how large it is.
  Result<std::string> check_entry(archive_entry* entry) const {
    const char* stored = archive_entry_pathname(entry);
    if (stored == nullptr) return corrupt("has an entry without a name");
    std::string name = stored;
    if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry) != nullptr ||
        archive_entry_symlink(entry) != nullptr || archive_entry_sparse_count(entry) > 0)
      return corrupt(fmt::format("'{}' is not a plain file", name));
    if (!archive_entry_size_is_set(entry) || archive_entry_size(entry) < 0)
      return corrupt(fmt::format("does not say how large '{}' is", name));
    return name;
  }

  // Whether so many bytes in all may come out of this archive, and what is to come has room.
  Result<void> check_room(uint64_t bytes) const {
    const auto most = checked_mul<uint64_t>(report_.archive_bytes, kMostGrowth);
    if (most && bytes > std::max(*most, kAlwaysAllowed))
      return corrupt(fmt::format("says that it unpacks to {} bytes, {} times its size", bytes,
                                 bytes / std::max<uint64_t>(report_.archive_bytes, 1)));
    std::error_code failed;
    const fs::space_info space = fs::space(working_, failed);
    if (!failed && bytes - report_.bytes > space.available)
      return Error{Code::no_space,
                   fmt::format("{}: unpacks to {} bytes, the disk of {} has {} left; free some "
                               "space or choose another disk",
                               file_.string(), bytes, folder_.string(), space.available)};
    return {};
  }

  Result<void> extract(archive* a, const std::string& name, uint64_t size) {
    MSA_ASSIGN(AtomicFileWriter writer, AtomicFileWriter::create(working_ / name));
    std::vector<std::byte> piece(1u << 20);
    for (uint64_t done = 0; done < size;) {
      MSA_TRY(check_stop());
      const la_ssize_t got =
          archive_read_data(a, piece.data(), std::min<uint64_t>(piece.size(), size - done));
      if (got < 0) return broken(a);
      if (got == 0) return corrupt(fmt::format("'{}' ends after {} of {} bytes", name, done, size));
      MSA_TRY(writer.write(std::span(piece).first(static_cast<size_t>(got))));
      done += static_cast<uint64_t>(got);
      if (progress_) {
        const auto read =
            static_cast<uint64_t>(std::max<la_int64_t>(archive_filter_bytes(a, -1), 0));
        progress_("unpacking", std::min(read, report_.archive_bytes), report_.archive_bytes);
      }
    }
    report_.bytes += size;
    return writer.commit();
  }

  // What has to come, after the catalogue, and how large it is.
  Result<void> read_catalogue(uint64_t catalogue_bytes) {
    const auto read = [&]() -> Result<void> {
      MSA_ASSIGN(const Catalogue catalogue,
                 Catalogue::open(working_ / kCatalogueFile, Catalogue::Access::read));
      MSA_ASSIGN(const std::string json, catalogue.manifest());
      MSA_ASSIGN(const BankManifest manifest, parse_manifest(json, working_));
      MSA_ASSIGN(const CatalogueLayout layout, catalogue.layout());
      report_.documents = layout.document_count;
      report_.segments = layout.segments.size();
      for (const SegmentRecord& record : layout.segments) {
        const auto plan = plan_segment(manifest.segment_shape(), record.chunks);
        if (!plan || plan->file_bytes != record.bytes)
          return Error{Code::corrupt,
                       fmt::format("segment {} has {} chunks and {} bytes, which do not fit each "
                                   "other",
                                   record.id, record.chunks, record.bytes)};
        // A plain name: the catalogue's reader takes no other.
        expected_[fmt::format("{}/{}", kSegmentFolder, record.file)] = record.bytes;
      }
      return {};
    };
    if (const Result<void> done = read(); !done) return in_archive(done.error());
    uint64_t all = catalogue_bytes;
    for (const auto& [name, bytes] : expected_) {
      const auto sum = checked_add(all, bytes);
      if (!sum) return corrupt("its segments have more bytes than any file system holds");
      all = *sum;
    }
    return check_room(all);
  }

  // Reads everything back, as `verify` does.
  Result<void> check() {
    const auto verified = [&]() -> Result<std::vector<std::string>> {
      {  // gives the catalogue its log, as every bank's has one
        MSA_ASSIGN(const auto writer, BankWriter::open(working_));
      }
      MSA_ASSIGN(const Catalogue catalogue,
                 Catalogue::open(working_ / kCatalogueFile, Catalogue::Access::read));
      MSA_ASSIGN(const std::string json, catalogue.manifest());
      MSA_ASSIGN(const BankManifest manifest, parse_manifest(json, working_));
      MSA_ASSIGN(BankReader::Report report, verify_bank(
                                                working_, manifest, catalogue,
                                                [&](uint64_t done, uint64_t all) {
                                                  if (progress_) progress_("verifying", done, all);
                                                },
                                                nullptr, stop_));
      return std::move(report.problems);
    };
    const Result<std::vector<std::string>> problems = verified();
    MSA_TRY(check_stop());
    if (!problems) return in_archive(problems.error());
    if (!problems->empty()) return in_archive({Code::corrupt, problems->front()});
    return {};
  }

  const fs::path& file_;
  const fs::path& folder_;
  const ArchiveProgress& progress_;
  std::stop_token stop_;
  fs::path working_;
  std::map<std::string, uint64_t> expected_;  // names and sizes of entries still to come
  ArchiveReport report_;
};

}  // namespace

Result<ArchiveReport> import_bank(const fs::path& file, const fs::path& folder,
                                  const ArchiveProgress& progress, std::stop_token stop) {
  return Import(file, folder, progress, std::move(stop)).run();
}

}  // namespace msa
