#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <set>
#include <string>
#include <system_error>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/files.h"
#include "memory/bank.h"
#include "memory/bank_files.h"
#include "memory/compaction.h"
#include "memory/content.h"
#include "memory/numbering.h"

namespace msa {
namespace {

namespace fs = std::filesystem;

// Numbers are below this, so that the next one always fits 32 bits.
constexpr uint64_t kNumbers = UINT32_MAX;
constexpr uint64_t kMaxSegmentChunks = UINT32_MAX;

// A new bank is made only where nothing else lies: in a folder that is absent, empty, or left by an
// interrupted creation.
Result<void> check_free_for_bank(const fs::path& folder) {
  MSA_ASSIGN(const std::vector<std::string> names, list_names(folder));
  const std::string unfinished = fmt::format("{}.new", kCatalogueFile);
  for (const std::string& name : names) {
    if (name.starts_with('.') || name == kLockFile || name == kSegmentFolder ||
        name.starts_with(unfinished))
      continue;
    return Error{Code::invalid_argument,
                 fmt::format("{}: holds other files ('{}') and no memory bank; give a new or empty "
                             "folder",
                             folder.string(), name)};
  }
  MSA_ASSIGN(const std::vector<std::string> segments, list_names(folder / kSegmentFolder));
  // A creation makes no segments: here the catalogue got lost, and a new one would orphan them.
  if (!segments.empty())
    return Error{Code::corrupt,
                 fmt::format("{}: has {} files in {}/ and no {}; restore that from a copy, or give "
                             "a new folder",
                             folder.string(), segments.size(), kSegmentFolder, kCatalogueFile)};
  return {};
}

class FolderWriter final : public BankWriter {
 public:
  FolderWriter(fs::path folder, BankManifest manifest, FolderLock lock, Catalogue catalogue,
               Numbering numbering)
      : folder_(std::move(folder)),
        shape_(manifest.segment_shape()),
        numbering_(numbering),
        lock_(std::move(lock)),
        catalogue_(std::move(catalogue)) {}

  // Removes what an interrupted commit left, and finds out which numbers come next.
  Result<void> start() {
    MSA_ASSIGN(const uint32_t next, catalogue_.next_number());
    next_number_ = first_pending_number_ = next;
    MSA_ASSIGN(next_segment_, catalogue_.next_segment());
    MSA_ASSIGN(const std::vector<SegmentRecord> records, catalogue_.segments());
    // Its file would be written over that of a recorded one.
    if (!records.empty() && next_segment_ <= records.back().id)
      return low_next_segment(folder_ / kCatalogueFile, next_segment_, records.back().id);
    std::set<std::string_view> recorded;
    for (const SegmentRecord& record : records) recorded.insert(record.file);
    MSA_ASSIGN(const std::vector<std::string> names, list_names(folder_ / kSegmentFolder));
    for (const std::string& name : names) {
      const bool ours = is_unfinished_segment(name) || parse_segment_file_name(name).has_value();
      if (ours && !recorded.contains(name)) MSA_TRY(remove_file(folder_ / kSegmentFolder / name));
    }
    return remove_retired(folder_, catalogue_);
  }

  Result<Presence> presence(std::string_view id, std::string_view title,
                            std::string_view text) override {
    MSA_ASSIGN(const std::optional<uint64_t> there, hash_of(id));
    if (!there) return Presence::absent;
    return *there == document_hash(title, text) ? Presence::same : Presence::different;
  }

  Result<bool> contains(std::string_view id) override {
    MSA_ASSIGN(const std::optional<uint64_t> there, hash_of(id));
    return there.has_value();
  }

  Result<std::optional<uint32_t>> find_text(std::string_view title,
                                            std::string_view text) override {
    // Committed documents have lower numbers than pending ones.
    MSA_ASSIGN(const std::vector<uint32_t> committed, catalogue_.find_text(title, text));
    for (const uint32_t number : committed)
      if (const auto left = names_left_.find(number); left == names_left_.end() || left->second > 0)
        return std::optional(number);
    const auto [begin, end] = pending_texts_.equal_range(document_hash(title, text));
    std::optional<uint32_t> lowest;
    for (auto it = begin; it != end; ++it) {
      const auto& document = std::get<DocumentRecord>(steps_[it->second]);
      if (document.title == title && document.text == text)
        lowest = std::min(lowest.value_or(document.number), document.number);
    }
    return lowest;
  }

  uint32_t next_number() const override {
    if (next_number_ <= numbering_.first) return numbering_.first;
    const uint64_t over = (next_number_ - numbering_.first) % numbering_.step;
    const uint64_t next = over == 0 ? next_number_ : next_number_ + (numbering_.step - over);
    return static_cast<uint32_t>(std::min(next, kNumbers));
  }

  Result<void> add(std::vector<NewDocument> documents, EncodedBatch batch) override {
    MSA_TRY(check_batch(documents, batch));
    // Everything is made aside first: if memory runs out, nothing has changed.
    std::vector<DocumentRecord> records;
    records.reserve(documents.size());
    Names ids;
    std::unordered_multimap<uint64_t, size_t> texts;
    uint64_t text_bytes = 0, chunk = pending_chunks_, number = next_number();
    for (size_t i = 0; i < documents.size(); ++i) {
      NewDocument& document = documents[i];
      MSA_TRY(check_document(document, ids));
      DocumentRecord record;
      record.number = static_cast<uint32_t>(number);
      number += numbering_.step;
      record.hash = document_hash(document.title, document.text);
      record.char_begin = document.char_begin;
      record.char_end = document.char_end;
      record.tokens = document.tokens;
      record.first_chunk = static_cast<uint32_t>(chunk);
      record.chunks = batch.chunks[i];
      chunk += batch.chunks[i];
      ids.emplace(document.id, record.hash);
      texts.emplace(record.hash, steps_.size() + i);
      record.id = std::move(document.id);
      record.title = std::move(document.title);
      record.source = std::move(document.source);
      record.text = std::move(document.text);
      text_bytes += record.title.size() + record.text.size();
      records.push_back(std::move(record));
    }
    batch.last_hidden = {};
    MSA_TRY(round_content(shape_, batch, folder_,
                          [&](size_t i) { return fmt::format("document '{}'", records[i].id); }));
    grow(steps_, records.size());
    grow(pending_batches_, 1);
    pending_names_.reserve(pending_names_.size() + ids.size());
    pending_texts_.reserve(pending_texts_.size() + texts.size());

    if (!records.empty()) next_number_ = uint64_t{records.back().number} + 1;
    pending_chunks_ = chunk;
    pending_text_bytes_ += text_bytes;
    for (DocumentRecord& record : records) steps_.emplace_back(std::move(record));
    pending_batches_.push_back(std::move(batch));
    pending_names_.merge(ids);
    pending_texts_.merge(texts);
    return {};
  }

  Result<void> add_alias(const NewDocument& document, uint32_t number) override {
    MSA_TRY(check_document(document, {}));
    AliasRecord alias;
    alias.id = document.id;
    alias.number = number;
    alias.source = document.source;
    alias.char_begin = document.char_begin;
    alias.char_end = document.char_end;
    const uint64_t hash = document_hash(document.title, document.text);
    if (number >= first_pending_number_) {
      if (number >= next_number_) return refuse_alias(document.id, number);
    } else {
      MSA_ASSIGN(uint64_t* const left, names_left(number));
      if (*left == 0) return refuse_alias(document.id, number);
      ++*left;
    }
    steps_.emplace_back(std::move(alias));
    pending_names_.emplace(document.id, hash);
    pending_name_bytes_ += kNameBytes + 2 * document.id.size() + document.source.size();
    return {};
  }

  Result<Removed> remove(std::string_view id) override {
    const std::string name(id);
    // What steps_ removes is what is committed: their order then never matters to a pending row.
    if (pending_names_.contains(name)) MSA_TRY(commit());
    if (removed_names_.contains(name)) return Removed::nothing;
    MSA_ASSIGN(const auto record, catalogue_.find_id(id));
    if (!record) return Removed::nothing;
    MSA_ASSIGN(uint64_t* const left, names_left(record->number));
    assert(*left > 0);
    --*left;
    removed_names_.insert(name);
    steps_.emplace_back(NameRemoval{name});
    pending_name_bytes_ += kNameBytes + 2 * name.size();
    return *left == 0 ? Removed::document : Removed::name;
  }

  Result<std::vector<std::string>> names(uint32_t number) override {
    std::vector<std::string> all;
    MSA_ASSIGN(const auto record, catalogue_.find(number));
    if (!record) return all;
    all.push_back(record->id);
    MSA_ASSIGN(const std::vector<AliasRecord> aliases, catalogue_.aliases(number));
    for (const AliasRecord& alias : aliases) all.push_back(alias.id);
    return all;
  }

  uint64_t pending_bytes() const override {
    return pending_chunks_ * shape_.bytes_per_chunk() + pending_text_bytes_ + pending_name_bytes_;
  }

  Result<void> commit() override {
    if (steps_.empty()) return {};
    if (pending_chunks_ == 0) {
      MSA_TRY(catalogue_.commit(std::nullopt, steps_, static_cast<uint32_t>(next_number_)));
    } else {
      SegmentRecord record;
      const fs::path file = choose_file(record);
      if (Result<void> done = write(file, record); !done) {
        discard_segment(file, done.error());
        return done;
      }
    }
    steps_.clear();
    pending_batches_.clear();
    pending_names_.clear();
    pending_texts_.clear();
    removed_names_.clear();
    names_left_.clear();
    first_pending_number_ = next_number_;
    pending_chunks_ = pending_text_bytes_ = pending_name_bytes_ = 0;
    return {};
  }

  Result<CompactionReport> compact(uint64_t segment_bytes,
                                   const std::function<void(uint64_t, uint64_t)>& progress,
                                   std::stop_token stop) override {
    MSA_TRY(commit());
    return compact_bank({folder_, shape_, catalogue_, next_segment_}, segment_bytes, progress,
                        std::move(stop));
  }

 private:
  Error refuse(std::string_view what, std::string_view remedy) const {
    return Error{Code::invalid_argument, fmt::format("{}: {}; {}", folder_.string(), what, remedy)};
  }

  Error refuse_alias(std::string_view id, uint32_t number) const {
    return refuse(fmt::format("'{}' cannot name document {}, which is not there", id, number),
                  "report this as a bug");
  }

  using Names = std::unordered_map<std::string, uint64_t>;  // and the hash of title and text
  // What a name that comes or goes takes until the commit, without its letters: a step, and a place
  // among the names.
  static constexpr uint64_t kNameBytes = sizeof(CatalogueStep) + sizeof(Names::value_type);

  // Room for `more`, at least doubled, so that many small batches do not copy all each time.
  template <class T>
  static void grow(std::vector<T>& v, size_t more) {
    if (v.capacity() - v.size() < more) v.reserve(std::max(v.size() + more, 2 * v.capacity()));
  }

  // Of the document with this name, if there is one once everything pending is committed.
  Result<std::optional<uint64_t>> hash_of(std::string_view id) {
    const std::string name(id);
    if (const auto waiting = pending_names_.find(name); waiting != pending_names_.end())
      return std::optional(waiting->second);
    if (removed_names_.contains(name)) return std::optional<uint64_t>();
    MSA_ASSIGN(const auto record, catalogue_.find_id(id));
    return record ? std::optional(record->hash) : std::nullopt;
  }

  // How many names a committed document has once everything pending is committed.
  Result<uint64_t*> names_left(uint32_t number) {
    if (const auto known = names_left_.find(number); known != names_left_.end())
      return &known->second;
    MSA_ASSIGN(const std::vector<std::string> all, names(number));
    return &names_left_.emplace(number, all.size()).first->second;
  }

  Result<void> check_batch(const std::vector<NewDocument>& documents,
                           const EncodedBatch& batch) const {
    constexpr std::string_view kBug = "report this as a bug";
    if (batch.chunks.size() != documents.size())
      return refuse(fmt::format("a batch of {} encoded documents came with {} documents",
                                batch.chunks.size(), documents.size()),
                    kBug);
    uint64_t chunks = 0;
    for (const uint32_t c : batch.chunks) {
      if (c == 0) return refuse("a batch has a document without chunks", kBug);
      chunks += c;
    }
    if (chunks != batch.total_chunks || batch.kv_width != shape_.kv_width ||
        batch.dtype != shape_.dtype || batch.layers.size() != shape_.router_layers.size())
      return refuse(
          fmt::format(
              "a batch of {} chunks, {} layers of width {} in {} does not fit the bank's {} "
              "layers of width {} in {}",
              batch.total_chunks, batch.layers.size(), batch.kv_width, name_of(batch.dtype),
              shape_.router_layers.size(), shape_.kv_width, name_of(shape_.dtype)),
          kBug);
    if (chunks > kMaxSegmentChunks - pending_chunks_)
      return refuse(fmt::format("{} chunks are too many for one segment", pending_chunks_ + chunks),
                    "commit more often");
    // At most 2^32 chunks, and a width that the manifest bounds: cannot wrap.
    const uint64_t key_bytes = chunks * shape_.kv_width * size_of(shape_.dtype);
    for (const EncodedLayer& layer : batch.layers)
      if (layer.keys.bytes() < key_bytes || layer.content.bytes() / 2 < key_bytes)
        return refuse("a batch's arrays are smaller than its chunks need", kBug);
    const uint64_t next = next_number();
    if (documents.size() > (kNumbers - next + numbering_.step - 1) / numbering_.step)
      return refuse(fmt::format("the next document's number is {} of at most {}, {} more documents "
                                "do not fit",
                                next, kNumbers - 1, documents.size()),
                    "start a new bank");
    return {};
  }

  Result<void> check_document(const NewDocument& document, const Names& ids) {
    if (document.id.empty()) return refuse("a document has no id", "give it one");
    if (document.char_end < document.char_begin || document.char_end > INT64_MAX ||
        document.tokens > INT64_MAX)
      return refuse(fmt::format("document '{}' says that it is characters {} to {}", document.id,
                                document.char_begin, document.char_end),
                    "report this as a bug");
    bool there = ids.contains(document.id);
    if (!there) {
      MSA_ASSIGN(there, contains(document.id));
    }
    if (there)
      return refuse(fmt::format("has a document '{}' already", document.id), "give it another id");
    return {};
  }

  // Gives a record that is to be committed its id, and its file's name, under which nothing is yet:
  // no file is written over, or removed if the commit fails, that it did not make itself.
  fs::path choose_file(SegmentRecord& record) {
    fs::path file;
    std::error_code ignored;
    do {
      // Another id for every attempt: should a failed transaction turn out to be on the disk after
      // all, its segment file is still the one that it names.
      record.id = next_segment_++;
      record.file = segment_file_name(record.id);
      file = folder_ / kSegmentFolder / record.file;
    } while (fs::exists(fs::symlink_status(file, ignored)));
    return file;
  }

  // The two steps of a commit: first the arrays, then the one transaction that makes them count.
  Result<void> write(const fs::path& file, SegmentRecord& record) {
    std::vector<std::vector<SegmentPiece>> pieces(shape_.router_layers.size());
    for (size_t l = 0; l < pieces.size(); ++l)
      for (const EncodedBatch& batch : pending_batches_)
        pieces[l].push_back(piece_of(shape_, batch, l));
    MSA_ASSIGN(const WrittenSegment written,
               write_segment(file, static_cast<uint64_t>(record.id), shape_, pieces));
    assert(written.chunks == pending_chunks_);
    record.chunks = written.chunks;
    record.bytes = written.bytes;
    record.checksum = written.checksum;
    return catalogue_.commit(record, steps_, static_cast<uint32_t>(next_number_));
  }

  fs::path folder_;
  SegmentShape shape_;
  Numbering numbering_;
  FolderLock lock_;
  Catalogue catalogue_;
  uint64_t next_number_ = 0;  // pending documents counted
  int64_t next_segment_ = 1;

  // What the next commit does. Documents' rows count from the first pending batch.
  std::vector<CatalogueStep> steps_;
  std::vector<EncodedBatch> pending_batches_;
  // What steps_ amounts to: names that come, the steps that bring texts (by hash), names that go,
  // and how many names are left to the committed documents that gain or lose some.
  Names pending_names_;
  std::unordered_multimap<uint64_t, size_t> pending_texts_;
  std::unordered_set<std::string> removed_names_;
  std::unordered_map<uint32_t, uint64_t> names_left_;
  uint64_t first_pending_number_ = 0;
  uint64_t pending_chunks_ = 0, pending_text_bytes_ = 0;
  uint64_t pending_name_bytes_ = 0;  // of names that come without a text, or go
};

Result<std::unique_ptr<BankWriter>> started(const fs::path& folder, const BankManifest& manifest,
                                            FolderLock lock, Catalogue catalogue,
                                            Numbering numbering = {}) {
  auto writer = std::make_unique<FolderWriter>(folder, manifest, std::move(lock),
                                               std::move(catalogue), numbering);
  MSA_TRY(writer->start());
  return writer;
}

}  // namespace

Result<std::unique_ptr<BankWriter>> open_or_create_numbered(const fs::path& folder,
                                                            const BankManifest& manifest,
                                                            Numbering numbering) {
  assert(numbering.step > 0);
  const std::string json = to_json(manifest);
  if (Result<BankManifest> readable = parse_manifest(json, folder); !readable)
    return Error{Code::invalid_argument, std::move(readable).error().message};
  const fs::path file = folder / kCatalogueFile;
  std::error_code ignored;
  if (!fs::exists(file, ignored)) MSA_TRY(check_free_for_bank(folder));
  MSA_TRY(make_folder(folder));
  MSA_ASSIGN(FolderLock lock, FolderLock::take(folder));
  MSA_TRY(check_segment_folder(folder));
  MSA_TRY(make_folder(folder / kSegmentFolder));

  // Asked again: another process may have made the bank before it gave the lock back.
  const bool exists = fs::exists(file, ignored);
  const int64_t version =
      manifest.content == ContentFormat::int8 ? kInt8CatalogueVersion : kCatalogueVersion;
  MSA_ASSIGN(Catalogue catalogue, exists ? Catalogue::open(file, Catalogue::Access::write)
                                         : Catalogue::create(file, json, version));
  if (!exists) return started(folder, manifest, std::move(lock), std::move(catalogue), numbering);
  MSA_ASSIGN(const std::string stored, catalogue.manifest());
  MSA_ASSIGN(const BankManifest bank, parse_manifest(stored, folder));
  MSA_TRY(check_manifest(bank, manifest, folder));
  return started(folder, bank, std::move(lock), std::move(catalogue), numbering);
}

Result<std::unique_ptr<BankWriter>> BankWriter::open_or_create(const fs::path& folder,
                                                               const BankManifest& manifest) {
  return open_or_create_numbered(folder, manifest, {});
}

Result<std::unique_ptr<BankWriter>> BankWriter::open(const fs::path& folder) {
  MSA_TRY(check_is_bank(folder));
  MSA_ASSIGN(FolderLock lock, FolderLock::take(folder));
  MSA_TRY(make_folder(folder / kSegmentFolder));
  MSA_ASSIGN(Catalogue catalogue,
             Catalogue::open(folder / kCatalogueFile, Catalogue::Access::write));
  MSA_ASSIGN(const std::string stored, catalogue.manifest());
  MSA_ASSIGN(const BankManifest manifest, parse_manifest(stored, folder));
  return started(folder, manifest, std::move(lock), std::move(catalogue));
}

Result<std::vector<std::string>> names_under(BankWriter& writer, std::string_view id) {
  std::vector<std::string> names;
  MSA_ASSIGN(const bool whole, writer.contains(id));
  if (whole) names.emplace_back(id);
  for (uint64_t i = 1;; ++i) {
    std::string passage = fmt::format("{}#{}", id, i);
    MSA_ASSIGN(const bool there, writer.contains(passage));
    if (!there) return names;
    names.push_back(std::move(passage));
  }
}

}  // namespace msa
