// Lines of a byte stream, however long it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "corpus/byte_source.h"
#include "msa/result.h"

namespace msa {

// Reads a ByteSource in blocks and hands it out byte range by byte range. A byte order mark at the
// start is passed over.
class BlockReader {
 public:
  explicit BlockReader(ByteSource& bytes) : bytes_(bytes), block_(256 << 10) {}
  // What is read and not taken; empty at the end only. Valid until the next call.
  Result<std::string_view> peek();
  void take(size_t bytes) { at_ += bytes; }  // of those

 private:
  Result<void> fill();

  ByteSource& bytes_;
  std::vector<char> block_;
  size_t at_ = 0, size_ = 0;
  bool started_ = false;
};

class LineReader {
 public:
  // Lines of more than `max_bytes` are not kept.
  LineReader(ByteSource& bytes, size_t max_bytes) : blocks_(bytes), max_bytes_(max_bytes) {}

  enum class Status { line, too_long, end };
  // The next line into `line`, without its "\n" or "\r\n". The last one needs no line end.
  Result<Status> next(std::string& line);
  uint64_t number() const { return number_; }  // of the line read last, from 1

 private:
  BlockReader blocks_;
  size_t max_bytes_;
  uint64_t number_ = 0;
};

}  // namespace msa
