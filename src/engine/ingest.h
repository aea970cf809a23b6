// Documents to bank: split, tokenise, batch, encode, commit; stoppable and resumable.
#pragma once

#include <functional>
#include <stop_token>

#include "memory/bank.h"
#include "model/encoder.h"
#include "msa/msa.h"
#include "msa/result.h"
#include "text/tokenizer.h"

namespace msa {

Result<EncodeReport> ingest(const Tokenizer& tokenizer, Encoder& encoder, size_t max_positions,
                            BankWriter& bank, DType stored, DocumentSource& source,
                            const EncodeOptions& options,
                            const std::function<void(const EncodeProgress&)>& progress,
                            std::stop_token stop);

}  // namespace msa
