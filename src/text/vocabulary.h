// The tokens of a tokenizer: bytes of each id, id of given bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace msa {

class Vocabulary {
 public:
  // The most ids that a vocabulary may have; larger ones are taken for damage.
  static constexpr int64_t kMostIds = int64_t{1} << 24;

  // Gives an id its bytes. False if it has some already. 0 <= id < kMostIds; the bytes of all
  // tokens together stay below 4 GiB (the reader limits the size of the file).
  bool add(TokenId id, std::string_view bytes);
  // Gives an id, new or not, these bytes. find() does not learn of them.
  void set(TokenId id, std::string_view bytes);
  // Makes find() know the tokens `ids`, which have been added. Of equal bytes the first counts.
  void make_index(const std::vector<TokenId>& ids);

  bool contains(TokenId id) const;
  std::string_view bytes(TokenId id) const;  // empty for an id outside the vocabulary
  std::optional<TokenId> find(std::string_view bytes) const;
  size_t size() const { return entries_.size(); }  // the largest id plus one

 private:
  static constexpr uint32_t kUnused = UINT32_MAX;
  struct Entry {
    uint32_t offset = 0, length = kUnused;  // in bytes_
  };
  // Open addressing; the upper half of the hash tells most strangers apart without a look at
  // their bytes.
  struct Slot {
    uint32_t hash = 0;
    TokenId id = -1;
  };

  std::string bytes_;
  std::vector<Entry> entries_;  // by id
  std::vector<Slot> slots_;     // a power of two, less than half full
};

}  // namespace msa
