#include "base/hash.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <array>
#include <cassert>
#include <new>

namespace msa {

uint64_t hash64(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

uint64_t hash64(std::string_view text) {
  return XXH3_64bits(text.data(), text.size());
}

struct Hasher::State {
  struct Free {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };
  std::unique_ptr<XXH3_state_t, Free> stream{XXH3_createState()};
};

Hasher::Hasher() : state_(std::make_unique<State>()) {
  if (!state_->stream) throw std::bad_alloc();
  XXH3_64bits_reset(state_->stream.get());
}
Hasher::~Hasher() = default;
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;

void Hasher::add(std::span<const std::byte> bytes) {
  assert(state_ && "used after it was moved from");
  // An empty span may point nowhere, which the library counts as a misuse.
  if (!bytes.empty()) XXH3_64bits_update(state_->stream.get(), bytes.data(), bytes.size());
}

void Hasher::add(std::string_view text) {
  add(std::as_bytes(std::span(text.data(), text.size())));
}

void Hasher::add_number(uint64_t value) {
  std::array<std::byte, 8> bytes;
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(value >> (8 * i));
  add(bytes);
}

uint64_t Hasher::digest() const {
  assert(state_ && "used after it was moved from");
  return XXH3_64bits_digest(state_->stream.get());
}

std::string to_hex(uint64_t value) {
  return fmt::format("{:016x}", value);
}

}  // namespace msa
