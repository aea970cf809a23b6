#include "approximate/bank_index.h"

#include <fmt/format.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "base/hash.h"
#include "memory/bank_files.h"

namespace msa {

namespace fs = std::filesystem;

uint64_t header_hash(const SegmentView& segment) {
  constexpr size_t kHeader = 64;
  if (segment.file == nullptr) return 0;
  const std::span<const std::byte> bytes = segment.file->bytes();
  return hash64(bytes.first(std::min(kHeader, bytes.size())));
}

Result<std::unique_ptr<BankIndex>> BankIndex::open(const fs::path& bank_folder,
                                                   std::span<const int> router_layers, size_t width,
                                                   int threads) {
  MSA_TRY(check_list_index_support());
  const fs::path folder = bank_folder / kIndexFolder;
  std::error_code ignored;
  if (!fs::exists(folder / kIndexCatalogue, ignored))
    return Error{Code::not_found, fmt::format("{}: there is no index; build one with `msa memory "
                                              "index`",
                                              bank_folder.string())};
  const auto same_layer = [](const IndexedFile& file, int layer) { return file.layer == layer; };
  // A build may put another index in the place of this one, and remove its files, between the
  // moment its catalogue is read and that at which they are opened.
  constexpr int kAttempts = 3;
  for (int attempt = 1;; ++attempt) {
    MSA_ASSIGN(IndexCatalogue catalogue, read_index_catalogue(folder));
    if (catalogue.width != width ||
        !std::equal(catalogue.layers.begin(), catalogue.layers.end(), router_layers.begin(),
                    router_layers.end(), same_layer))
      return Error{Code::mismatch,
                   fmt::format("{}: is of another bank's router layers; build the index again with "
                               "`msa memory index`",
                               (folder / kIndexCatalogue).string())};
    auto opened = open(folder, std::move(catalogue), threads);
    if (opened || opened.error().code != Code::not_found || attempt == kAttempts) return opened;
  }
}

Result<std::unique_ptr<BankIndex>> BankIndex::open(const fs::path& index_folder,
                                                   IndexCatalogue catalogue, int threads) {
  std::unique_ptr<BankIndex> index(new BankIndex());
  for (const IndexedFile& layer : catalogue.layers) {
    MSA_ASSIGN(MappedIndex file, open_index_file(index_folder, catalogue, layer));
    MSA_ASSIGN(auto searcher, make_list_searcher(file.arrays, threads));
    index->files_.push_back(std::move(file));
    index->searchers_.push_back(std::move(searcher));
  }
  uint64_t first = 0;
  for (size_t s = 0; s < catalogue.segments.size(); ++s) {
    index->by_id_.emplace(catalogue.segments[s].id, static_cast<uint32_t>(s));
    index->first_row_.push_back(first);
    first += catalogue.segments[s].chunks;
  }
  index->catalogue_ = std::move(catalogue);
  return index;
}

std::optional<uint32_t> BankIndex::number_of(const SegmentView& segment) const {
  const auto found = by_id_.find(segment.id);
  if (found == by_id_.end() || segment.layers.empty()) return std::nullopt;
  const IndexedSegment& indexed = catalogue_.segments[found->second];
  if (segment.layers.front().keys.rows != indexed.chunks ||
      header_hash(segment) != indexed.header_hash)
    return std::nullopt;
  return found->second;
}

Result<std::vector<NearChunk>> BankIndex::search(size_t layer, MatView<const float> folded,
                                                 size_t k) {
  // A document's chunks are often near to a question together, and it counts once.
  const size_t chunks_each = (catalogue_.rows + catalogue_.documents - 1) / catalogue_.documents;
  const size_t documents = std::min<size_t>(candidates(layer, k), catalogue_.documents);
  const size_t nearest =
      std::min<uint64_t>(catalogue_.rows, documents * std::min<size_t>(chunks_each, 16));
  MSA_ASSIGN(const std::vector<NearRow> rows,
             searchers_[layer]->search(folded, catalogue_.layers[layer].probes, nearest));
  std::vector<NearChunk> found;
  found.reserve(rows.size());
  for (const NearRow& near : rows) {
    const auto after = std::upper_bound(first_row_.begin(), first_row_.end(), near.row);
    const auto segment = static_cast<uint32_t>(after - first_row_.begin() - 1);
    found.push_back({segment, static_cast<uint32_t>(near.row - first_row_[segment]), near.score});
  }
  return found;
}

size_t BankIndex::candidates(size_t layer, size_t k) const {
  const size_t each = catalogue_.layers[layer].candidates;
  return k > SIZE_MAX / each ? SIZE_MAX : k * each;
}

uint64_t BankIndex::bytes() const {
  uint64_t all = 0;
  for (const IndexedFile& layer : catalogue_.layers) all += layer.bytes;
  return all;
}

uint64_t BankIndex::known_chunks(const Snapshot& snapshot) const {
  uint64_t chunks = 0;
  for (const SegmentView& segment : snapshot.segments)
    if (number_of(segment))
      for (const DocumentSpan& span : segment.documents) chunks += span.chunks;
  return chunks;
}

void BankIndex::set_effort(size_t layer, size_t probes, size_t candidates) {
  catalogue_.layers[layer].probes = probes;
  catalogue_.layers[layer].candidates = candidates;
}

void remove_stale_index(const fs::path& bank_folder, const Snapshot& snapshot) {
  const fs::path folder = bank_folder / kIndexFolder;
  std::error_code ignored;
  if (!fs::exists(folder / kIndexCatalogue, ignored)) return;
  // Until the lock is there, a build may put another index in the place of this one.
  const Result<FolderLock> lock = FolderLock::take(folder);
  if (!lock) return;
  const Result<IndexCatalogue> catalogue = read_index_catalogue(folder);
  if (!catalogue) return;  // damaged: whoever wants to use it is told
  const auto there = [&](const IndexedSegment& indexed) {
    return std::any_of(snapshot.segments.begin(), snapshot.segments.end(),
                       [&](const SegmentView& segment) { return segment.id == indexed.id; });
  };
  if (std::any_of(catalogue->segments.begin(), catalogue->segments.end(), there)) return;
  fs::remove(folder / kIndexCatalogue, ignored);
  for (const IndexedFile& layer : catalogue->layers) fs::remove(folder / layer.file, ignored);
  fs::remove(folder / kLockFile, ignored);
  fs::remove(folder, ignored);  // only if nothing else is in it
}

}  // namespace msa
