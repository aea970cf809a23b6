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
  // Stage 2 on the whole prompt so far; routes[t] marks routing tokens. `handed_over`: the numbers
  // of the documents whose texts are in the prompt, ascending. Afterwards routing() tells what this
  // round's routing found.
  virtual Result<void> prefill(std::span<const TokenId> tokens, std::span<const uint8_t> routes,
                               std::span<const uint32_t> handed_over) = 0;
  virtual Result<Routing> routing() = 0;
  // Appends tokens, causally, not routing.
  virtual Result<void> append(std::span<const TokenId> tokens) = 0;
  // The next token, sampled from the last logits; negative if the logits are not numbers.
  // `allowed`, where not empty, has an entry per id of the tokenizer: tokens marked 0 and ids
  // beyond its end are not chosen.
  virtual TokenId sample(std::span<const uint8_t> allowed) = 0;
  // The stored document; nothing if there is no such number.
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

// Runs all rounds and the answer. options.max_rounds and max_tokens are at least 1.
//
// Retrieval::interleave. A round is a prefill of everything so far, then generated tokens up to
// `<|object_ref_end|>`, an end token, `<End-of-Retrieve>` or the round's character limit. The texts
// of the documents it names (new ones that exist, ascending) join the prompt, and the next round
// begins. Retrieval ends with a round that brings no new document, with `<End-of-Retrieve>`, the
// character limit or max_rounds; documents named in that last round are handed over all the same.
// In the first round the question block routes; later its first QuestionTokens::routing_later
// tokens and the texts just handed over do. With constrain_numbers and no routed document left that
// was not handed over, a round ends before it generates anything.
// Retrieval::router. The best-ranked documents are handed over after the first round's routing, and
// everything is prefilled once more, routing, unless max_rounds is 1.
// original_text = false: nothing is handed over; the documents of the one round are cited only, and
// no `documents` event is sent.
// Then the answer is requested and generated. Every generated token stays in the prompt, also those
// that end a round.
//
// Answer events, concatenated, are the answer as answer_of() gives it when the model begins with
// kAnswerLead or never writes it. The closing `<|object_ref_end|>` and end tokens are in no event.
// finish: "stop" after an end token, "length" when max_tokens ran out (in a round: without an
// answer), "cancelled" by `stop` or the callback, with what there was until then. `now_generated`
// is called after each generated token (for timing).
Result<InterleaveResult> run_interleave(InterleaveModel& model, std::string_view question,
                                        const AskOptions& options, const TokenCallback& on_token,
                                        std::stop_token stop,
                                        const std::function<void()>& now_generated = {});

}  // namespace msa
