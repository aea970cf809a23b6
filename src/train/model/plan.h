// Where the tokens of a batch stand among the rows of a training step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "checkpoint/config.h"
#include "msa/result.h"
#include "samples/batch.h"
#include "train/ops/ops.h"

namespace msa::train {

// Rows: the prefix, then the queries ("context" together), then the documents. Made on the host,
// once per step.
struct StepPlan {
  int64_t prefix = 0, context = 0, rows = 0;  // T0, T0 + Tq, T0 + Tq + Td
  std::vector<int32_t> tokens, positions;     // per row

  // Chunks: the runs of tokens that are pooled, as rows within the documents (0: the first token of
  // the first document). Chunks of document n: doc_chunks[n] .. doc_chunks[n + 1].
  std::vector<int32_t> chunk_rows;  // C+1
  std::vector<int32_t> doc_chunks;  // N+1

  // Queries that route: those with a routing token and a document in their group.
  std::vector<int32_t> routed;        // R, ascending query numbers
  std::vector<int32_t> routing_rows;  // M, the rows of their routing tokens
  std::vector<int32_t> routing_runs;  // R+1, into routing_rows
  // [R, N]: document n is of the query's group and, where the model skips them, not one whose text
  // stands in the query.
  std::vector<uint8_t> sees;
  std::vector<uint8_t> is_relevant;  // [R, N]

  // Rows that have a next token to predict. Those of queries come first.
  std::vector<int64_t> label_rows, labels;
  std::vector<float> label_weights;
  std::vector<LabelKind> label_kinds;
  size_t query_labels = 0;  // how many of them belong to queries
  bool documents_predict = false;

  size_t documents() const { return doc_chunks.size() - 1; }
  size_t chunks() const { return chunk_rows.size() - 1; }

  std::vector<int32_t> named;                     // Q, as in the batch; -1 where it has none
  std::vector<int32_t> query_starts, doc_starts;  // Q+1 and N+1, rows
  std::vector<uint64_t> doc_subject;              // as in the batch

  // Who attends to what. `chosen` has, per query, ascending documents, or is empty where no query
  // sees any.
  SegmentLayout layout(bool with_documents, const std::vector<std::vector<int32_t>>& chosen) const;
};

// Checks the batch: sizes that fit each other, tokens within the vocabulary, numbers in range. An
// error says what in the batch is wrong.
Result<StepPlan> make_plan(const Batch& batch, const ModelConfig& config, size_t top_k);

}  // namespace msa::train
