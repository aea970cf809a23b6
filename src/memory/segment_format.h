// A segment file, byte by byte (docs/memory-bank.md). Private to memory/.
//
//   header | layer table | routing keys of each layer | content of each layer
//
// All numbers are little-endian. Arrays begin at multiples of 4096 bytes, with zeros before them;
// the file ends with the last array. Each array is row-major and dense, one row per chunk.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "memory/segment.h"

namespace msa {

static_assert(std::endian::native == std::endian::little, "segments are mapped as they are");

inline constexpr std::array<char, 8> kSegmentMagic{'M', 'S', 'A', 'S', 'E', 'G', '1', '\0'};
// Version 2 differs in the content: int8 with scales in place of values of type `dtype`.
inline constexpr uint32_t kSegmentVersion = 1, kInt8SegmentVersion = 2;
inline constexpr uint64_t kSegmentAlignment = 4096;

struct SegmentHeader {        // byte
  std::array<char, 8> magic;  //  0  kSegmentMagic
  uint32_t version;           //  8  kSegmentVersion or kInt8SegmentVersion
  uint32_t layers;            // 12  entries in the layer table
  uint64_t number;            // 16  the segment's id in the catalogue
  uint64_t chunks;            // 24  rows of every array, C
  uint64_t kv_width;          // 32  G*D
  uint32_t dtype;             // 40  0: float32, 1: bfloat16
  uint32_t int8_heads;        // 44  version 1: 0; version 2: G, content has 2*G scales in each row
  uint64_t file_bytes;        // 48  size of the whole file
  uint64_t checksum;          // 56  XXH3-64 of bytes 0 to 55, then of the layer table
};
static_assert(sizeof(SegmentHeader) == 64);

struct SegmentLayerEntry {    // byte
  uint32_t layer;             //  0  index of the layer in the model
  uint32_t reserved;          //  4  0
  uint64_t keys_offset;       //  8  from the start of the file
  uint64_t keys_bytes;        // 16  C * G*D * element size
  uint64_t keys_checksum;     // 24  XXH3-64 of the array
  uint64_t content_offset;    // 32
  uint64_t content_bytes;     // 40  version 1: 2 * keys_bytes; 2: C * int8_row_bytes(2*G, D)
  uint64_t content_checksum;  // 48
  uint64_t reserved2;         // 56  0
};
static_assert(sizeof(SegmentLayerEntry) == 64);

// Where everything lies in a segment of this many chunks. There is one layout only, of each
// version.
struct SegmentPlan {
  struct Array {
    uint64_t offset = 0, bytes = 0;
  };
  struct Layer {
    Array keys, content;
  };
  std::vector<Layer> layers;
  uint64_t table_end = 0;   // header and layer table
  uint64_t file_bytes = 0;  // of the whole file
};
// Nothing if the sizes do not fit 63 bits.
std::optional<SegmentPlan> plan_segment(const SegmentShape& shape, uint64_t chunks);

// Of the header up to its field `checksum`, and of the layer table.
uint64_t header_checksum(const SegmentHeader& header, std::span<const SegmentLayerEntry> table);

// A `corrupt` error: what is wrong with a segment, and what to do.
Error damaged_segment(const std::filesystem::path& file, std::string_view what);

}  // namespace msa
