// Builds a bank's index and measures what it finds.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <stop_token>
#include <vector>

#include "approximate/index_format.h"
#include "kernels/backend.h"
#include "memory/snapshot.h"
#include "msa/result.h"

namespace msa {

// Documents whose recall is measured: those that the exact scan finds for a question.
inline constexpr size_t kRecallAt = 16;

// Folded queries (kernels/cpu/fold.h) of one layer: a matrix [M, G*D] for each question.
struct FoldedQuestions {
  size_t width = 0;
  std::vector<std::vector<float>> questions;  // each M * width values, M at least 1
};

struct IndexSettings {
  KeyCoding coding = KeyCoding::scalar;
  size_t lists = 0;      // 0: four times the root of the number of chunks
  double recall = 0.98;  // above 0, at most 1
  uint64_t seed = 1;
  // Of each router layer, at least two. Empty: keys of the bank with noise.
  std::vector<FoldedQuestions> questions;
};

struct LayerMeasure {
  IndexedFile file;
  double question_bytes = 0, exact_bytes = 0;      // read per question, on average
  double question_seconds = 0, exact_seconds = 0;  // on average
};

struct IndexMeasure {
  IndexCatalogue catalogue;
  std::vector<LayerMeasure> layers;
  uint64_t left_out = 0;  // chunks of segments with values that are not finite
  size_t questions = 0;   // the first half chose the effort, the others measured
  double question_tokens = 0;
  double build_seconds = 0, measure_seconds = 0;
};

enum class IndexStage { building, measuring };
using IndexProgressSink = std::function<void(IndexStage, uint64_t done, uint64_t all)>;

// Indexes the documents of `snapshot`, whose keys have heads of `head_dim` values, in the place of
// an older index of the bank. One builder at a time: another is told `busy`. Until the end the
// older index stays as it is. A memory without documents, or of fewer chunks than the coding needs,
// is an `invalid_argument` error.
Result<IndexMeasure> build_bank_index(const std::filesystem::path& bank_folder, Backend& backend,
                                      std::shared_ptr<const Snapshot> snapshot, size_t head_dim,
                                      const IndexSettings& settings,
                                      const IndexProgressSink& progress, std::stop_token stop);

}  // namespace msa
