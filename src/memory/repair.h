// Makes a damaged bank whole again: what is damaged is dropped, and the documents that lay in it
// are encoded again from their texts, which the catalogue still has.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "memory/bank.h"
#include "model/encoder.h"
#include "msa/result.h"

namespace msa {

struct BankDamage {
  struct Document {
    int64_t number = 0;
    std::string id;
  };
  std::vector<std::string> problems;  // one line each, as verify lists them
  std::vector<std::string> segments;  // names of the files that have to be replaced
  std::vector<Document> lost;         // whose vectors are gone and whose texts are there
  std::vector<Document> hopeless;     // whose texts are not those that were encoded either
  std::vector<std::string> orphans;   // segment files that no record names, to be removed
  uint64_t stray_aliases = 0;         // names of documents that are not there, to be removed
  // Nothing that a repair would change.
  bool none() const {
    return problems.empty() && segments.empty() && lost.empty() && hopeless.empty() &&
           orphans.empty() && stray_aliases == 0;
  }
};

// How documents become tokens and vectors: as the bank's model does it.
struct RepairEncoder {
  std::function<std::vector<int32_t>(uint32_t number, std::string_view title,
                                     std::string_view text)>
      tokenize;
  std::function<Result<EncodedBatch>(std::span<const std::span<const int32_t>> documents)> encode;
  size_t batch_tokens = 2048;           // encoded together
  uint64_t segment_bytes = 128u << 20;  // commit after so much
};

struct RepairOutcome {
  uint64_t documents = 0, tokens = 0;  // encoded again
  uint64_t dropped = 0;                // hopeless ones
  bool stopped = false;                // by the stop token; what was done is committed
};

class BankRepair {
 public:
  using Progress = std::function<void(uint64_t done, uint64_t all)>;

  // For reading, or for writing: as the one writer (`busy` if there is another).
  static Result<std::unique_ptr<BankRepair>> open(const std::filesystem::path& folder,
                                                  Catalogue::Access access);
  virtual ~BankRepair() = default;
  virtual const BankManifest& manifest() const = 0;

  // Reads the whole bank. `progress` in bytes. A segment that cannot be read for a reason outside
  // the bank (no permission, no memory, a disk that fails) is not damaged: that error is returned.
  virtual Result<BankDamage> inspect(const Progress& progress) = 0;

  // Repairs what inspect(), called before, has found. Documents keep numbers, ids and further
  // names. One transaction for each segment that is written; killed anywhere, the bank is as before
  // or has a part of the repair done, and repairing again goes on. Hopeless documents are taken out
  // of the bank with `drop_hopeless`; without, if there are any, nothing is done and a `corrupt`
  // error names the first. `progress` in documents.
  virtual Result<RepairOutcome> run(const RepairEncoder& encoder, bool drop_hopeless,
                                    const Progress& progress, std::stop_token stop) = 0;
};

}  // namespace msa
