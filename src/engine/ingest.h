// Documents to bank: split, tokenise, batch, encode, commit; stoppable and resumable.
#pragma once

#include <functional>
#include <span>
#include <stop_token>

#include "memory/bank.h"
#include "model/encoder.h"
#include "msa/msa.h"
#include "msa/result.h"
#include "text/tokenizer.h"

namespace msa {

// Encodes documents, given as tokens, together.
using EncodeBatch =
    std::function<Result<EncodedBatch>(std::span<const std::span<const TokenId>> documents)>;

struct IngestLimits {
  size_t max_positions = 0;  // longest document in tokens that the encoder takes
  // Documents shard, shard + shards, … of the source are taken, and the bank's numbers go up by
  // `shards` (memory/numbering.h).
  uint32_t shard = 0, shards = 1;
};

// Reads `source` to its end or a stop request and commits what was encoded. A document whose id is
// in the bank with the same title and text is passed over; with another it is a problem, reported
// and left out, or with options.replace takes the other's place, of which all passages that differ
// go in the commit that brings the new ones. A title and text that are there under another id are
// not encoded: the document gets this id too. Texts of more than options.passage_tokens tokens
// become several documents, with ids "id#1", "id#2", …; title and wrapping come on top of that
// limit.
Result<EncodeReport> ingest(const Tokenizer& tokenizer, const EncodeBatch& encode,
                            const IngestLimits& limits, BankWriter& bank, DocumentSource& source,
                            const EncodeOptions& options,
                            const std::function<void(const EncodeProgress&)>& progress,
                            std::stop_token stop);

}  // namespace msa
