// Asks the questions of an exam in memories of growing size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "eval/exam.h"
#include "eval/memory_size.h"
#include "eval/score.h"
#include "eval/score_retrieval.h"
#include "msa/msa.h"

namespace msa::eval {

// How questions are asked.
struct Mode {
  bool interleave = true;     // false: one round
  bool original_text = true;  // false: from the memory alone, which has one round as well
  bool operator==(const Mode&) const = default;
};
// "interleave", "one round", "no text".
std::string to_string(const Mode& mode);

struct EvalOptions {
  std::vector<MemorySize> sizes;
  std::vector<Mode> modes = {Mode{}};
  size_t top_k = 0;                      // documents per router layer; 0: the model's
  std::optional<bool> skip_handed_over;  // as in AskOptions
  size_t max_tokens = 512;               // generated per question
  size_t passage_tokens = 512;           // longer documents are split
  uint64_t seed = 1;                     // of the documents' order
  EngineOptions engine;                  // how routing keys are held
  bool bm25 = false;                     // keyword search over the same documents, for comparison
  // Where memories are kept, one folder each, to be found again; empty: in a temporary folder, and
  // removed when their questions are answered.
  std::filesystem::path work;
};

// What came of one question in one memory and mode.
struct Outcome {
  uint32_t size = 0;      // index into EvalReport::sizes
  uint32_t mode = 0;      // index into EvalReport::modes
  uint32_t question = 0;  // index into Exam::questions
  std::string answer, finish;
  std::string error;  // why there is no answer, or empty; counts as wrong
  Score score;
  RetrievalScore retrieval;
  size_t rounds = 0;
  double first_token_ms = 0, total_ms = 0;
};

// What keyword search finds: BM25 over title and text.
struct KeywordOutcome {
  uint32_t size = 0, question = 0;
  double first = 0;      // 1 if its first document is one of the first step's
  double in_16 = 0;      // share of the first step's documents among its first 16
  double all_in_16 = 0;  // the same for the documents of all steps
};

// One memory size, over all its memories.
struct SizeReport {
  MemorySize size;
  uint64_t memories = 0, questions = 0, left_out = 0;
  uint64_t documents = 0, tokens = 0;  // of the largest memory, as the bank counts them
  uint64_t rejected = 0;               // passages that the model would not take
  uint64_t encoded_tokens = 0;         // by this run
  double encode_seconds = 0;
  std::string skipped;  // why nothing was asked, or empty
};

struct EvalReport {
  ModelInfo model;
  size_t top_k = 0;  // documents per router layer
  bool skip_handed_over = false;
  std::vector<Mode> modes;
  std::vector<SizeReport> sizes;  // those that were begun
  std::vector<Outcome> outcomes;
  std::vector<KeywordOutcome> keyword;
  bool stopped = false;
};

struct EvalProgress {
  enum class Doing { planning, encoding, searching, asking } doing = Doing::planning;
  MemorySize size;
  size_t memory = 0, memories = 0;  // the memory at hand, from 1
  uint64_t done = 0, all = 0;       // tokens when planning and encoding, else questions
  double tokens_per_second = 0;     // when encoding
  double accuracy = 0;              // when asking: of this size and mode so far
  Mode mode;                        // when asking
};

struct EvalCallbacks {
  std::function<void(const EvalProgress&)> progress;
  // After each size: what there is so far is worth keeping.
  std::function<Result<void>(const EvalReport&)> save;
};

// Fills `report`, which holds what was done also after an error. A stop request ends the work with
// `report.stopped` and no error. A question that the engine refuses counts as wrong; failures of
// the machine (disk full, a damaged bank) are errors.
Result<void> evaluate(const Model& model, const Exam& exam, const EvalOptions& options,
                      const EvalCallbacks& callbacks, std::stop_token stop, EvalReport& report);

}  // namespace msa::eval
