#include "memory/bank_verify.h"

#include <fmt/format.h>

#include <cstring>
#include <optional>
#include <set>
#include <system_error>
#include <unordered_set>
#include <utility>

#include "base/files.h"
#include "base/hash.h"
#include "memory/bank_files.h"
#include "memory/given_numbers.h"
#include "memory/segment_check.h"
#include "memory/segment_format.h"
#include "memory/wal_check.h"

namespace msa {
namespace {

namespace fs = std::filesystem;

// The file of a record's segment, whatever it holds.
Result<MappedFile> map_segment(const fs::path& folder, const SegmentRecord& record) {
  const fs::path file = folder / kSegmentFolder / record.file;
  std::error_code failed;
  if (!fs::exists(file, failed) && !failed)
    return Error{Code::not_found,
                 fmt::format("{}: this segment of the bank is missing ({} chunks); mend the bank "
                             "with `msa memory repair`, or restore it from a copy",
                             file.string(), record.chunks)};
  return MappedFile::open(file, MappedFile::Links::refuse);
}

// Whether map_segment() failed because of what stands in the segment's place: nothing, or a link, a
// folder, a pipe. Any other error says that the file could not be read, not that it is bad.
bool is_damage(const Error& error) {
  return error.code == Code::not_found || error.code == Code::invalid_argument;
}

// The number that the header of a record's segment has to have. A segment that was moved here from
// another bank has kept that bank's; the checksum, which covers it, tells that it is the right one.
uint64_t expected_number(const MappedFile& file, const SegmentRecord& record) {
  SegmentHeader header{};
  const bool whole = file.bytes().size() >= sizeof(header);
  if (whole) std::memcpy(&header, file.bytes().data(), sizeof(header));
  return whole && header.checksum == record.checksum ? header.number
                                                     : static_cast<uint64_t>(record.id);
}

// The segment that the file holds, compared with its record. Every error is damage. So is a version
// that this program does not know: a bank that has such segments says so in its catalogue.
Result<Segment> segment_in(MappedFile file, const SegmentRecord& record,
                           const SegmentShape& shape) {
  const uint64_t number = expected_number(file, record);
  MSA_ASSIGN(Segment segment, Segment::open(std::move(file), number, shape));
  if (segment.chunks() != record.chunks || segment.bytes() != record.bytes ||
      segment.checksum() != record.checksum)
    return Error{
        Code::mismatch,
        fmt::format("{}: has {} chunks, {} bytes and checksum {}, the catalogue says {}, "
                    "{} and {}; mend the bank with `msa memory repair`, or restore it from a copy",
                    segment.file().path().string(), segment.chunks(), segment.bytes(),
                    to_hex(segment.checksum()), record.chunks, record.bytes,
                    to_hex(record.checksum))};
  return segment;
}

class Verification {
 public:
  Verification(const fs::path& folder, const BankManifest& manifest, const Catalogue& catalogue,
               const std::function<void(uint64_t, uint64_t)>& progress, std::set<int64_t>* damaged,
               const std::stop_token& stop)
      : folder_(folder),
        manifest_(manifest),
        catalogue_(catalogue),
        progress_(progress),
        damaged_(damaged),
        stop_(stop) {}

  Result<BankReader::Report> run() {
    const CatalogueLayout layout = check_catalogue();
    for (const SegmentRecord& record : layout.segments) {
      if (stopped()) break;
      MSA_TRY(check_segment(record));
    }
    if (stopped())
      return Error{Code::cancelled, fmt::format("{}: verifying was stopped", folder_.string())};
    return std::move(report_);
  }

 private:
  // The same trouble may show up in several ways; it is told once.
  void problem(std::string what) {
    if (told_.insert(what).second) report_.problems.push_back(std::move(what));
  }
  template <class T>
  void take(Result<T> result) {
    if (!result) problem(result.error().message);
  }
  bool stopped() const { return stop_.stop_requested(); }
  void advance(uint64_t bytes) {
    report_.bytes += bytes;
    if (progress_) progress_(report_.bytes, all_bytes_);
  }

  // Everything that the catalogue says, as of one moment.
  CatalogueLayout check_catalogue() {
    const auto bad_row = [&](const Error& error) { problem(error.message); };
    auto moment = catalogue_.begin_read();
    if (!moment) problem(moment.error().message);

    std::error_code ignored;
    const uintmax_t size = fs::file_size(folder_ / kCatalogueFile, ignored);
    const uint64_t catalogue_bytes = ignored ? 0 : size;
    CatalogueLayout layout;
    if (auto read = catalogue_.layout(bad_row))
      layout = std::move(read).value();
    else
      problem(read.error().message);
    all_bytes_ = catalogue_bytes;
    for (const SegmentRecord& record : layout.segments) all_bytes_ += record.bytes;

    auto lines = catalogue_.check(stop_);
    if (stopped()) return layout;
    if (lines)
      for (std::string& line : *lines) problem(std::move(line));
    else
      problem(lines.error().message);
    // Read later than the rows: what has been given out meanwhile is in it, too.
    std::optional<GivenNumbers> given;
    if (auto numbers = read_given_numbers(folder_ / kCatalogueFile))
      given = std::move(*numbers);
    else
      problem(numbers.error().message);
    take(catalogue_.each_document(
        0, true,
        [&](const DocumentRecord& document) {
          ++report_.documents;
          if (given && !given->contains(document.number))
            problem(
                fmt::format("{}: document {} ('{}') has a number that was never given out; "
                            "restore the bank from a copy",
                            (folder_ / kCatalogueFile).string(), document.number, document.id));
          if (document_hash(document.title, document.text) != document.hash)
            problem(
                fmt::format("{}: document {} ('{}'): title or text are not those that were "
                            "encoded; update it from its source, or restore the bank from a copy",
                            (folder_ / kCatalogueFile).string(), document.number, document.id));
          return !stopped();
        },
        bad_row));
    if (stopped()) return layout;
    check_names(layout);
    if (auto damage = find_log_damage(folder_ / kCatalogueFile)) problem(std::move(*damage));
    advance(catalogue_bytes);
    return layout;
  }

  // Looks for files that neither a record nor an interrupted commit explains. What the latter left
  // behind, or a compaction has replaced, the next writer removes.
  void check_names(const CatalogueLayout& layout) {
    auto next = catalogue_.next_segment();
    if (!next) return problem(next.error().message);
    auto names = list_names(folder_ / kSegmentFolder);
    if (!names) return problem(names.error().message);
    std::set<std::string_view> recorded;
    for (const SegmentRecord& record : layout.segments) recorded.insert(record.file);
    auto retired = catalogue_.retired();
    if (!retired) return problem(retired.error().message);
    for (const SegmentRecord& record : *retired) recorded.insert(record.file);
    for (const std::string& name : *names) {
      if (recorded.contains(name) || is_unfinished_segment(name)) continue;
      if (const auto id = parse_segment_file_name(name); id && *id >= *next) continue;
      problem(fmt::format("{}: no record of the bank names this file; move it elsewhere",
                          (folder_ / kSegmentFolder / name).string()));
    }
  }

  // An error: where damage is asked for, of a segment of which it cannot be said.
  Result<void> check_segment(const SegmentRecord& record) {
    ++report_.segments;
    const uint64_t before = report_.bytes;
    const auto bad = [&](std::string what) {
      if (damaged_ != nullptr) damaged_->insert(record.id);
      problem(std::move(what));
    };
    Result<MappedFile> file = map_segment(folder_, record);
    if (file) {
      const SegmentShape shape = manifest_.segment_shape();
      const Result<Segment> segment = segment_in(std::move(*file), record, shape);
      if (!segment)
        bad(segment.error().message);
      else
        for (std::string& what : segment_problems(
                 *segment, shape, [&](uint64_t bytes) { advance(bytes); }, stop_))
          bad(std::move(what));
    } else if (file.error().code == Code::not_found && !still_recorded(record)) {
      --report_.segments;  // a compaction has moved its documents elsewhere since
    } else if (damaged_ == nullptr || is_damage(file.error())) {
      bad(file.error().message);
    } else {
      return std::move(file).error();
    }
    if (stopped()) return {};
    // What could not be read counts as done, so that progress ends at all of it.
    if (const uint64_t read = report_.bytes - before; read < record.bytes)
      advance(record.bytes - read);
    return {};
  }

  bool still_recorded(const SegmentRecord& record) {
    // Asked before the records are read: a commit in between has them read once more.
    const Result<int64_t> version = catalogue_.data_version();
    if (!version) return true;
    if (recorded_as_of_ != *version) {
      const auto now = catalogue_.segments([](const Error&) {});
      if (!now) return true;
      recorded_.clear();
      for (const SegmentRecord& r : *now) recorded_.insert(r.id);
      recorded_as_of_ = *version;
    }
    return recorded_.contains(record.id);
  }

  const fs::path& folder_;
  const BankManifest& manifest_;
  const Catalogue& catalogue_;
  const std::function<void(uint64_t, uint64_t)>& progress_;
  std::set<int64_t>* damaged_;
  const std::stop_token& stop_;
  uint64_t all_bytes_ = 0;
  std::unordered_set<std::string> told_;
  std::unordered_set<int64_t> recorded_;   // ids of all segments, for still_recorded()
  std::optional<int64_t> recorded_as_of_;  // the catalogue's data_version then
  BankReader::Report report_;
};

}  // namespace

Result<Segment> open_segment(const fs::path& folder, const SegmentRecord& record,
                             const SegmentShape& shape) {
  MSA_ASSIGN(MappedFile file, map_segment(folder, record));
  return segment_in(std::move(file), record, shape);
}

Result<BankReader::Report> verify_bank(const fs::path& folder, const BankManifest& manifest,
                                       const Catalogue& catalogue,
                                       const std::function<void(uint64_t, uint64_t)>& progress,
                                       std::set<int64_t>* damaged, const std::stop_token& stop) {
  return Verification(folder, manifest, catalogue, progress, damaged, stop).run();
}

}  // namespace msa
