// Where the catalogue says that documents lie: all of it, or what is not as a former answer had it.
#include <fmt/format.h>

#include <utility>

#include "base/checked.h"
#include "memory/catalogue_impl.h"

namespace msa {
namespace {

using sqlite::Row;
using sqlite::Statement;
using sqlite::Transaction;

// All of it is in the index documents_place.
constexpr std::string_view kPlaceColumns = "number, segment, first_chunk, chunks";

// Takes rows of documents, kPlaceColumns, in the order of segment and first chunk, and checks each
// against its segment and the row before.
class Places {
 public:
  // Rows may be of these segments (ascending id), which live longer.
  Places(std::span<const SegmentRecord> segments, uint32_t next_number)
      : segments_(segments), next_number_(next_number), documents_(segments.size()) {}

  // The row that `statement` stands at. What is wrong with it, if it is not taken.
  Result<void> take(const Statement& statement) {
    Row row(statement, "documents");
    DocumentSpan span;
    span.number = static_cast<uint32_t>(row.number(0, "number", 0, kMaxNumber));
    const auto segment = static_cast<int64_t>(row.number(1, "segment", 1, kMaxSize));
    span.first_chunk = static_cast<uint32_t>(row.number(2, "first_chunk", 0, kMaxChunks - 1));
    span.chunks = static_cast<uint32_t>(row.number(3, "chunks", 1, kMaxChunks - span.first_chunk));
    if (row.ok() && span.number >= next_number_)
      row.reject(fmt::format("number is not below next_number, {}", next_number_));
    // Both are ascending in the segment's id.
    while (row.ok() && at_ < segments_.size() && segments_[at_].id < segment) ++at_;
    if (row.ok() && (at_ == segments_.size() || segments_[at_].id != segment))
      row.reject(fmt::format("segment {} is not recorded", segment));
    if (!row.ok()) return row.problem();
    std::vector<DocumentSpan>& spans = documents_[at_];
    if (!in_bounds<uint64_t>(span.first_chunk, span.chunks, segments_[at_].chunks))
      row.reject(fmt::format("{} chunks from {} on, segment {} has {}", span.chunks,
                             span.first_chunk, segment, segments_[at_].chunks));
    else if (!spans.empty() &&
             uint64_t{spans.back().first_chunk} + spans.back().chunks > span.first_chunk)
      row.reject(fmt::format("its chunks overlap those of document {}", spans.back().number));
    else if (!spans.empty() && spans.back().number >= span.number)
      row.reject(
          fmt::format("stands behind document {} in segment {}", spans.back().number, segment));
    if (!row.ok()) return row.problem();
    spans.push_back(span);
    return {};
  }

  // Of each segment, ascending row and number.
  std::vector<std::vector<DocumentSpan>> documents() && { return std::move(documents_); }

 private:
  std::span<const SegmentRecord> segments_;
  uint32_t next_number_;
  std::vector<std::vector<DocumentSpan>> documents_;
  size_t at_ = 0;  // of the last row's segment
};

// Reads single segments, as of the transaction that is under way.
class SegmentPlaces {
 public:
  static Result<SegmentPlaces> prepare(const sqlite::Database& database, uint32_t next_number) {
    SegmentPlaces places(next_number);
    MSA_ASSIGN(places.rows_,
               database.prepare(fmt::format("SELECT {} FROM documents WHERE segment = ?1 "
                                            "ORDER BY first_chunk",
                                            kPlaceColumns)));
    MSA_ASSIGN(places.count_,
               database.prepare("SELECT count(*) FROM documents WHERE segment = ?1"));
    return places;
  }

  // The documents that lie in `segment`, ascending row and number.
  Result<std::vector<DocumentSpan>> read(const SegmentRecord& segment) {
    const sqlite::ResetOnExit reset(rows_);
    rows_.bind(1, segment.id);
    Places places({&segment, 1}, next_number_);
    for (;;) {
      MSA_ASSIGN(const bool more, rows_.step());
      if (!more) return std::move(std::move(places).documents().front());
      MSA_TRY(places.take(rows_));
    }
  }

  // How many they are.
  Result<uint64_t> count(const SegmentRecord& segment) {
    const sqlite::ResetOnExit reset(count_);
    count_.bind(1, segment.id);
    MSA_ASSIGN([[maybe_unused]] const bool row, count_.step());
    Row counted(count_, "documents (of one segment)");
    const uint64_t documents = counted.number(0, "the number of documents", 0, kMaxSize);
    if (!counted.ok()) return counted.problem();
    return documents;
  }

 private:
  explicit SegmentPlaces(uint32_t next_number) : next_number_(next_number) {}

  uint32_t next_number_;
  Statement rows_, count_;
};

}  // namespace

Result<CatalogueLayout> Catalogue::layout(const BadRow& bad_row) const {
  MSA_ASSIGN([[maybe_unused]] const Transaction moment,
             Transaction::begin(impl_->database, Transaction::Kind::read));
  CatalogueLayout layout;
  MSA_ASSIGN(layout.segments, segments(bad_row));
  MSA_ASSIGN(const uint32_t next, next_number());
  Places places(layout.segments, next);
  MSA_ASSIGN(Statement statement,
             impl_->database.prepare(fmt::format(
                 "SELECT {} FROM documents ORDER BY segment, first_chunk", kPlaceColumns)));
  for (;;) {
    MSA_ASSIGN(const bool more, statement.step());
    if (!more) break;
    if (const Result<void> taken = places.take(statement); !taken)
      MSA_TRY(report(bad_row, taken.error()));
  }
  layout.documents = std::move(places).documents();
  for (const std::vector<DocumentSpan>& spans : layout.documents) {
    layout.document_count += spans.size();
    // At most 2^32 documents of 2^32 chunks: cannot wrap.
    for (const DocumentSpan& span : spans) layout.chunk_count += span.chunks;
  }
  return layout;
}

Result<LayoutChanges> Catalogue::layout_since(std::span<const KnownSegment> known) const {
  MSA_ASSIGN([[maybe_unused]] const Transaction moment,
             Transaction::begin(impl_->database, Transaction::Kind::read));
  const auto everything = [&]() -> Result<LayoutChanges> {
    MSA_ASSIGN(CatalogueLayout layout, this->layout());
    LayoutChanges changes;
    changes.segments = std::move(layout.segments);
    for (std::vector<DocumentSpan>& spans : layout.documents)
      changes.documents.emplace_back(std::move(spans));
    return changes;
  };
  if (known.empty()) return everything();

  LayoutChanges changes;
  MSA_ASSIGN(changes.segments, segments());
  changes.documents.resize(changes.segments.size());
  MSA_ASSIGN(const uint32_t next, next_number());
  MSA_ASSIGN(SegmentPlaces places, SegmentPlaces::prepare(impl_->database, next));
  struct Old {
    size_t segment = 0;  // in changes
    uint64_t documents = 0;
  };
  std::vector<Old> old;
  uint64_t expected = 0;  // documents, if no old segment has lost any
  for (size_t s = 0, k = 0; s < changes.segments.size(); ++s) {
    const SegmentRecord& record = changes.segments[s];
    while (k < known.size() && known[k].record.id < record.id) ++k;
    if (k < known.size() && known[k].record == record) {
      old.push_back({s, known[k].documents});
      expected += known[k].documents;
      continue;
    }
    MSA_ASSIGN(changes.documents[s], places.read(record));
    expected += changes.documents[s]->size();
  }

  // SQLite counts a whole table by its pages, without looking at a row.
  MSA_ASSIGN(const int64_t there, impl_->database.integer("SELECT count(*) FROM documents"));
  const auto count = static_cast<uint64_t>(there);
  if (count > expected) return everything();
  uint64_t gone = expected - count;
  // What goes is often what came last.
  for (auto of = old.rbegin(); gone > 0 && of != old.rend(); ++of) {
    const SegmentRecord& record = changes.segments[of->segment];
    MSA_ASSIGN(const uint64_t left, places.count(record));
    if (left == of->documents) continue;
    if (left > of->documents || of->documents - left > gone) return everything();
    MSA_ASSIGN(changes.documents[of->segment], places.read(record));
    gone -= of->documents - left;
  }
  // Rows that no segment explains: reading all of them says which.
  if (gone > 0) return everything();
  return changes;
}

}  // namespace msa
