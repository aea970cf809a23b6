// Keys and values of needles, and who may use which key.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/random.h"
#include "tasks/task.h"

namespace msa::needle {

// A bijection of [0, size) that looks random: a Feistel network, walked along its cycle until it
// stays below `size` (at most 2^62, at least 1). Both ways cost a few dozen nanoseconds.
class Permutation {
 public:
  Permutation(uint64_t size, uint64_t seed);
  uint64_t size() const { return size_; }
  uint64_t operator()(uint64_t x) const;  // x < size
  uint64_t inverse(uint64_t y) const;     // y < size

 private:
  uint64_t size_, seed_;
  int half_bits_;
};

// What a key is for. No key has two uses, nor is it used in both splits, whatever the seed.
enum class Use { asked, lookalike, distractor };

// Keys of words: "quiet-river-lantern", or pairs as in RULER, "quiet-lantern". Immutable.
class WordKeys {
 public:
  // The seed orders the keys of each use.
  WordKeys(bool pairs, Split split, uint64_t seed);

  // How many keys there are for a use.
  uint64_t size(Use use) const;
  // Key `number` of a use, as its position in the space of all keys. Different numbers below
  // size(use) are different keys; from there on they come again.
  uint64_t key(Use use, uint64_t number) const;
  // A key for Use::lookalike that has at least one word in the same place as `key` has.
  uint64_t lookalike(uint64_t key, Random& draw) const;
  std::string text(uint64_t key) const;

 private:
  struct Words {
    uint64_t adjective = 0, noun = 0, second_noun = 0;
  };
  Words words(uint64_t key) const;
  uint64_t key_of(const Words& words) const;
  uint64_t first(Use use) const;  // in the spread space; uses follow each other
  bool is_for(Use use, uint64_t key) const;

  bool pairs_;
  Split split_;
  Permutation spread_;  // decides what a key is for; the same in all splits and for all seeds
  Permutation order_[3];
};

// "550e8400-e29b-41d4-a716-446655440000" (version 4): 122 random bits, which never meet.
std::string random_uuid(Random& draw);
// A UUID that shares its first or its last group with `uuid`.
std::string lookalike_uuid(const std::string& uuid, Random& draw);
// A number of seven digits.
std::string random_number(Random& draw);

}  // namespace msa::needle
