// The files of a bank's index, as docs/memory-bank.md gives them. All of it is derived data.
//
//   index/index.json        what is indexed, and a line for each layer's file; a checksum
//   index/00000003-18.idx   the lists of layer 18, of the third index built
//
// A new index is written beside the old one; renaming index.json puts it in its place.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "approximate/list_index.h"
#include "base/files.h"
#include "msa/result.h"

namespace msa {

inline constexpr std::string_view kIndexFolder = "index";
inline constexpr std::string_view kIndexCatalogue = "index.json";
inline constexpr uint32_t kIndexVersion = 1;

struct IndexFileHeader {
  std::array<char, 8> magic;  // "MSAIDX1", 0
  uint32_t version;
  uint32_t coding;  // KeyCoding
  uint32_t layer;   // in the model
  uint32_t zero;
  uint64_t width, lists, rows;
  uint64_t code_bytes;  // of a row
  uint64_t file_bytes;
};
static_assert(sizeof(IndexFileHeader) == 64);

// A segment as it was when it was indexed. Segments never change and ids are not used again; the
// hash of a segment's header, which holds the checksums of its arrays, tells banks apart.
struct IndexedSegment {
  int64_t id = 0;
  uint32_t chunks = 0;  // rows, also those of removed documents
  uint64_t header_hash = 0;
};

struct IndexedFile {
  int layer = 0;
  std::string file;  // a plain name in the index's folder
  uint64_t bytes = 0, checksum = 0;
  size_t probes = 1;      // lists that a query looks into
  size_t candidates = 1;  // documents to be scored in full for each one wanted, at most
  double recall = 0;      // measured
};

// What index.json holds.
struct IndexCatalogue {
  KeyCoding coding = KeyCoding::scalar;
  size_t width = 0, lists = 0;
  uint64_t rows = 0, documents = 0;  // that were indexed
  // A row's number is that in its segment, plus the chunks of all segments before it.
  std::vector<IndexedSegment> segments;
  std::vector<IndexedFile> layers;

  uint64_t chunks() const;  // of all segments
};

// index.json: one line of JSON, and one with the XXH3-64 of it.
std::string to_text(const IndexCatalogue& catalogue);
// Every number is checked: what is returned is consistent in itself.
Result<IndexCatalogue> parse_index_catalogue(std::string_view text,
                                             const std::filesystem::path& file);
Result<IndexCatalogue> read_index_catalogue(const std::filesystem::path& index_folder);

// "00000003-18.idx"; what is not made so has no number.
std::string index_file_name(uint64_t build, int layer);
std::optional<uint64_t> build_of_index_file(std::string_view name);

// Writes the lists of `builder`, which hold `rows` rows; the file's size and checksum in the
// result. Durable when this returns.
Result<IndexedFile> write_index_file(const std::filesystem::path& folder, std::string name,
                                     int layer, const ListShape& shape, uint64_t rows,
                                     const ListBuilder& builder);

// An index file, mapped and checked: size, checksum, header, and every offset and row number, so
// that searching it stays within it whatever it holds.
struct MappedIndex {
  MappedFile file;
  ListArrays arrays;
};
Result<MappedIndex> open_index_file(const std::filesystem::path& folder,
                                    const IndexCatalogue& catalogue, const IndexedFile& record);

}  // namespace msa
