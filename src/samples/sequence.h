// One question as the token sequences that a model sees when it retrieves and answers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "samples/batch.h"
#include "samples/sample.h"
#include "text/tokenizer.h"

namespace msa {

// A document with the number it has in this step.
struct NumberedDocument {
  uint32_t number = 0;
  std::string text;  // as document_text() made it
};

// One sequence without the prefix; see Batch for what the arrays mean.
struct QuerySequence {
  std::vector<TokenId> tokens;
  std::vector<uint8_t> routes;
  std::vector<TokenId> labels;
  std::vector<LabelKind> kinds;  // meaningful where there is a label
};

// The queries of a question whose retrieval steps bring steps[s] (in any order): one per step,
// whose target is that step's numbers, and one whose target is `<End-of-Retrieve>` and the answer.
// Each piece is tokenized as the engine does it, so that a model meets in training what it will
// meet in use.
std::vector<QuerySequence> question_sequences(
    const Tokenizer& tokenizer, const std::string& question, const std::string& answer,
    const std::vector<std::vector<NumberedDocument>>& steps);

// A question that documents handed over answer.
struct ReadingQuestion {
  std::string question, answer;
};

// One sequence in which all questions, at least one, are answered from the documents, one after the
// other: the block of the first question, the documents' numbers and texts as a round brings them,
// `<End-of-Retrieve>`, and per question the answer request and the answer. Answer labels as in
// question_sequences(); nothing routes.
QuerySequence reading_sequence(const Tokenizer& tokenizer,
                               const std::vector<NumberedDocument>& documents,
                               const std::vector<ReadingQuestion>& questions);

}  // namespace msa
