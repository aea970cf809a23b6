// Memory Interleave (paper section 3.4): rounds of routing, document numbers and original text,
// then the answer, as a state machine over an abstract language model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "msa/msa.h"
#include "msa/result.h"
#include "text/prompt.h"
#include "text/tokenizer.h"

namespace msa {

// The model and its memory as the state machine sees them. Implemented by the engine (decoder,
// router, catalogue, sampler) and, in tests, by a script.
class InterleaveModel {
 public:
  virtual ~InterleaveModel() = default;
  // Stage 2 on the whole prompt so far; routes[t] marks routing tokens. Afterwards routing() tells
  // what this round's routing found.
  virtual Result<void> prefill(std::span<const TokenId> tokens,
                               std::span<const uint8_t> routes) = 0;
  virtual Result<Routing> routing() = 0;
  // Appends tokens, causally, not routing.
  virtual Result<void> append(std::span<const TokenId> tokens) = 0;
  // The next token, sampled from the last logits. `allowed`, where not empty, has vocabulary()
  // entries: tokens marked 0 are not chosen.
  virtual TokenId sample(std::span<const uint8_t> allowed) = 0;
  // The document's text for the model (document_text()); nothing if there is no such number.
  virtual Result<std::optional<Citation>> document(uint32_t number) = 0;
  virtual const Tokenizer& tokenizer() const = 0;
  virtual bool is_end(TokenId token) const = 0;  // <|im_end|> or another end-of-sequence token
};

struct InterleaveResult {
  std::string answer;
  std::vector<Round> rounds;
  std::vector<Citation> citations;
  uint64_t prompt_tokens = 0, completion_tokens = 0;
  std::string finish;  // "stop", "length", "cancelled"
};

// Runs all rounds and the answer. `now_generated` is called after each generated token (for
// timing).
Result<InterleaveResult> run_interleave(InterleaveModel& model, std::string_view question,
                                        const AskOptions& options, const TokenCallback& on_token,
                                        std::stop_token stop,
                                        const std::function<void()>& now_generated = {});

}  // namespace msa
