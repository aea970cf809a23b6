#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <functional>

namespace msa {
namespace {

// Up to here looking at every neighbour for the next merge beats keeping them in a queue.
constexpr size_t kShortPiece = 96;
constexpr uint32_t kNone = UINT32_MAX;

uint64_t pair_of(TokenId left, TokenId right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

// Multiplying by 2^64 over the golden ratio leaves the best mixed bits on top.
size_t slot_of(uint64_t pair, int shift) {
  return static_cast<size_t>((pair * 0x9e3779b97f4a7c15u) >> shift);
}

}  // namespace

Bpe::Bpe(const Vocabulary& vocabulary, const std::vector<TokenId>& ids,
         const std::array<TokenId, 256>& byte_tokens, const std::vector<Merge>& merges,
         bool whole_first)
    : vocabulary_(&vocabulary), byte_tokens_(byte_tokens) {
  slots_.resize(std::bit_ceil(2 * merges.size() + 2));
  slot_shift_ = 64 - std::countr_zero(slots_.size());
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const uint64_t pair = pair_of(merges[rank].left, merges[rank].right);
    size_t at = slot_of(pair, slot_shift_);
    while (slots_[at].target.rank != kNoMerge && slots_[at].pair != pair)
      at = (at + 1) & (slots_.size() - 1);
    slots_[at] = {pair, {static_cast<uint32_t>(rank), merges[rank].result}};
  }

  whole_.resize(vocabulary.size());
  Scratch scratch;
  std::vector<TokenId> tokens;
  for (const TokenId id : ids) {
    const std::string_view bytes = vocabulary.bytes(id);
    if (bytes.empty() || bytes.size() > kLongestPiece) continue;
    tokens.clear();
    if (!whole_first) merge_all(bytes, scratch, tokens);
    if (whole_first || (tokens.size() == 1 && tokens[0] == id))
      whole_[static_cast<size_t>(id)] = true;
  }
}

void Bpe::encode(std::string_view piece, Scratch& scratch, std::vector<TokenId>& tokens) const {
  for (; piece.size() > kLongestPiece; piece.remove_prefix(kLongestPiece))
    encode(piece.substr(0, kLongestPiece), scratch, tokens);
  if (const auto id = vocabulary_->find(piece); id && whole_[static_cast<size_t>(*id)])
    tokens.push_back(*id);
  else
    merge_all(piece, scratch, tokens);
}

Bpe::Target Bpe::find_merge(TokenId left, TokenId right) const {
  const uint64_t pair = pair_of(left, right);
  for (size_t at = slot_of(pair, slot_shift_);; at = (at + 1) & (slots_.size() - 1)) {
    const Slot& slot = slots_[at];
    if (slot.pair == pair || slot.target.rank == kNoMerge) return slot.target;
  }
}

void Bpe::merge_all(std::string_view piece, Scratch& scratch, std::vector<TokenId>& tokens) const {
  if (piece.size() <= kShortPiece)
    merge_short(piece, scratch, tokens);
  else
    merge_long(piece, scratch, tokens);
}

void Bpe::merge_short(std::string_view piece, Scratch& scratch,
                      std::vector<TokenId>& tokens) const {
  std::vector<Scratch::Part>& parts = scratch.parts;
  parts.clear();
  for (const char byte : piece)
    if (const TokenId id = byte_tokens_[static_cast<uint8_t>(byte)]; id >= 0)
      parts.push_back({id, -1, kNoMerge});

  const auto look_up = [&](size_t i) {
    const Target target =
        i + 1 < parts.size() ? find_merge(parts[i].id, parts[i + 1].id) : Target{};
    parts[i].rank = target.rank;
    parts[i].merged = target.result;
  };
  for (size_t i = 0; i < parts.size(); ++i) look_up(i);
  while (!parts.empty()) {
    const auto lowest = std::min_element(
        parts.begin(), parts.end(), [](const auto& a, const auto& b) { return a.rank < b.rank; });
    if (lowest->rank == kNoMerge) break;
    lowest->id = lowest->merged;
    const auto i = static_cast<size_t>(lowest - parts.begin());
    parts.erase(lowest + 1);
    look_up(i);
    if (i > 0) look_up(i - 1);
  }
  for (const Scratch::Part& part : parts) tokens.push_back(part.id);
}

void Bpe::merge_long(std::string_view piece, Scratch& scratch, std::vector<TokenId>& tokens) const {
  // A doubly linked list of symbols, and a queue of possible merges ordered by rank, then place. An
  // entry whose symbols have changed since stays in the queue and is recognised by its rank.
  std::vector<Scratch::Symbol>& symbols = scratch.symbols;
  symbols.clear();
  for (const char byte : piece)
    if (const TokenId id = byte_tokens_[static_cast<uint8_t>(byte)]; id >= 0) {
      const auto place = static_cast<uint32_t>(symbols.size());
      symbols.push_back({id, place - 1, place + 1});  // the first one's previous is kNone
    }
  if (symbols.empty()) return;
  symbols.back().next = kNone;

  std::vector<uint64_t>& queue = scratch.queue;
  queue.clear();
  const auto entry_of = [&](uint32_t place) -> uint64_t {
    const Scratch::Symbol& symbol = symbols[place];
    if (symbol.next == kNone) return UINT64_MAX;
    return uint64_t{find_merge(symbol.id, symbols[symbol.next].id).rank} << 32 | place;
  };
  const auto is_merge = [](uint64_t entry) { return entry >> 32 != kNoMerge; };
  for (uint32_t place = 0; place < symbols.size(); ++place)
    if (const uint64_t entry = entry_of(place); is_merge(entry)) queue.push_back(entry);
  std::make_heap(queue.begin(), queue.end(), std::greater<>());

  const auto push = [&](uint32_t place) {
    if (const uint64_t entry = entry_of(place); is_merge(entry)) {
      queue.push_back(entry);
      std::push_heap(queue.begin(), queue.end(), std::greater<>());
    }
  };
  while (!queue.empty()) {
    std::pop_heap(queue.begin(), queue.end(), std::greater<>());
    const uint64_t entry = queue.back();
    queue.pop_back();
    const auto place = static_cast<uint32_t>(entry);
    Scratch::Symbol& left = symbols[place];
    if (left.id < 0 || left.next == kNone) continue;
    Scratch::Symbol& right = symbols[left.next];
    const Target target = find_merge(left.id, right.id);
    if (target.rank != entry >> 32) continue;
    left.id = target.result;
    left.next = right.next;
    right.id = -1;
    if (left.next != kNone) symbols[left.next].previous = place;
    push(place);
    if (left.previous != kNone) push(left.previous);
  }
  for (uint32_t place = 0; place != kNone; place = symbols[place].next)
    tokens.push_back(symbols[place].id);
}

}  // namespace msa
