// A tokenizer learned from files of documents.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string_view>
#include <vector>

#include "msa/document.h"
#include "msa/result.h"
#include "text/bpe_trainer.h"

namespace msa {

// What is learned from one file or folder. Documents count as the model sees them: title, line
// break, text.
struct TokenizerTexts {
  std::filesystem::path path;  // anything open_documents() reads
  uint64_t first = 0;          // only so many documents from its start; 0: all
  uint64_t weight = 1;         // each document as if it were there so many times
};

// "PATH", "PATH@first=N", "PATH@weight=N" or both, as users write it. A number that is none, or 0,
// is `invalid_argument`.
Result<TokenizerTexts> parse_tokenizer_texts(std::string_view argument);

struct TokenizerTraining {
  std::vector<TokenizerTexts> texts;
  // A text file of names, one a line, that nothing is learned about: documents whose title is the
  // name, or begins with it and a colon, are left out. Empty: none.
  std::filesystem::path held_out;
  BpeOptions bpe;
  // Told of records that cannot be read and are left out.
  std::function<void(const DocumentProblem&)> on_problem;
};

// Writes `file`, a tokenizer.json (see BpeTrainer::write). The same texts give the same file.
Result<BpeSummary> train_tokenizer(const TokenizerTraining& training,
                                   const std::filesystem::path& file);

}  // namespace msa
