// Byte-pair encoding: a piece of text, as bytes, becomes tokens by merging neighbours.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"
#include "text/vocabulary.h"

namespace msa {

// Merge number `rank` of a model, which is its place in the list: tokens `left` and `right`, when
// neighbours, become `result`.
struct Merge {
  TokenId left, right, result;
};

// Immutable after construction; encode() may be called from many threads, each with its own
// scratch memory.
class Bpe {
 public:
  // What encode() works in; grows to 20 bytes per byte of the longest piece of which no token
  // exists, at most 20 * kLongestPiece.
  struct Scratch {
    struct Symbol {
      TokenId id;
      uint32_t previous, next;
    };
    struct Part {
      TokenId id, merged;  // merged: what it and the next part would become
      uint32_t rank;       // of that merge
    };
    std::vector<Part> parts;
    std::vector<Symbol> symbols;
    std::vector<uint64_t> queue;
  };

  // Longer pieces are cut, which bounds the memory they need. Text does not hold such pieces.
  static constexpr size_t kLongestPiece = size_t{16} << 20;

  Bpe() = default;
  // `byte_tokens` are the tokens of the single bytes, -1 for those the vocabulary lacks: they
  // vanish, so a caller makes sure that they cannot occur. `ids` are the tokens that text can
  // become, which `vocabulary` can find; it must outlive this object. With `whole_first`, a piece
  // that is a token becomes that token, whatever the merges say. Of two merges of the same pair the
  // later counts.
  Bpe(const Vocabulary& vocabulary, const std::vector<TokenId>& ids,
      const std::array<TokenId, 256>& byte_tokens, const std::vector<Merge>& merges,
      bool whole_first);

  // Appends the tokens of one piece: the merge of lowest rank first, of equals the leftmost, until
  // none applies. O(n log n).
  void encode(std::string_view piece, Scratch& scratch, std::vector<TokenId>& tokens) const;

 private:
  static constexpr uint32_t kNoMerge = UINT32_MAX;
  struct Target {
    uint32_t rank = kNoMerge;
    TokenId result = -1;
  };
  struct Slot {
    uint64_t pair = 0;
    Target target;
  };

  Target find_merge(TokenId left, TokenId right) const;
  void merge_all(std::string_view piece, Scratch& scratch, std::vector<TokenId>& tokens) const;
  void merge_short(std::string_view piece, Scratch& scratch, std::vector<TokenId>& tokens) const;
  void merge_long(std::string_view piece, Scratch& scratch, std::vector<TokenId>& tokens) const;

  const Vocabulary* vocabulary_ = nullptr;
  std::array<TokenId, 256> byte_tokens_{};
  std::vector<Slot> slots_;  // open addressing: a power of two, less than half full
  int slot_shift_ = 0;
  // By id: a piece of this token's bytes becomes this token. Saves most pieces of a text their
  // merges.
  std::vector<bool> whole_;
};

}  // namespace msa
