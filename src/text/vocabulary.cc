#include "text/vocabulary.h"

#include <bit>
#include <cassert>

#include "base/hash.h"

namespace msa {

bool Vocabulary::add(TokenId id, std::string_view bytes) {
  if (contains(id)) return false;
  set(id, bytes);
  return true;
}

void Vocabulary::set(TokenId id, std::string_view bytes) {
  assert(id >= 0 && id < kMostIds && bytes_.size() + bytes.size() < UINT32_MAX);
  const auto index = static_cast<size_t>(id);
  if (index >= entries_.size()) entries_.resize(index + 1);
  entries_[index] = {static_cast<uint32_t>(bytes_.size()), static_cast<uint32_t>(bytes.size())};
  bytes_.append(bytes);
}

void Vocabulary::make_index(const std::vector<TokenId>& ids) {
  slots_.assign(std::bit_ceil(2 * ids.size() + 2), Slot{});
  const size_t mask = slots_.size() - 1;
  for (const TokenId id : ids) {
    const uint64_t hash = hash64(bytes(id));
    const auto upper = static_cast<uint32_t>(hash >> 32);
    size_t at = hash & mask;
    for (; slots_[at].id >= 0; at = (at + 1) & mask)
      if (slots_[at].hash == upper && bytes(slots_[at].id) == bytes(id)) break;
    if (slots_[at].id < 0) slots_[at] = {upper, id};
  }
}

bool Vocabulary::contains(TokenId id) const {
  return id >= 0 && static_cast<size_t>(id) < entries_.size() &&
         entries_[static_cast<size_t>(id)].length != kUnused;
}

std::string_view Vocabulary::bytes(TokenId id) const {
  if (!contains(id)) return {};
  const Entry entry = entries_[static_cast<size_t>(id)];
  return std::string_view(bytes_).substr(entry.offset, entry.length);
}

std::optional<TokenId> Vocabulary::find(std::string_view bytes) const {
  if (slots_.empty()) return std::nullopt;
  const uint64_t hash = hash64(bytes);
  const auto upper = static_cast<uint32_t>(hash >> 32);
  const size_t mask = slots_.size() - 1;
  for (size_t at = hash & mask; slots_[at].id >= 0; at = (at + 1) & mask)
    if (slots_[at].hash == upper && this->bytes(slots_[at].id) == bytes) return slots_[at].id;
  return std::nullopt;
}

}  // namespace msa
