#include "memory/attachment.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <memory>
#include <optional>
#include <string_view>
#include <system_error>
#include <unordered_set>
#include <utility>

#include "base/files.h"
#include "base/hash.h"
#include "memory/bank.h"
#include "memory/bank_files.h"
#include "memory/bank_verify.h"
#include "memory/catalogue_attach.h"

namespace msa {
namespace {

namespace fs = std::filesystem;

constexpr size_t kNamed = 5;  // documents that an error names

// What the catalogue is called of a bank that is being removed, since all its documents are in
// another one. It goes last: as long as it is there, the removal can be gone on with.
constexpr std::string_view kMovedCatalogue = "catalogue.sqlite.moved";

// A bank that is attached, as of one moment.
struct OtherBank {
  fs::path folder;
  BankManifest manifest;
  FolderLock lock;  // taken where the bank is to be removed
  std::optional<Catalogue> catalogue;
  std::unique_ptr<Catalogue::ReadScope> moment;  // ends before its catalogue
  CatalogueLayout layout;
  std::vector<Segment> segments;  // as the layout lists them
  GivenNumbers given;

  void close() {
    moment.reset();
    catalogue.reset();
    segments.clear();
  }
};

// A bank whose catalogue has the name kMovedCatalogue.
struct MovedBank {
  fs::path folder;
  FolderLock lock;
  std::vector<fs::path> segments;  // their files
};

// A segment file that comes with the attachment.
struct NewSegment {
  const OtherBank* other = nullptr;
  size_t index = 0;                 // in the other's layout
  SegmentRecord record;             // chunks, bytes and checksum once it is written
  bool linked = false;              // has the other's file; else the rows of `spans` are copied
  std::vector<DocumentSpan> spans;  // that are taken over, where they lie in the other's
  uint64_t chunks = 0;              // of them
};

// In what the manifests differ, if they do: "another model (fingerprint a, not b)".
std::optional<std::string> difference(const BankManifest& is, const BankManifest& wanted) {
  const auto similarity = [](const BankManifest& m) { return m.cosine ? "cosine" : "dot"; };
  if (is.model_fingerprint != wanted.model_fingerprint)
    return fmt::format("another model (fingerprint {}, not {})", to_hex(is.model_fingerprint),
                       to_hex(wanted.model_fingerprint));
  if (is.tokenizer_fingerprint != wanted.tokenizer_fingerprint)
    return fmt::format("another tokenizer (fingerprint {}, not {})",
                       to_hex(is.tokenizer_fingerprint), to_hex(wanted.tokenizer_fingerprint));
  if (is.router_layers != wanted.router_layers)
    return fmt::format("router layers {}, not {}", fmt::join(is.router_layers, ","),
                       fmt::join(wanted.router_layers, ","));
  if (is.kv_heads != wanted.kv_heads || is.head_dim != wanted.head_dim)
    return fmt::format("{} key/value heads of size {}, not {} of {}", is.kv_heads, is.head_dim,
                       wanted.kv_heads, wanted.head_dim);
  if (is.chunk_size != wanted.chunk_size)
    return fmt::format("chunks of {} tokens, not of {}", is.chunk_size, wanted.chunk_size);
  if (is.cosine != wanted.cosine)
    return fmt::format("routing keys for {} similarity, not for {}", similarity(is),
                       similarity(wanted));
  if (is.dtype != wanted.dtype)
    return fmt::format("values of type {}, not {}", name_of(is.dtype), name_of(wanted.dtype));
  if (is.content != wanted.content) {
    const auto stored = [](const BankManifest& m) {
      return m.content == ContentFormat::int8 ? "as int8" : "in full";
    };
    return fmt::format("content {}, not {}", stored(is), stored(wanted));
  }
  return std::nullopt;
}

// The document or long text whose passage this is: "a" of "a#3", or the id itself.
std::string_view text_of(std::string_view id) {
  const size_t mark = id.rfind('#');
  if (mark == std::string_view::npos || mark + 1 == id.size()) return id;
  const std::string_view digits = id.substr(mark + 1);
  return digits.find_first_not_of("0123456789") == std::string_view::npos ? id.substr(0, mark) : id;
}

// Whether a link failed because these two places, or the file system, have none.
bool has_no_links(int error) {
  return error == EXDEV || error == EPERM || error == EMLINK || error == ENOTSUP ||
         error == EOPNOTSUPP || error == ENOSYS || error == EACCES;
}

// Whether the removal of a bank was interrupted in this folder.
bool was_moved(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(folder / kMovedCatalogue, ignored) &&
         !fs::exists(folder / kCatalogueFile, ignored);
}

// The files of a bank's segments, by their names.
Result<std::vector<fs::path>> segment_files(const fs::path& folder) {
  MSA_TRY(check_segment_folder(folder));
  MSA_ASSIGN(const std::vector<std::string> names, list_names(folder / kSegmentFolder));
  std::vector<fs::path> files;
  for (const std::string& name : names)
    if (is_unfinished_segment(name) || parse_segment_file_name(name))
      files.push_back(folder / kSegmentFolder / name);
  return files;
}

// Removes a bank's files but for the catalogue, durably; `segments` are the segments'. The lock's
// holder calls this. Returns why something could not be removed.
std::vector<std::string> remove_bank_files(const fs::path& folder,
                                           const std::vector<fs::path>& segments) {
  std::vector<std::string> left;
  const auto note = [&](const Result<void>& done) {
    if (!done) left.push_back(done.error().message);
  };
  const fs::path catalogue = folder / kCatalogueFile;
  for (const char* ending : {"-wal", "-shm"}) note(remove_file(fs::path(catalogue).concat(ending)));
  for (const fs::path& file : segments) note(remove_file(file));
  ::rmdir((folder / kSegmentFolder).c_str());  // stays if it holds anything else
  note(remove_file(folder / kLockFile));
  note(sync_folder(folder));
  return left;
}

class Attachment {
 public:
  Attachment(const fs::path& folder, const AttachmentOptions& options,
             const std::function<void(uint64_t, uint64_t)>& progress, std::stop_token stop)
      : folder_(folder), options_(options), progress_(progress), stop_(std::move(stop)) {}

  Result<AttachmentReport> run(const std::vector<fs::path>& others) {
    MSA_TRY(open(others));
    if (others_.empty()) {
      remove_moved();
      return std::move(report_);
    }
    std::error_code ignored;
    const bool was_there = fs::exists(folder_ / kCatalogueFile, ignored);
    std::vector<fs::path> missing;  // the bank's folder and those above it that are not there yet
    for (fs::path at = folder_; !at.empty() && !fs::exists(at, ignored); at = at.parent_path())
      missing.push_back(at);
    // Makes the bank if there is none, takes away what an interrupted commit left, holds the lock.
    MSA_ASSIGN(const auto writer, BankWriter::open_or_create(folder_, others_.front()->manifest));
    // Somebody else may have made it meanwhile, and then added to it.
    const bool made = !was_there && writer->next_number() == 0;
    Result<void> done = attach();
    if (!done) {
      for (const NewSegment& segment : segments_)
        discard_segment(path_of(segment.record), done.error());
      if (made) discard_new_bank(done.error(), missing);
      return std::move(done).error();
    }
    if (options_.move)
      for (const auto& other : others_) mark_as_moved(*other);
    remove_moved();
    return std::move(report_);
  }

 private:
  fs::path path_of(const SegmentRecord& record) const {
    return folder_ / kSegmentFolder / record.file;
  }

  Result<void> open(const std::vector<fs::path>& given) {
    if (given.empty())
      return Error{
          Code::invalid_argument,
          fmt::format("{}: no bank to attach was given; name at least one", folder_.string())};
    std::vector<fs::path> others;
    for (const fs::path& folder : given) {
      MSA_ASSIGN(const bool moved, take_moved(folder));
      if (!moved) others.push_back(folder);
    }
    std::error_code ignored;
    for (size_t i = 0; i < others.size(); ++i) {
      MSA_TRY(check_is_bank(others[i]));
      const fs::path catalogue = others[i] / kCatalogueFile;
      if (fs::equivalent(catalogue, folder_ / kCatalogueFile, ignored) && !ignored)
        return Error{Code::invalid_argument,
                     fmt::format("{}: is the bank itself; give other banks to attach to it",
                                 others[i].string())};
      for (size_t j = 0; j < i; ++j)
        if (fs::equivalent(catalogue, others[j] / kCatalogueFile, ignored) && !ignored)
          return Error{Code::invalid_argument,
                       fmt::format("{}: is given twice; name each bank once", others[i].string())};
    }
    std::optional<BankManifest> wanted;
    if (fs::exists(folder_ / kCatalogueFile, ignored)) {
      MSA_ASSIGN(const auto reader, BankReader::open(folder_));
      wanted = reader->manifest();
    }
    for (const fs::path& folder : others) {
      MSA_ASSIGN(auto other, open_other(folder));
      if (!wanted) wanted = other->manifest;
      if (const auto how = difference(other->manifest, *wanted))
        return Error{Code::mismatch,
                     fmt::format("{}: cannot be attached to {}, which it does not fit: it has {}; "
                                 "encode its documents with the model and options of that bank",
                                 folder.string(), folder_.string(), *how)};
      others_.push_back(std::move(other));
    }
    return {};
  }

  // Whether the bank in this folder is one whose removal is to be gone on with.
  Result<bool> take_moved(const fs::path& folder) {
    if (!options_.move || !was_moved(folder)) return false;
    MSA_ASSIGN(FolderLock lock, FolderLock::take(folder));
    // Asked again: whoever had the lock before may have come to the end.
    if (!was_moved(folder)) return false;
    MSA_ASSIGN(std::vector<fs::path> segments, segment_files(folder));
    moved_.push_back({folder, std::move(lock), std::move(segments)});
    return true;
  }

  Result<std::unique_ptr<OtherBank>> open_other(const fs::path& folder) {
    auto other = std::make_unique<OtherBank>();
    other->folder = folder;
    if (options_.move) {
      MSA_ASSIGN(other->lock, FolderLock::take(folder));
    }
    // A compaction may remove a file between the moment its record is read and that at which it is
    // opened: what was committed meanwhile says where its documents are now.
    constexpr int kAttempts = 10;
    for (int i = 1;; ++i) {
      const Result<void> read = read_other(*other);
      if (read) return other;
      if (read.error().code != Code::not_found || i == kAttempts || options_.move)
        return read.error();
      other->close();
    }
  }

  static Result<void> read_other(OtherBank& other) {
    const fs::path file = other.folder / kCatalogueFile;
    MSA_ASSIGN(Catalogue catalogue, Catalogue::open(file, Catalogue::Access::read));
    other.catalogue.emplace(std::move(catalogue));
    MSA_ASSIGN(other.moment, other.catalogue->begin_read());
    MSA_ASSIGN(const std::string json, other.catalogue->manifest());
    MSA_ASSIGN(other.manifest, parse_manifest(json, other.folder));
    MSA_ASSIGN(other.layout, other.catalogue->layout());
    for (const SegmentRecord& record : other.layout.segments) {
      MSA_ASSIGN(Segment segment,
                 open_segment(other.folder, record, other.manifest.segment_shape()));
      other.segments.push_back(std::move(segment));
    }
    // Later than the moment above: whatever has a number there is in it.
    MSA_ASSIGN(other.given, read_given_numbers(file));
    return {};
  }

  // All that is one transaction.
  Result<void> attach() {
    MSA_ASSIGN(CatalogueAttachment catalogue, CatalogueAttachment::begin(folder_ / kCatalogueFile));
    MSA_ASSIGN(next_segment_, catalogue.next_segment());
    given_ = catalogue.given();
    for (const auto& other : others_) {
      MSA_TRY(take_documents(catalogue, *other));
      given_.merge(other->given);
    }
    for (const NewSegment& segment : segments_) all_bytes_ += work_of(segment);
    bool linked = false;
    for (NewSegment& segment : segments_) {
      MSA_TRY(check_stop());
      MSA_TRY(write(segment));
      MSA_TRY(catalogue.insert(segment.record));
      ++report_.segments;
      linked = linked || segment.linked;
    }
    if (linked) MSA_TRY(sync_folder(folder_ / kSegmentFolder));
    MSA_TRY(check_stop());
    committing_ = true;
    return catalogue.commit(given_, next_segment_);
  }

  // Removes the bank that was made for an attachment that failed, while its writer holds the lock,
  // and those of these folders that are empty then; unless the failure leaves open whether the disk
  // holds the commit.
  void discard_new_bank(const Error& failure, const std::vector<fs::path>& folders) const {
    if (committing_ && (failure.code == Code::io || failure.code == Code::internal)) return;
    std::vector<fs::path> files;
    for (const NewSegment& segment : segments_) files.push_back(path_of(segment.record));
    // What is left without a catalogue is not taken for a bank.
    if (remove_file(folder_ / kCatalogueFile)) {
      (void)sync_folder(folder_);
      (void)remove_bank_files(folder_, files);
    }
    for (const fs::path& folder : folders) ::rmdir(folder.c_str());
  }

  Result<void> check_stop() const {
    if (!stop_.stop_requested()) return {};
    return Error{Code::cancelled,
                 fmt::format("{}: stopped; nothing was attached", folder_.string())};
  }

  // Decides about each document of a bank and writes the rows of those that come.
  Result<void> take_documents(CatalogueAttachment& catalogue, const OtherBank& other) {
    Conflicts numbers, ids;
    std::unordered_set<std::string> seen_texts;
    std::vector<size_t> places(other.layout.segments.size(), SIZE_MAX);  // in segments_
    Result<void> failed;
    MSA_TRY(other.catalogue->each_document(0, true, [&](const DocumentRecord& document) {
      failed = check_stop();
      if (failed) failed = take(catalogue, other, document, places, seen_texts, numbers, ids);
      return failed.ok();
    }));
    MSA_TRY(std::move(failed));
    if (ids.count > 0)
      return Error{
          Code::invalid_argument,
          fmt::format("{}: {} of its ids {} in {} with other texts: {}; remove them from one of "
                      "the banks, or give --replace to take these texts",
                      other.folder.string(), ids.count, ids.count == 1 ? "is" : "are",
                      folder_.string(), ids.list())};
    if (numbers.count > 0)
      return Error{
          Code::invalid_argument,
          fmt::format(
              "{}: {} of its documents {} a number that was given out in {}: {}; the number "
              "is part of what was encoded, so encode them again with --first-number {}",
              other.folder.string(), numbers.count, numbers.count == 1 ? "has" : "have",
              folder_.string(), numbers.list(), given_.next())};
    return {};
  }

  // What cannot be taken: how much, and the first of it in words.
  struct Conflicts {
    uint64_t count = 0;
    std::vector<std::string> first;
    void add(std::string what) {
      if (++count <= kNamed) first.push_back(std::move(what));
    }
    std::string list() const {
      return fmt::format("{}{}", fmt::join(first, ", "), count > kNamed ? ", …" : "");
    }
  };

  Result<void> take(CatalogueAttachment& catalogue, const OtherBank& other,
                    const DocumentRecord& document, std::vector<size_t>& places,
                    std::unordered_set<std::string>& seen_texts, Conflicts& numbers,
                    Conflicts& ids) {
    if (document_hash(document.title, document.text) != document.hash)
      return Error{Code::corrupt,
                   fmt::format("{}: document {} ('{}'): title or text are not those that were "
                               "encoded; verify that bank",
                               other.folder.string(), document.number, document.id)};
    MSA_ASSIGN(std::vector<AliasRecord> names, other.catalogue->aliases(document.number));
    names.insert(names.begin(), AliasRecord{document.id, document.number, document.source,
                                            document.char_begin, document.char_end});
    // Those that are new here.
    std::vector<AliasRecord> wanted;
    for (AliasRecord& name : names) {
      if (options_.replace) MSA_TRY(clear_text(catalogue, other, name.id, seen_texts));
      MSA_ASSIGN(const auto there, catalogue.find_id(name.id));
      if (there && there->hash == document.hash) {
        ++report_.already_there;
        continue;
      }
      if (there && !options_.replace) {
        ids.add(fmt::format("'{}'", name.id));
        continue;
      }
      if (there) {
        MSA_TRY(catalogue.remove(name.id));
        ++report_.replaced;
      }
      wanted.push_back(std::move(name));
    }
    if (wanted.empty() || ids.count > 0) return {};
    MSA_ASSIGN(std::optional<uint32_t> number,
               catalogue.find_text(document.hash, document.title, document.text));
    size_t first_alias = 0;
    if (!number) {
      if (given_.contains(document.number)) {
        numbers.add(fmt::format("{} ('{}')", document.number, document.id));
        return {};
      }
      MSA_TRY(take_over(catalogue, other, document, wanted.front(), places));
      number = document.number;
      first_alias = 1;
    } else {
      report_.aliases += wanted.size();
    }
    for (size_t i = first_alias; i < wanted.size(); ++i) {
      wanted[i].number = *number;
      MSA_TRY(catalogue.insert(wanted[i]));
    }
    return {};
  }

  // Takes away what the other bank no longer has of a text, the first time that one of its ids
  // comes: there may have been more passages, or none.
  Result<void> clear_text(CatalogueAttachment& catalogue, const OtherBank& other,
                          std::string_view id, std::unordered_set<std::string>& seen_texts) {
    std::string text(text_of(id));
    // "a#3" may also be a text of its own, the third of a file. Passages after the first begin
    // behind their text's beginning.
    MSA_ASSIGN(const auto second, other.catalogue->find_id(text + "#2"));
    if (!second || second->char_begin == 0) text = id;
    if (!seen_texts.insert(text).second) return {};
    const auto clear = [&](const std::string& name) -> Result<bool> {
      MSA_ASSIGN(const auto there, catalogue.find_id(name));
      if (!there) return false;
      MSA_ASSIGN(const auto comes, other.catalogue->find_id(name));
      if (!comes) {
        MSA_TRY(catalogue.remove(name));
        ++report_.replaced;
      }
      return true;
    };
    MSA_ASSIGN(const auto passage, catalogue.find_id(text + "#2"));
    MSA_TRY(clear(text));
    if (!passage || passage->char_begin == 0) return {};
    for (uint64_t i = 1;; ++i) {
      MSA_ASSIGN(const bool there, clear(fmt::format("{}#{}", text, i)));
      if (!there) return {};
    }
  }

  // Writes the row of a document that comes with its vectors, under `name`.
  Result<void> take_over(CatalogueAttachment& catalogue, const OtherBank& other,
                         const DocumentRecord& document, const AliasRecord& name,
                         std::vector<size_t>& places) {
    const std::vector<SegmentRecord>& records = other.layout.segments;
    const auto record =
        std::lower_bound(records.begin(), records.end(), document.segment,
                         [](const SegmentRecord& r, int64_t id) { return r.id < id; });
    const auto index = static_cast<size_t>(record - records.begin());  // layout() has checked it
    if (places[index] == SIZE_MAX) {
      places[index] = segments_.size();
      NewSegment segment;
      segment.other = &other;
      segment.index = index;
      segment.record.id = next_segment_++;
      segment.record.file = segment_file_name(segment.record.id);
      segments_.push_back(std::move(segment));
      MSA_TRY(link(segments_.back()));
    }
    NewSegment& segment = segments_[places[index]];
    DocumentRecord row = document;
    row.id = name.id;
    row.source = name.source;
    row.char_begin = name.char_begin;
    row.char_end = name.char_end;
    row.segment = segment.record.id;
    if (!segment.linked) row.first_chunk = static_cast<uint32_t>(segment.chunks);
    MSA_TRY(catalogue.insert(row));
    segment.spans.push_back({document.number, document.first_chunk, document.chunks});
    segment.chunks += document.chunks;
    ++report_.documents;
    report_.chunks += document.chunks;
    report_.tokens += document.tokens;
    return {};
  }

  // Gives the other bank's file a second name here, where it is to be moved and that can be done:
  // it has both until the other bank is removed, so that no crash loses it.
  Result<void> link(NewSegment& segment) {
    if (!options_.move) return {};
    const SegmentRecord& record = segment.other->layout.segments[segment.index];
    const fs::path from = segment.other->folder / kSegmentFolder / record.file;
    const fs::path to = path_of(segment.record);
    if (::link(from.c_str(), to.c_str()) != 0) {
      if (has_no_links(errno)) return {};
      return system_error("link to a segment", to, errno);
    }
    segment.linked = true;
    const std::string file = segment.record.file;
    const int64_t id = segment.record.id;
    segment.record = record;
    segment.record.id = id;
    segment.record.file = file;
    return {};
  }

  // Bytes to be read and written.
  uint64_t work_of(const NewSegment& segment) const {
    const uint64_t read = segment.other->layout.segments[segment.index].bytes;
    if (segment.linked) return read;
    return read + segment.chunks * segment.other->manifest.segment_shape().bytes_per_chunk();
  }
  void advance(uint64_t bytes) {
    done_bytes_ += bytes;
    if (progress_) progress_(std::min(done_bytes_, all_bytes_), all_bytes_);
  }

  Result<void> write(NewSegment& segment) {
    const Segment& source = segment.other->segments[segment.index];
    // A copy gets checksums of its own: damage must not slip under them.
    MSA_TRY(source.verify([&](uint64_t bytes) { advance(bytes); }));
    if (segment.linked) {
      report_.linked_bytes += segment.record.bytes;
      return {};
    }
    // Rows that follow each other are one piece.
    std::vector<DocumentSpan> runs;
    for (const DocumentSpan& span : segment.spans)
      if (!runs.empty() && runs.back().first_chunk + runs.back().chunks == span.first_chunk)
        runs.back().chunks += span.chunks;
      else
        runs.push_back(span);
    const SegmentShape shape = segment.other->manifest.segment_shape();
    std::vector<std::vector<SegmentPiece>> pieces(shape.router_layers.size());
    for (size_t l = 0; l < pieces.size(); ++l)
      for (const DocumentSpan& run : runs) {
        const SegmentLayer& layer = source.layers()[l];
        SegmentPiece& piece = pieces[l].emplace_back();
        piece.keys = layer.keys.slice_rows(run.first_chunk, run.chunks);
        if (shape.int8_heads > 0)
          piece.content_int8 = layer.content_int8.slice_rows(run.first_chunk, run.chunks);
        else
          piece.content = layer.content.slice_rows(run.first_chunk, run.chunks);
      }
    MSA_ASSIGN(const WrittenSegment written,
               write_segment(path_of(segment.record), static_cast<uint64_t>(segment.record.id),
                             shape, pieces));
    source.file().drop(0, source.bytes());
    segment.record.chunks = written.chunks;
    segment.record.bytes = written.bytes;
    segment.record.checksum = written.checksum;
    report_.copied_bytes += written.bytes;
    advance(segment.chunks * shape.bytes_per_chunk());
    return {};
  }

  // Marks a bank of which everything is in this one now; it is none any more then.
  void mark_as_moved(OtherBank& other) {
    MovedBank moved{other.folder, std::move(other.lock), {}};
    for (const SegmentRecord& record : other.layout.segments)
      moved.segments.push_back(other.folder / kSegmentFolder / record.file);
    other.close();
    const Result<void> renamed =
        rename_durably(other.folder / kCatalogueFile, other.folder / kMovedCatalogue);
    if (renamed)
      moved_.push_back(std::move(moved));
    else
      report_.left.push_back(renamed.error().message);
  }

  // Removes the banks that are marked. Their catalogues go when nothing else of any of them is
  // left: until then the same command can be given again.
  void remove_moved() {
    std::vector<const fs::path*> emptied;
    for (const MovedBank& moved : moved_) {
      std::vector<std::string> left = remove_bank_files(moved.folder, moved.segments);
      if (left.empty()) emptied.push_back(&moved.folder);
      std::move(left.begin(), left.end(), std::back_inserter(report_.left));
    }
    for (const fs::path* folder : emptied) {
      const Result<void> removed = remove_file(*folder / kMovedCatalogue);
      if (!removed)
        report_.left.push_back(removed.error().message);
      else if (::rmdir(folder->c_str()) != 0 && errno != ENOENT)  // holds anything else
        report_.left.push_back(system_error("remove the folder", *folder, errno).message);
    }
  }

  const fs::path& folder_;
  const AttachmentOptions& options_;
  const std::function<void(uint64_t, uint64_t)>& progress_;
  std::stop_token stop_;
  std::vector<std::unique_ptr<OtherBank>> others_;
  std::vector<MovedBank> moved_;
  std::vector<NewSegment> segments_;
  GivenNumbers given_;
  int64_t next_segment_ = 1;
  uint64_t done_bytes_ = 0, all_bytes_ = 0;
  bool committing_ = false;  // from then on it may be on the disk
  AttachmentReport report_;
};

}  // namespace

Result<AttachmentReport> attach_banks(const fs::path& folder, const std::vector<fs::path>& others,
                                      const AttachmentOptions& options,
                                      const std::function<void(uint64_t, uint64_t)>& progress,
                                      std::stop_token stop) {
  return Attachment(folder, options, progress, std::move(stop)).run(others);
}

}  // namespace msa
