// The texts a model of this kind is trained on, as tokens (spec: stages 1 to 3 of the method).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "msa/result.h"
#include "text/tokenizer.h"

namespace msa {

// The text of a document as the model sees it: the title, a line break, the text; or the text
// alone.
std::string document_text(std::string_view title, std::string_view text);

// Tokens of `<|im_start|>[n]. x[n]<|im_end|>` for document number n and text x.
std::vector<TokenId> document_tokens(const Tokenizer& tokenizer, uint32_t number,
                                     std::string_view text);

// Tokens of `<|im_start|>user\n`, encoded once, alone, before every context (T0 of them).
std::vector<TokenId> prefix_tokens(const Tokenizer& tokenizer);

// The question block, template tail and response head.
struct QuestionTokens {
  std::vector<TokenId> tokens;
  size_t routing = 0;  // the first so many tokens route in round 1: the whole question block
  // The same for later rounds: up to and including `Please return all documents related to the
  // question`, without the line break after it.
  size_t routing_later = 0;
};
QuestionTokens question_tokens(const Tokenizer& tokenizer, std::string_view question);

// One document whose original text is handed to the model.
struct InjectedDocument {
  uint32_t number = 0;
  std::string text;  // as document_text() made it
};

// Tokens of `[n]. {text}\n` for each document in the order given, then `<|object_ref_end|>`.
// The first `routing` of them route in the next round: all but the closing token.
struct InjectedTokens {
  std::vector<TokenId> tokens;
  size_t routing = 0;
};
InjectedTokens injected_tokens(const Tokenizer& tokenizer,
                               std::span<const InjectedDocument> documents);

// Tokens of `<|im_start|>The user's question is: {question}\n<|object_ref_end|>`.
std::vector<TokenId> answer_request_tokens(const Tokenizer& tokenizer, std::string_view question);

// What the model writes.
inline constexpr std::string_view kEndOfRetrieve = "<End-of-Retrieve>";
inline constexpr std::string_view kAnswerLead = "The answer to the question is:";
inline constexpr std::string_view kImStart = "<|im_start|>";
inline constexpr std::string_view kImEnd = "<|im_end|>";
inline constexpr std::string_view kRoundEnd = "<|object_ref_end|>";

// Checks that the tokenizer has the three special tokens above, each as one token; the error names
// the one that is missing.
Result<void> check_prompt_tokens(const Tokenizer& tokenizer);

// Every `[n]` in `text`, in order of appearance, duplicates kept; digit runs that do not fit 32
// bits are left out.
std::vector<uint32_t> cited_numbers(std::string_view text);

// What stands between kAnswerLead and kImEnd, without surrounding white space; without the lead,
// the whole of `text` before kImEnd.
std::string answer_of(std::string_view text);

}  // namespace msa
