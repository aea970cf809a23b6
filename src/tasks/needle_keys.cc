#include "tasks/needle_keys.h"

#include <fmt/format.h>

#include <bit>
#include <cassert>

#include "tasks/factbook_names.h"
#include "tasks/needle_words.h"

namespace msa::needle {
namespace {
using factbook::mix;

constexpr int kRounds = 4;
// Decides which keys belong to which split and use: never change it, models are trained by it.
constexpr uint64_t kSpreadSeed = 0x6e6565646c65;
// The spread space in parts: a split has four of eight, two of them asked.
constexpr uint64_t kParts = 8, kPartsOfSplit = 4;
struct Parts {
  uint64_t first, count;
};
constexpr Parts kPartsOfUse[] = {{0, 2}, {2, 1}, {3, 1}};

uint64_t all_keys(bool pairs) {
  const uint64_t nouns = key_nouns().size();
  return key_adjectives().size() * nouns * (pairs ? 1 : nouns - 1);
}

uint64_t part_begin(uint64_t part, uint64_t size) {
  return size * part / kParts;
}

}  // namespace

Permutation::Permutation(uint64_t size, uint64_t seed)
    : size_(size),
      seed_(seed),
      half_bits_((static_cast<int>(std::bit_width(size > 1 ? size - 1 : 1)) + 1) / 2) {
  assert(size > 0 && size <= uint64_t{1} << 62);
}

uint64_t Permutation::operator()(uint64_t x) const {
  assert(x < size_);
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  do {
    uint64_t left = x >> half_bits_, right = x & mask;
    for (uint64_t round = 0; round < kRounds; ++round) {
      const uint64_t next = left ^ (mix(seed_ + round, right) & mask);
      left = right;
      right = next;
    }
    x = left << half_bits_ | right;
  } while (x >= size_);
  return x;
}

uint64_t Permutation::inverse(uint64_t y) const {
  assert(y < size_);
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  do {
    uint64_t left = y >> half_bits_, right = y & mask;
    for (uint64_t round = kRounds; round-- > 0;) {
      const uint64_t before = right ^ (mix(seed_ + round, left) & mask);
      right = left;
      left = before;
    }
    y = left << half_bits_ | right;
  } while (y >= size_);
  return y;
}

WordKeys::WordKeys(bool pairs, Split split, uint64_t seed)
    : pairs_(pairs),
      split_(split),
      spread_(all_keys(pairs), kSpreadSeed),
      order_{{size(Use::asked), mix(seed, 1)},
             {size(Use::lookalike), mix(seed, 2)},
             {size(Use::distractor), mix(seed, 3)}} {}

uint64_t WordKeys::first(Use use) const {
  const uint64_t part =
      (split_ == Split::test ? kPartsOfSplit : 0) + kPartsOfUse[static_cast<size_t>(use)].first;
  return part_begin(part, spread_.size());
}

uint64_t WordKeys::size(Use use) const {
  const Parts parts = kPartsOfUse[static_cast<size_t>(use)];
  const uint64_t part = (split_ == Split::test ? kPartsOfSplit : 0) + parts.first;
  return part_begin(part + parts.count, spread_.size()) - part_begin(part, spread_.size());
}

uint64_t WordKeys::key(Use use, uint64_t number) const {
  const Permutation& order = order_[static_cast<size_t>(use)];
  return spread_(first(use) + order(number % order.size()));
}

bool WordKeys::is_for(Use use, uint64_t key) const {
  const uint64_t at = spread_.inverse(key);
  return at >= first(use) && at - first(use) < size(use);
}

WordKeys::Words WordKeys::words(uint64_t key) const {
  const uint64_t nouns = key_nouns().size();
  if (pairs_) return {key / nouns, key % nouns, 0};
  Words words{key / (nouns * (nouns - 1)), key / (nouns - 1) % nouns, key % (nouns - 1)};
  // No noun stands twice: the second is counted among the others.
  words.second_noun += words.second_noun >= words.noun ? 1 : 0;
  return words;
}

uint64_t WordKeys::key_of(const Words& words) const {
  const uint64_t nouns = key_nouns().size();
  if (pairs_) return words.adjective * nouns + words.noun;
  const uint64_t second = words.second_noun - (words.second_noun > words.noun ? 1 : 0);
  return (words.adjective * nouns + words.noun) * (nouns - 1) + second;
}

uint64_t WordKeys::lookalike(uint64_t key, Random& draw) const {
  const Words original = words(key);
  // One key of eight is for this use, and there are hundreds to try, so this ends soon.
  for (;;) {
    Words changed = original;
    // Two places of three may change, so that one word stays in its place.
    const uint64_t keep = draw.below(pairs_ ? 2 : 3);
    const bool change_both = !pairs_ && draw.chance(0.5);
    const uint64_t only = (keep + 1 + draw.below(2)) % 3;
    const auto changes = [&](uint64_t place) {
      return place != keep && (pairs_ || change_both || place == only);
    };
    if (changes(0)) changed.adjective = draw.below(key_adjectives().size());
    if (changes(1)) changed.noun = draw.below(key_nouns().size());
    if (!pairs_ && changes(2)) changed.second_noun = draw.below(key_nouns().size());
    if (!pairs_ && changed.noun == changed.second_noun) continue;
    if (const uint64_t found = key_of(changed); is_for(Use::lookalike, found)) return found;
  }
}

std::string WordKeys::text(uint64_t key) const {
  const Words found = words(key);
  std::string text(key_adjectives()[found.adjective]);
  text.append("-").append(key_nouns()[found.noun]);
  if (!pairs_) text.append("-").append(key_nouns()[found.second_noun]);
  return text;
}

std::string random_uuid(Random& draw) {
  // Version 4, variant 1.
  const uint64_t high = (draw.bits() & ~uint64_t{0xf000}) | 0x4000;
  const uint64_t low = (draw.bits() >> 2) | uint64_t{1} << 63;
  return fmt::format("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", high >> 32, high >> 16 & 0xffff,
                     high & 0xffff, low >> 48, low & 0xffffffffffff);
}

std::string lookalike_uuid(const std::string& uuid, Random& draw) {
  constexpr size_t kFirst = 8, kLast = 12;
  std::string other = random_uuid(draw);
  if (draw.chance(0.5)) {
    other.replace(0, kFirst, uuid, 0, kFirst);
  } else {
    other.replace(other.size() - kLast, kLast, uuid, uuid.size() - kLast, kLast);
  }
  return other;
}

std::string random_number(Random& draw) {
  return std::to_string(draw.between(1000000, 9999999));
}

}  // namespace msa::needle
