// Stages 2 and 3: a context of prefix, memory and question becomes logits, token by token.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/backend.h"
#include "model/context_source.h"
#include "model/encoder.h"
#include "model/weights.h"
#include "msa/result.h"

namespace msa {

// How long the parts of a prefill took.
struct PrefillTiming {
  double route_seconds = 0;  // inside ContextSource::select
  double total_seconds = 0;
};

// One conversation's keys and values, and the scratch memory of its steps. One caller at a time.
class Decoder {
 public:
  Decoder(Backend& backend, std::shared_ptr<const Weights> weights,
          std::shared_ptr<const PrefixKv> prefix);
  ~Decoder();

  // Starts over: prefix, then (in router layers) what `memory` selects, then `tokens`, causally, at
  // positions first_position, first_position+1, … . routes[t] says whether token t routes; with no
  // routing token or a null `memory` nothing is selected. The logits of the last token are kept;
  // with `all_logits` those of every token. Errors: the memory's; a token out of the vocabulary;
  // positions beyond the model's; after an error the decoder must be prefilled again.
  Result<void> prefill(std::span<const int32_t> tokens, std::span<const uint8_t> routes,
                       size_t first_position, ContextSource* memory, bool all_logits = false);

  // Appends tokens, causally, at the positions that follow; they do not route.
  Result<void> append(std::span<const int32_t> tokens);

  // [vocabulary], of the last token; valid until the next call. May be overwritten by the caller.
  std::span<float> logits();
  // [tokens of the last prefill, vocabulary], when all_logits was asked for.
  MatView<const float> all_logits() const;
  size_t next_position() const;
  const PrefillTiming& timing() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace msa
