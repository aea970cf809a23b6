// For tests and benchmarks only: small models, and batches of random tokens.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>

#include "checkpoint/config.h"
#include "samples/batch.h"

namespace msa::train {

inline ModelConfig small_config() {
  ModelConfig config;
  config.layers = 5;
  config.query_heads = 4;
  config.kv_heads = 2;
  config.head_dim = 16;
  config.hidden = 32;
  config.feed_forward = 48;
  config.vocabulary = 64;
  config.max_positions = 512;
  config.rope_theta = 10000;
  config.tied_embeddings = true;
  config.msa.router_layers = {2, 3};
  config.msa.chunk_size = 4;
  config.msa.top_k = 2;
  return config;
}

struct BatchShape {
  size_t documents = 6, queries = 5, groups = 1;
  size_t min_document = 3, max_document = 13;  // tokens
  size_t min_query = 4, max_query = 12;
  size_t vocabulary = 64;
  bool document_labels = false;
};

// Every query routes with about half of its tokens and predicts about half of its next tokens; its
// relevant documents are one or two of its group, and every fifth query has none.
inline Batch random_batch(const BatchShape& shape, uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto between = [&](size_t low, size_t high) { return low + random() % (high - low + 1); };
  const auto token = [&] { return static_cast<TokenId>(random() % shape.vocabulary); };
  Batch batch;
  batch.prefix = {token(), token(), token()};
  batch.doc_starts = {0};
  for (size_t n = 0; n < shape.documents; ++n) {
    for (size_t left = between(shape.min_document, shape.max_document); left > 0; --left) {
      batch.doc_tokens.push_back(token());
      if (shape.document_labels) batch.doc_label_weights.push_back(random() % 3 == 0 ? 0.f : 0.5f);
    }
    batch.doc_starts.push_back(static_cast<int32_t>(batch.doc_tokens.size()));
    batch.doc_group.push_back(static_cast<int32_t>(n % shape.groups));
    batch.doc_number.push_back(static_cast<uint32_t>(n));
  }
  batch.query_starts = {0};
  batch.relevant_starts = {0};
  for (size_t q = 0; q < shape.queries; ++q) {
    const size_t length = between(shape.min_query, shape.max_query);
    for (size_t t = 0; t < length; ++t) {
      batch.query_tokens.push_back(token());
      batch.routes.push_back(t < (length + 1) / 2);
      const bool labelled = t + 1 >= length / 2;
      batch.labels.push_back(labelled ? token() : -1);
      batch.label_weights.push_back(labelled ? 0.25f * static_cast<float>(between(1, 4)) : 0.f);
      batch.label_kinds.push_back(static_cast<LabelKind>(random() % 3));
    }
    batch.query_starts.push_back(static_cast<int32_t>(batch.query_tokens.size()));
    const size_t group = q % shape.groups;
    batch.query_group.push_back(static_cast<int32_t>(group));
    std::vector<int32_t> of_group;
    for (size_t n = group; n < shape.documents; n += shape.groups)
      of_group.push_back(static_cast<int32_t>(n));
    std::shuffle(of_group.begin(), of_group.end(), random);
    of_group.resize(q % 5 == 4 ? 0 : std::min<size_t>(of_group.size(), between(1, 2)));
    std::sort(of_group.begin(), of_group.end());
    batch.relevant.insert(batch.relevant.end(), of_group.begin(), of_group.end());
    batch.relevant_starts.push_back(static_cast<int32_t>(batch.relevant.size()));
  }
  return batch;
}

}  // namespace msa::train
