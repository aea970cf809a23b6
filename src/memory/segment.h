// Segments: immutable, aligned, checksummed arrays on disk (docs/memory-bank.md gives every byte).
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/mat_view.h"
#include "memory/snapshot.h"
#include "msa/result.h"

namespace msa {

// What every segment of one bank has in common.
struct SegmentShape {
  std::vector<int> router_layers;  // ascending
  size_t kv_width = 0;             // G*D
  DType dtype = DType::bf16;       // f32 or bf16: of routing keys, and of content unless int8
  // G: content is int8, with a scale for each head of a pooled key and of a pooled value. 0: it is
  // not.
  size_t int8_heads = 0;

  size_t key_row_bytes() const;      // G*D values
  size_t content_row_bytes() const;  // 2*G*D values
  size_t bytes_per_chunk() const;    // both, for each router layer
};

// The rows of one layer to be written, in pieces that follow each other.
struct SegmentPiece {
  ConstAnyMat keys;            // [c, G*D], dense
  ConstAnyMat content;         // [c, 2*G*D], dense
  Int8Rows content_int8 = {};  // in place of content, where the shape has int8_heads
};

struct WrittenSegment {
  uint64_t chunks = 0, bytes = 0, checksum = 0;
};

// Writes a segment file atomically. pieces[layer] lists that layer's rows; all layers have the same
// number of rows in all. `number` is stored in the header, so that a swapped file is found out.
Result<WrittenSegment> write_segment(const std::filesystem::path& file, uint64_t number,
                                     const SegmentShape& shape,
                                     const std::vector<std::vector<SegmentPiece>>& pieces);

// A mapped segment. Opening checks the header against shape, number and file size, not the arrays.
class Segment {
 public:
  static Result<Segment> open(const std::filesystem::path& file, uint64_t number,
                              const SegmentShape& shape);
  // The same of a file that is mapped already: every error is of what it holds.
  static Result<Segment> open(MappedFile mapped, uint64_t number, const SegmentShape& shape);
  uint64_t chunks() const { return chunks_; }
  uint64_t checksum() const { return checksum_; }  // covers the header and all arrays' checksums
  uint64_t bytes() const { return file_.bytes().size(); }
  const std::vector<SegmentLayer>& layers() const { return layers_; }  // valid while *this lives
  const MappedFile& file() const { return file_; }
  // Reads everything and compares every checksum; an error names file, layer and array.
  Result<void> verify(const std::function<void(uint64_t bytes)>& progress) const;
  // The same, but goes on after the first: a message for each array, or gap between arrays, whose
  // bytes are not those that were written. `progress` gets the bytes read since its last call.
  std::vector<std::string> problems(const std::function<void(uint64_t bytes)>& progress) const;

 private:
  MappedFile file_;
  SegmentShape shape_;
  uint64_t chunks_ = 0, checksum_ = 0;
  std::vector<SegmentLayer> layers_;
};

}  // namespace msa
