// Checksums and fingerprints (XXH3).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace msa {

uint64_t hash64(std::span<const std::byte> bytes);
uint64_t hash64(std::string_view text);

// Hashes a stream of pieces; equal to hash64 of their concatenation.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;

  void add(std::span<const std::byte> bytes);
  void add(std::string_view text);
  void add_number(uint64_t value);  // its eight bytes, little-endian
  uint64_t digest() const;          // of what was added so far

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Sixteen lower-case hexadecimal digits.
std::string to_hex(uint64_t value);

}  // namespace msa
