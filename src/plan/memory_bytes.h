// How many bytes a memory of a given size is made of: the formula of the method, and what a bank
// (docs/memory-bank.md) needs beside it.
#pragma once

#include <cstdint>
#include <optional>

#include "msa/result.h"
#include "plan/format.h"
#include "plan/model.h"

namespace msa::plan {

// Tokens per document where the number of documents is not given: what `msa encode` splits texts
// into. A multiple of the usual chunk sizes, so that all chunks are full.
inline constexpr uint64_t kDocumentTokens = 512;
// English prose takes 3.8 (passages of Wikipedia, Qwen's tokenizer); code and tables take fewer.
inline constexpr double kTextBytesPerToken = 4;

struct MemoryRequest {
  uint64_t tokens = 0;                     // of all documents, as encoded; at least 1
  std::optional<uint64_t> documents = {};  // 1 to `tokens`; default: tokens over kDocumentTokens
  Format keys = Format::bf16, content = Format::bf16;  // content: not int4
  double text_bytes_per_token = kTextBytesPerToken;    // 0 to 1e6
};

struct MemoryBytes {
  uint64_t tokens = 0, documents = 0;
  bool documents_assumed = false;
  // A document's last chunk may be short. With `documents` given, `chunks` is what remainders of
  // all sizes give on average, between the fewest and the most that so many documents can have;
  // else all three are tokens over P, rounded up.
  uint64_t chunks = 0, fewest_chunks = 0, most_chunks = 0;

  Format key_format = Format::bf16, content_format = Format::bf16;
  uint64_t chunk_bytes = 0;  // of one chunk over all router layers, `full_keys` not counted

  uint64_t keys = 0;  // routing keys in `key_format`, which every question reads
  // The same keys uncompressed, one tier down, if `key_format` is an integer one: candidates of the
  // compressed scan are scored again with them. Else 0.
  uint64_t full_keys = 0;
  Format full_key_format = Format::bf16;
  uint64_t pooled_k = 0, pooled_v = 0;

  uint64_t text = 0;       // estimate, in the catalogue
  uint64_t catalogue = 0;  // estimate: the catalogue without the texts
  uint64_t padding = 0;    // at most: segments' headers, and alignment of their arrays

  uint64_t content() const { return pooled_k + pooled_v; }
  uint64_t vectors() const { return keys + full_keys + content(); }
  // Keys as integers are made of those in full when a bank is opened, and lie in memory only.
  uint64_t stored_vectors() const { return (full_keys > 0 ? full_keys : keys) + content(); }
  uint64_t disk() const { return stored_vectors() + text + catalogue + padding; }
};

// An `invalid_argument` error if the numbers contradict each other, or if any of the sizes is above
// 2^60 bytes.
Result<MemoryBytes> memory_bytes(const PlanModel& model, const MemoryRequest& request);

}  // namespace msa::plan
