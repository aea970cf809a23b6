// Text to tokens and back: any byte-level BPE described by a Hugging Face tokenizer.json.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "msa/result.h"

namespace msa {

using TokenId = int32_t;

// Immutable after loading; every method may be called from many threads at once.
class Tokenizer {
 public:
  // Reads `file`, a tokenizer.json: normalizer NFC or none; pre-tokenizer ByteLevel, Split
  // (Isolated or Removed), Digits, or a Sequence of them; model BPE; added tokens. Anything else in
  // it that would change the tokens of a text is an `unsupported` error that names it. Sections
  // that act on whole sequences (post_processor, truncation, padding) are passed over: encode()
  // adds nothing to a text and cuts nothing off. Sizes and ids are checked.
  static Result<std::shared_ptr<const Tokenizer>> load(const std::filesystem::path& file);

  ~Tokenizer();

  // The tokens of `text`. Added tokens are recognised in it, unless `added_tokens` is false, when
  // their characters are ordinary text. Invalid UTF-8 is replaced by U+FFFD first.
  std::vector<TokenId> encode(std::string_view text, bool added_tokens = true) const;

  // The text of the tokens. Bytes that are not valid UTF-8 are replaced by U+FFFD; ids outside the
  // vocabulary are left out. Special tokens are written as their content, unless `special` is
  // false.
  std::string decode(std::span<const TokenId> tokens, bool special = true) const;

  // The raw bytes one token stands for (empty for an id outside the vocabulary).
  std::string_view token_bytes(TokenId token) const;
  // The id of an added token or of a vocabulary entry whose bytes are `bytes`.
  std::optional<TokenId> find(std::string_view bytes) const;
  bool is_special(TokenId token) const;

  size_t vocabulary_size() const;  // the largest id plus one
  uint64_t fingerprint() const;    // of the file's bytes

 private:
  Tokenizer();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Decodes a growing token stream: push() returns only whole characters, finish() what is left.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool special = true)
      : tokenizer_(&tokenizer), special_(special) {}
  std::string push(TokenId token);
  std::string finish();

 private:
  const Tokenizer* tokenizer_;
  bool special_;
  std::string pending_;  // the start of a character whose rest has not come yet
};

}  // namespace msa
