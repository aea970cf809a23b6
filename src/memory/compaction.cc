#include "memory/compaction.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "memory/bank_files.h"
#include "memory/bank_verify.h"

namespace msa {
namespace {

namespace fs = std::filesystem;

// One segment that is to be replaced.
struct Source {
  SegmentRecord record;
  std::vector<DocumentSpan> documents;  // live ones, ascending
  uint64_t live_chunks = 0;
};

// Segments whose live rows become one new segment; none is written if they have no rows.
struct Group {
  std::vector<Source> sources;
  uint64_t live_chunks = 0;
};

class Compaction {
 public:
  Compaction(CompactionTarget bank, uint64_t segment_bytes,
             const std::function<void(uint64_t, uint64_t)>& progress)
      : bank_(bank),
        most_chunks_(
            std::clamp<uint64_t>(segment_bytes / bank.shape.bytes_per_chunk(), 1, UINT32_MAX)),
        progress_(progress) {}

  Result<CompactionReport> run(std::stop_token stop) {
    MSA_TRY(plan());
    for (const Group& group : groups_) {
      if (stop.stop_requested()) {
        report_.stopped = true;
        break;
      }
      MSA_TRY(rewrite(group));
    }
    MSA_ASSIGN(const std::vector<SegmentRecord> records, bank_.catalogue.segments());
    report_.segments_after = records.size();
    for (const SegmentRecord& record : records) report_.bytes_after += record.bytes;
    return report_;
  }

 private:
  // Finds the segments that are worth it, and which go together.
  Result<void> plan() {
    MSA_ASSIGN(CatalogueLayout layout, bank_.catalogue.layout());
    report_.segments_before = layout.segments.size();
    std::vector<Source> wanted;
    Group empty;
    for (size_t s = 0; s < layout.segments.size(); ++s) {
      Source source{std::move(layout.segments[s]), std::move(layout.documents[s]), 0};
      for (const DocumentSpan& span : source.documents) source.live_chunks += span.chunks;
      report_.bytes_before += source.record.bytes;
      if (source.live_chunks == 0)
        empty.sources.push_back(std::move(source));
      else if (has_dead_rows(source) || source.live_chunks < most_chunks_ / 4)
        wanted.push_back(std::move(source));
    }
    if (!empty.sources.empty()) groups_.push_back(std::move(empty));
    // Neighbours in number go together, so that segments stay ranges of numbers where they can.
    std::sort(wanted.begin(), wanted.end(), [](const Source& a, const Source& b) {
      return a.documents.front().number < b.documents.front().number;
    });
    Group group;
    const auto close = [&] {
      // A small segment alone would become itself.
      if (group.sources.size() > 1 ||
          (group.sources.size() == 1 && has_dead_rows(group.sources.front())))
        groups_.push_back(std::move(group));
      group = {};
    };
    for (Source& source : wanted) {
      if (group.live_chunks + source.live_chunks > most_chunks_) close();
      group.live_chunks += source.live_chunks;
      group.sources.push_back(std::move(source));
    }
    close();
    for (const Group& g : groups_)
      for (const Source& source : g.sources) all_bytes_ += work_of(source);
    return {};
  }

  static bool has_dead_rows(const Source& source) {
    return source.live_chunks < source.record.chunks;
  }
  // Bytes to be read and written. A segment without live rows is not looked into.
  uint64_t work_of(const Source& source) const {
    if (source.live_chunks == 0) return 0;
    return source.record.bytes + source.live_chunks * bank_.shape.bytes_per_chunk();
  }
  void advance(uint64_t bytes) {
    done_bytes_ += bytes;
    if (progress_) progress_(std::min(done_bytes_, all_bytes_), all_bytes_);
  }

  // Writes a group's new segment, commits it, and removes the old files.
  Result<void> rewrite(const Group& group) {
    std::vector<int64_t> old;
    uint64_t old_chunks = 0;
    for (const Source& source : group.sources) {
      old.push_back(source.record.id);
      old_chunks += source.record.chunks;
    }
    if (group.live_chunks == 0) {
      MSA_TRY(bank_.catalogue.replace_segments(old, std::nullopt, {}));
    } else {
      SegmentRecord record;
      record.id = bank_.next_segment++;
      record.file = segment_file_name(record.id);
      const fs::path file = bank_.folder / kSegmentFolder / record.file;
      if (Result<void> done = copy(group, old, file, record); !done) {
        discard_segment(file, done.error());
        return done;
      }
    }
    report_.removed_chunks += old_chunks - group.live_chunks;
    return remove_retired(bank_.folder, bank_.catalogue);
  }

  Result<void> copy(const Group& group, const std::vector<int64_t>& old, const fs::path& file,
                    SegmentRecord& record) {
    std::vector<Segment> segments;
    segments.reserve(group.sources.size());
    for (const Source& source : group.sources) {
      MSA_ASSIGN(Segment segment, open_segment(bank_.folder, source.record, bank_.shape));
      // The new segment gets checksums of its own: damage must not slip under them.
      MSA_TRY(segment.verify([&](uint64_t bytes) { advance(bytes); }));
      segments.push_back(std::move(segment));
    }

    struct Place {
      size_t segment;
      DocumentSpan span;  // in the old segment
    };
    std::vector<Place> order;
    for (size_t s = 0; s < group.sources.size(); ++s)
      for (const DocumentSpan& span : group.sources[s].documents) order.push_back({s, span});
    std::sort(order.begin(), order.end(),
              [](const Place& a, const Place& b) { return a.span.number < b.span.number; });
    std::vector<DocumentSpan> moved;
    moved.reserve(order.size());
    std::vector<Place>
        runs;  // of rows that follow each other in one segment; numbers do not matter
    uint32_t next = 0;
    for (const Place& row : order) {
      moved.push_back({row.span.number, next, row.span.chunks});
      next += row.span.chunks;
      if (!runs.empty() && runs.back().segment == row.segment &&
          runs.back().span.first_chunk + runs.back().span.chunks == row.span.first_chunk)
        runs.back().span.chunks += row.span.chunks;
      else
        runs.push_back(row);
    }

    std::vector<std::vector<SegmentPiece>> pieces(bank_.shape.router_layers.size());
    for (size_t l = 0; l < pieces.size(); ++l)
      for (const Place& run : runs) {
        const SegmentLayer& layer = segments[run.segment].layers()[l];
        const uint32_t first = run.span.first_chunk, rows = run.span.chunks;
        SegmentPiece& piece = pieces[l].emplace_back();
        piece.keys = layer.keys.slice_rows(first, rows);
        if (bank_.shape.int8_heads > 0)
          piece.content_int8 = layer.content_int8.slice_rows(first, rows);
        else
          piece.content = layer.content.slice_rows(first, rows);
      }
    MSA_ASSIGN(const WrittenSegment written,
               write_segment(file, static_cast<uint64_t>(record.id), bank_.shape, pieces));
    record.chunks = written.chunks;
    record.bytes = written.bytes;
    record.checksum = written.checksum;
    advance(group.live_chunks * bank_.shape.bytes_per_chunk());
    return bank_.catalogue.replace_segments(old, record, moved);
  }

  CompactionTarget bank_;
  uint64_t most_chunks_;
  const std::function<void(uint64_t, uint64_t)>& progress_;
  std::vector<Group> groups_;
  uint64_t all_bytes_ = 0, done_bytes_ = 0;
  CompactionReport report_;
};

}  // namespace

Result<CompactionReport> compact_bank(CompactionTarget bank, uint64_t segment_bytes,
                                      const std::function<void(uint64_t, uint64_t)>& progress,
                                      std::stop_token stop) {
  if (segment_bytes == 0)
    return Error{Code::invalid_argument,
                 fmt::format("{}: segments of at most 0 bytes hold nothing; give a larger size",
                             bank.folder.string())};
  return Compaction(bank, segment_bytes, progress).run(std::move(stop));
}

Result<void> remove_retired(const fs::path& folder, Catalogue& catalogue) {
  MSA_ASSIGN(const std::vector<SegmentRecord> retired, catalogue.retired());
  if (retired.empty()) return {};
  MSA_ASSIGN(const std::vector<SegmentRecord> records, catalogue.segments());
  std::set<std::string_view> recorded;
  for (const SegmentRecord& record : records) recorded.insert(record.file);
  for (const SegmentRecord& record : retired) {
    // A catalogue that somebody else changed could name a file that is needed.
    if (!parse_segment_file_name(record.file) || recorded.contains(record.file)) continue;
    MSA_TRY(remove_file(folder / kSegmentFolder / record.file));
  }
  // Only then: a file that a power cut brings back has to have its record still.
  MSA_TRY(sync_folder(folder / kSegmentFolder));
  return catalogue.forget_retired();
}

}  // namespace msa
