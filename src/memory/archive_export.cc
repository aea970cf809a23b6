// A bank into an archive.
#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/new_folder.h"
#include "memory/archive.h"
#include "memory/bank.h"
#include "memory/bank_files.h"
#include "memory/bank_verify.h"
#include "memory/catalogue_schema.h"

namespace msa {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kPiece = 1u << 20;  // bytes between two looks at the stop token

struct FreeWriter {
  void operator()(archive* a) const { archive_write_free(a); }
};
struct FreeEntry {
  void operator()(archive_entry* e) const { archive_entry_free(e); }
};

// Where libarchive's output goes.
struct Sink {
  AtomicFileWriter writer;
  std::optional<Error> failure;

  static la_ssize_t write(archive* a, void* self, const void* bytes, size_t length) {
    auto& sink = *static_cast<Sink*>(self);
    const Result<void> written =
        sink.writer.write(std::span(static_cast<const std::byte*>(bytes), length));
    if (written) return static_cast<la_ssize_t>(length);
    sink.failure = written.error();
    archive_set_error(a, EIO, "%s", written.error().message.c_str());
    return -1;
  }
};

// The catalogue and the segments that it names, as of one moment.
struct Moment {
  fs::path catalogue_file;  // a copy
  BankManifest manifest;
  CatalogueLayout layout;
  std::vector<Segment> segments;
};

// Copies the rows that are there now. Room that removed rows have left does not come along.
Result<void> copy_catalogue(const fs::path& from, const fs::path& to) {
  MSA_ASSIGN(const CatalogueDatabase opened,
             open_catalogue_database(from, Catalogue::Access::read));
  MSA_ASSIGN(sqlite::Statement copy, opened.database.prepare("VACUUM INTO ?1"));
  const std::string name = to.string();
  copy.bind(1, name);
  return copy.run();
}

Result<Moment> read_moment(const fs::path& folder, const fs::path& scratch) {
  Moment moment;
  moment.catalogue_file = scratch / kCatalogueFile;
  MSA_TRY(remove_file(moment.catalogue_file));
  MSA_TRY(copy_catalogue(folder / kCatalogueFile, moment.catalogue_file));
  MSA_ASSIGN(const Catalogue catalogue,
             Catalogue::open(moment.catalogue_file, Catalogue::Access::read));
  MSA_ASSIGN(const std::string json, catalogue.manifest());
  MSA_ASSIGN(moment.manifest, parse_manifest(json, folder));
  MSA_ASSIGN(moment.layout, catalogue.layout());
  for (const SegmentRecord& record : moment.layout.segments) {
    MSA_ASSIGN(Segment segment, open_segment(folder, record, moment.manifest.segment_shape()));
    moment.segments.push_back(std::move(segment));
  }
  return moment;
}

class Export {
 public:
  Export(const fs::path& folder, const fs::path& file, const ArchiveProgress& progress,
         std::stop_token stop)
      : folder_(folder), file_(file), progress_(progress), stop_(std::move(stop)) {}

  Result<ArchiveReport> run() {
    MSA_TRY(check_is_bank(folder_));
    const std::string name = file_.filename().string();
    const bool compressed = name.ends_with(".tar.zst");
    if (!compressed && !name.ends_with(".tar"))
      return Error{Code::invalid_argument,
                   fmt::format("{}: does not end in .tar.zst or .tar; give the archive such a name",
                               file_.string())};
    std::error_code ignored;
    if (fs::exists(fs::symlink_status(file_, ignored)))
      return Error{
          Code::invalid_argument,
          fmt::format("{}: is there already; remove it or choose another name", file_.string())};
    MSA_ASSIGN(const NewFolder scratch, NewFolder::create(fs::path(file_).concat(".catalogue")));
    MSA_ASSIGN(const Moment moment, find_moment(scratch.working_path()));

    MSA_ASSIGN(AtomicFileWriter writer, AtomicFileWriter::create(file_));
    Sink sink{std::move(writer), {}};
    std::unique_ptr<archive, FreeWriter> out(archive_write_new());
    if (!out) return Error{Code::no_space, fmt::format("{}: out of memory", file_.string())};
    archive* const a = out.get();
    if ((compressed ? archive_write_add_filter_zstd(a) : archive_write_add_filter_none(a)) !=
            ARCHIVE_OK ||
        archive_write_set_format_pax_restricted(a) != ARCHIVE_OK ||
        archive_write_set_bytes_in_last_block(a, 1) != ARCHIVE_OK ||
        archive_write_open(a, &sink, nullptr, &Sink::write, nullptr) != ARCHIVE_OK)
      return failure(sink, a);

    MSA_ASSIGN(const MappedFile catalogue, MappedFile::open(moment.catalogue_file));
    all_bytes_ = catalogue.bytes().size();
    // Each segment is read twice: first it is compared with its checksums.
    for (const Segment& segment : moment.segments) all_bytes_ += 2 * segment.bytes();
    MSA_TRY(put(sink, a, std::string(kCatalogueFile), catalogue));
    for (size_t i = 0; i < moment.segments.size(); ++i) {
      const Segment& segment = moment.segments[i];
      MSA_TRY(check_stop());
      MSA_TRY(segment.verify([&](uint64_t bytes) { advance(bytes); }));
      MSA_TRY(put(sink, a, fmt::format("{}/{}", kSegmentFolder, moment.layout.segments[i].file),
                  segment.file()));
    }
    if (archive_write_close(a) != ARCHIVE_OK) return failure(sink, a);
    report_.documents = moment.layout.document_count;
    report_.segments = moment.segments.size();
    report_.archive_bytes = sink.writer.size();
    MSA_TRY(sink.writer.commit());
    return report_;
  }

 private:
  // A compaction may remove files between the copying of the catalogue and their opening.
  Result<Moment> find_moment(const fs::path& scratch) {
    constexpr int kAttempts = 10;
    for (int i = 1;; ++i) {
      Result<Moment> moment = read_moment(folder_, scratch);
      if (moment || moment.error().code != Code::not_found || i == kAttempts) return moment;
    }
  }

  Result<void> check_stop() const {
    if (!stop_.stop_requested()) return {};
    return Error{Code::cancelled, fmt::format("{}: stopped; nothing was written", file_.string())};
  }

  void advance(uint64_t bytes) {
    done_bytes_ += bytes;
    if (progress_) progress_("packing", std::min(done_bytes_, all_bytes_), all_bytes_);
  }

  Error failure(const Sink& sink, archive* a) const {
    if (sink.failure) return *sink.failure;
    const char* why = archive_error_string(a);
    return {Code::internal, fmt::format("{}: libarchive: {}; report this as a bug", file_.string(),
                                        why == nullptr ? "no reason given" : why)};
  }

  Result<void> put(const Sink& sink, archive* a, const std::string& name,
                   const MappedFile& content) {
    const std::unique_ptr<archive_entry, FreeEntry> entry(archive_entry_new());
    if (!entry) return Error{Code::no_space, fmt::format("{}: out of memory", file_.string())};
    const std::span<const std::byte> bytes = content.bytes();
    archive_entry_set_pathname(entry.get(), name.c_str());
    archive_entry_set_filetype(entry.get(), AE_IFREG);
    archive_entry_set_perm(entry.get(), 0644);
    archive_entry_set_mtime(entry.get(), std::time(nullptr), 0);
    archive_entry_set_size(entry.get(), static_cast<la_int64_t>(bytes.size()));
    if (archive_write_header(a, entry.get()) != ARCHIVE_OK) return failure(sink, a);
    for (uint64_t begin = 0; begin < bytes.size();) {
      MSA_TRY(check_stop());
      const uint64_t length = std::min<uint64_t>(kPiece, bytes.size() - begin);
      const la_ssize_t done = archive_write_data(a, bytes.data() + begin, length);
      if (done <= 0) return failure(sink, a);
      content.drop(begin, static_cast<uint64_t>(done));
      advance(static_cast<uint64_t>(done));
      begin += static_cast<uint64_t>(done);
    }
    report_.bytes += bytes.size();
    return {};
  }

  const fs::path& folder_;
  const fs::path& file_;
  const ArchiveProgress& progress_;
  std::stop_token stop_;
  uint64_t done_bytes_ = 0, all_bytes_ = 0;
  ArchiveReport report_;
};

}  // namespace

Result<ArchiveReport> export_bank(const fs::path& folder, const fs::path& file,
                                  const ArchiveProgress& progress, std::stop_token stop) {
  return Export(folder, file, progress, std::move(stop)).run();
}

}  // namespace msa
