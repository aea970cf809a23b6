// How well the right documents were found.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_set>
#include <vector>

#include "eval/exam.h"
#include "eval/memory_plan.h"
#include "msa/msa.h"

namespace msa::eval {

// Documents by index into Exam::documents.
using Documents = std::unordered_set<uint64_t>;

// The share of `wanted` (not empty) that is in `found`.
double share_of(const std::vector<uint32_t>& wanted, const Documents& found);
// The documents of all steps of a question.
std::vector<uint32_t> all_steps(const ExamQuestion& question);

// Shares of documents, from 0 to 1. A document whose passages are documents of the bank is found
// when any of them is.
struct RetrievalScore {
  // Of the first round's routing and the documents of the first step:
  double route_first = 0;  // 1 if the overall ranking begins with one of them
  double route_k = 0;      // share among the first k of the ranking, k documents per router layer
  double routed = 0;       // share that any router layer chose
  // Of each later step's documents, the share that any layer chose in the round of that step, on
  // average; none for questions of one step. A round that did not take place chose nothing.
  std::optional<double> routed_later;
  double injected_first = 0;  // share of the first step's documents that the first round brought
  double injected_all = 0;    // share of all steps' documents that all rounds brought
};
RetrievalScore score_retrieval(const ExamQuestion& question, const Answer& answer,
                               const DocumentIds& ids, size_t k);

}  // namespace msa::eval
