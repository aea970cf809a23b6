// Reads and checks a Hugging Face tokenizer.json.
#pragma once

#include <array>
#include <filesystem>
#include <vector>

#include "msa/result.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/pretokenize.h"
#include "text/vocabulary.h"

namespace msa {

// What a tokenizer.json says, as far as it makes a difference here.
struct TokenizerDescription {
  Vocabulary vocabulary;           // of model.vocab; added tokens are not in it yet
  std::vector<TokenId> model_ids;  // the tokens that merging can produce
  std::array<TokenId, 256> byte_tokens{};
  std::vector<Merge> merges;
  bool ignore_merges = false;
  bool nfc = false;
  std::vector<AddedToken> added_tokens;  // no content and no id twice
  std::vector<SplitStep> steps;
};

inline constexpr size_t kMostTokenizerBytes = size_t{100} << 20;

// `text` is the file's content; `file` is named in errors, with the key. Sections that cannot
// change the tokens of a text as encode() is asked for them are not looked at: post_processor (adds
// tokens around a whole sequence), truncation and padding.
Result<TokenizerDescription> read_tokenizer_json(std::string_view text,
                                                 const std::filesystem::path& file);

}  // namespace msa
