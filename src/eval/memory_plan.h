// Which documents stand in which memory, and which questions are asked there.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "eval/exam.h"
#include "eval/memory_size.h"
#include "msa/document.h"

namespace msa::eval {

// One memory. A document is named by its index into Exam::documents; from there on by that of a
// distractor, counted from the exam's number of documents.
struct MemoryPlan {
  std::vector<uint64_t> documents;  // in the order in which they are encoded, which numbers them
  std::vector<uint32_t> questions;  // indices into Exam::questions
  uint64_t tokens = 0;              // estimated: passages that are split need a few more
};

struct SizePlan {
  MemorySize size;
  std::vector<MemoryPlan> memories;
  // Questions whose sample alone is more than the memory holds.
  std::vector<uint32_t> left_out;
};

// Tokens that the encoder sees for a document, template included, if `number` is its number.
using CountTokens = std::function<uint64_t(const SampleDocument& document, uint64_t number)>;

// Plans memories of any size for an exam. Keeps the lengths of documents it has counted once.
class MemoryPlanner {
 public:
  // `exam` must outlive the planner.
  MemoryPlanner(const Exam& exam, CountTokens count, uint64_t seed);

  // Samples go in, in order, as many as fit; what does not fit begins another memory, so that every
  // sample is in exactly one. Then distractors, until the next one would be too much. Documents are
  // in an order drawn anew for each memory: those of the questions have numbers from the whole
  // range. `progress` gets the tokens counted for the memory at hand; false from it stops with a
  // `cancelled` error. Without a filler, a memory is as large as its samples.
  Result<SizePlan> plan(const MemorySize& size,
                        const std::function<bool(uint64_t tokens)>& progress = {});

  // The document that a plan names. Valid until the next call.
  const SampleDocument& document(uint64_t index);

 private:
  uint64_t cost(uint64_t index, MemorySize::Unit unit);
  uint64_t cost_of(std::span<const uint32_t> documents, MemorySize::Unit unit);

  const Exam& exam_;
  CountTokens count_;
  uint64_t seed_;
  std::vector<uint32_t> lengths_;  // of documents and distractors; 0: not yet counted
  SampleDocument distractor_;
};

// The documents of a plan as a source to encode from. `planner` and `plan` must outlive it.
class PlanSource : public DocumentSource {
 public:
  PlanSource(MemoryPlanner& planner, const MemoryPlan& plan) : planner_(planner), plan_(plan) {}
  Result<std::optional<Document>> next() override;

 private:
  MemoryPlanner& planner_;
  const MemoryPlan& plan_;
  size_t given_ = 0;
};

// Finds documents by what a bank calls them.
class DocumentIds {
 public:
  explicit DocumentIds(const Exam& exam);
  // The first document of the same text as the one whose id this is, or one of whose passages has
  // it; UINT64_MAX: a distractor.
  uint64_t find(std::string_view id) const;

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  std::unordered_map<std::string, uint32_t, Hash, std::equal_to<>> by_id_;
};

}  // namespace msa::eval
