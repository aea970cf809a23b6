// A bank's index: what the router asks for candidates when routing is approximate.
#pragma once

#include <filesystem>
#include <memory>
#include <unordered_map>
#include <vector>

#include "approximate/index_format.h"
#include "memory/candidate_index.h"
#include "msa/result.h"

namespace msa {

// Of a segment as it is mapped: tells whether the index was made of it.
uint64_t header_hash(const SegmentView& segment);

class BankIndex final : public CandidateIndex {
 public:
  // The index of the bank in `bank_folder`, every byte checked. `not_found` if there is none. An
  // index of other router layers or another width is a `mismatch`.
  static Result<std::unique_ptr<BankIndex>> open(const std::filesystem::path& bank_folder,
                                                 std::span<const int> router_layers, size_t width,
                                                 int threads);
  // The same with a catalogue that is not, or not yet, in the folder `index_folder`.
  static Result<std::unique_ptr<BankIndex>> open(const std::filesystem::path& index_folder,
                                                 IndexCatalogue catalogue, int threads);

  std::optional<uint32_t> number_of(const SegmentView& segment) const override;
  size_t segments() const override { return catalogue_.segments.size(); }
  Result<std::vector<NearChunk>> search(size_t layer, MatView<const float> folded,
                                        size_t k) override;
  size_t candidates(size_t layer, size_t k) const override;

  const IndexCatalogue& catalogue() const { return catalogue_; }
  uint64_t bytes() const;  // of all files, mapped
  // Chunks of documents in `snapshot` that the index knows.
  uint64_t known_chunks(const Snapshot& snapshot) const;

  // How much searching does, for measuring.
  void set_effort(size_t layer, size_t probes, size_t candidates);
  ListSearchCost last_cost(size_t layer) const { return searchers_[layer]->last_cost(); }

 private:
  BankIndex() = default;

  IndexCatalogue catalogue_;
  std::vector<MappedIndex> files_;  // per layer
  std::vector<std::unique_ptr<ListSearcher>> searchers_;
  std::vector<uint64_t> first_row_;  // of each segment
  std::unordered_map<int64_t, uint32_t> by_id_;
};

// Removes the index if it knows no segment of the snapshot any more and nobody is building another.
// What cannot be removed stays: nothing depends on it.
void remove_stale_index(const std::filesystem::path& bank_folder, const Snapshot& snapshot);

}  // namespace msa
