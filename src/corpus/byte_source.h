// Bytes of a file, plain or compressed, as one stream.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

#include "msa/result.h"

namespace msa {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Fills the front of `out`; the number of bytes, 0 only at the end. Damaged or truncated
  // compressed data is a `corrupt` error that names the file.
  virtual Result<size_t> read(std::span<std::byte> out) = 0;
  virtual uint64_t stored_bytes_read() const = 0;  // of the file as it lies on disk
};

// Decompresses by ending: .gz (zlib), .zst (zstd). "-" is standard input.
Result<std::unique_ptr<ByteSource>> open_bytes(const std::filesystem::path& path);

}  // namespace msa
