// Learns a byte-level BPE from texts and writes it as a tokenizer.json.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "msa/result.h"

namespace msa {

// The pattern of Qwen 2 and 3: words with the one character before them, single digits, runs of
// other characters, line breaks, white space. Merges never cross its pieces.
inline constexpr std::string_view kQwenSplitPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

struct BpeOptions {
  // The most entries: 256 bytes, what is merged, special tokens. Texts in which fewer pairs repeat
  // give fewer.
  size_t vocabulary = 4096;
  // The last ids, in this order. Occurrences in texts are cut out, nothing is learned of them.
  std::vector<std::string> special_tokens = {"<|endoftext|>", "<|im_start|>", "<|im_end|>",
                                             "<|object_ref_start|>", "<|object_ref_end|>"};
  std::string split_pattern = std::string(kQwenSplitPattern);
  // Bytes no merge may join, so that each is a token wherever it stands: with the brackets a
  // document's number `[12]` has the same tokens after and before any text.
  std::string alone = "[]";
  uint64_t min_count = 2;  // a pair that occurs less often is not merged; at least 1
};

struct BpeSummary {
  size_t vocabulary = 0;  // entries, special tokens included
  size_t merges = 0;
  uint64_t texts = 0, characters = 0;
  uint64_t tokens = 0;  // what the texts come to with what was learned
};

// Learns as usual: of all adjacent pairs of tokens the one that occurs most becomes a token,
// repeatedly; of equally frequent ones that with the lower ids, left one first. So the same texts
// in any order give the same file. Not thread-safe.
class BpeTrainer {
 public:
  // A vocabulary without room for the bytes and special tokens, an empty or repeated special token,
  // or a pattern that does not compile is `invalid_argument`.
  static Result<BpeTrainer> create(BpeOptions options);
  BpeTrainer(BpeTrainer&&) noexcept;
  BpeTrainer& operator=(BpeTrainer&&) noexcept;
  ~BpeTrainer();

  // Counts the pieces of `text`, which is normalized as the tokenizer will do it: invalid UTF-8
  // replaced, form C. Memory grows with the number of different pieces only.
  // `weight`: as if it were added so many times.
  void add(std::string_view text, uint64_t weight = 1);

  // Learns from all texts added so far and writes `file` (atomically, replacing what is there): a
  // tokenizer.json that Tokenizer::load() and other readers of Hugging Face's format read. No texts
  // are `invalid_argument`.
  Result<BpeSummary> write(const std::filesystem::path& file) const;

 private:
  struct State;
  explicit BpeTrainer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace msa
