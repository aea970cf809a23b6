#include "memory/segment.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstring>
#include <utility>

#include "base/checked.h"
#include "base/hash.h"
#include "kernels/int8_rows.h"
#include "memory/segment_check.h"
#include "memory/segment_format.h"

namespace msa {
namespace {

constexpr uint64_t kMaxFileBytes = INT64_MAX;

uint32_t dtype_number(DType dtype) {
  return dtype == DType::f32 ? 0 : 1;
}

uint32_t version_of(const SegmentShape& shape) {
  return shape.int8_heads > 0 ? kInt8SegmentVersion : kSegmentVersion;
}

std::span<const std::byte> dense_bytes(const ConstAnyMat& m) {
  assert(m.dense());
  return {m.data, m.rows * m.cols * size_of(m.dtype)};
}

}  // namespace

uint64_t header_checksum(const SegmentHeader& header, std::span<const SegmentLayerEntry> table) {
  Hasher hasher;
  hasher.add(std::as_bytes(std::span(&header, 1)).first(offsetof(SegmentHeader, checksum)));
  hasher.add(std::as_bytes(table));
  return hasher.digest();
}

Error damaged_segment(const std::filesystem::path& file, std::string_view what) {
  return Error{
      Code::corrupt,
      fmt::format("{}: {}; mend the bank with `msa memory repair`, or restore it from a copy",
                  file.string(), what)};
}

size_t SegmentShape::key_row_bytes() const {
  return kv_width * size_of(dtype);
}

size_t SegmentShape::content_row_bytes() const {
  return int8_heads > 0 ? int8_row_bytes(2 * int8_heads, kv_width / int8_heads)
                        : 2 * key_row_bytes();
}

size_t SegmentShape::bytes_per_chunk() const {
  return (key_row_bytes() + content_row_bytes()) * router_layers.size();
}

std::optional<SegmentPlan> plan_segment(const SegmentShape& shape, uint64_t chunks) {
  const uint64_t layers = shape.router_layers.size();
  const auto table = checked_mul<uint64_t>(layers, sizeof(SegmentLayerEntry));
  const auto keys = checked_product<uint64_t>({chunks, shape.kv_width, size_of(shape.dtype)});
  if (!table || !keys) return std::nullopt;

  SegmentPlan plan;
  plan.layers.resize(layers);
  plan.table_end = sizeof(SegmentHeader) + *table;
  plan.file_bytes = plan.table_end;
  // Appends an array behind what is there; false if the file would grow too large.
  const auto append = [&](SegmentPlan::Array& array, uint64_t bytes) {
    const auto padded = checked_add(plan.file_bytes, kSegmentAlignment - 1);
    if (!padded) return false;
    array = {*padded / kSegmentAlignment * kSegmentAlignment, bytes};
    const auto end = checked_add(array.offset, bytes);
    if (!end || *end > kMaxFileBytes) return false;
    plan.file_bytes = *end;
    return true;
  };
  // A row of int8 is at most five times as long as one of keys, whose width the manifest bounds.
  const auto content = shape.int8_heads > 0
                           ? checked_mul<uint64_t>(chunks, shape.content_row_bytes())
                           : checked_mul<uint64_t>(*keys, 2);
  if (!content) return std::nullopt;
  for (SegmentPlan::Layer& layer : plan.layers)
    if (!append(layer.keys, *keys)) return std::nullopt;
  for (SegmentPlan::Layer& layer : plan.layers)
    if (!append(layer.content, *content)) return std::nullopt;
  return plan;
}

Result<WrittenSegment> write_segment(const std::filesystem::path& file, uint64_t number,
                                     const SegmentShape& shape,
                                     const std::vector<std::vector<SegmentPiece>>& pieces) {
  assert(shape.dtype == DType::f32 || shape.dtype == DType::bf16);
  assert(!shape.router_layers.empty() && pieces.size() == shape.router_layers.size());
  uint64_t chunks = 0;
  for (const SegmentPiece& piece : pieces.front()) chunks += piece.keys.rows;
  const std::optional<SegmentPlan> plan = plan_segment(shape, chunks);
  if (!plan)
    return Error{Code::invalid_argument,
                 fmt::format("{}: {} chunks are too many for one segment; commit more often",
                             file.string(), chunks)};

  SegmentHeader header{};
  header.magic = kSegmentMagic;
  header.version = version_of(shape);
  header.layers = static_cast<uint32_t>(pieces.size());
  header.number = number;
  header.chunks = chunks;
  header.kv_width = shape.kv_width;
  header.dtype = dtype_number(shape.dtype);
  header.int8_heads = static_cast<uint32_t>(shape.int8_heads);
  header.file_bytes = plan->file_bytes;
  std::vector<SegmentLayerEntry> table(pieces.size());
  for (size_t l = 0; l < table.size(); ++l) {
    const SegmentPlan::Layer& layer = plan->layers[l];
    table[l].layer = static_cast<uint32_t>(shape.router_layers[l]);
    table[l].keys_offset = layer.keys.offset;
    table[l].keys_bytes = layer.keys.bytes;
    table[l].content_offset = layer.content.offset;
    table[l].content_bytes = layer.content.bytes;
  }

  MSA_ASSIGN(AtomicFileWriter writer, AtomicFileWriter::create(file));
  // Their checksums are known only at the end, when header and table are written again.
  MSA_TRY(writer.write(std::as_bytes(std::span(&header, 1))));
  MSA_TRY(writer.write(std::as_bytes(std::span(table))));
  const auto keys_of = [&](const SegmentPiece& piece) {
    assert(piece.keys.dtype == shape.dtype);
    return dense_bytes(piece.keys);
  };
  const auto content_of = [&](const SegmentPiece& piece) {
    if (shape.int8_heads > 0) return piece.content_int8.bytes();
    assert(piece.content.dtype == shape.dtype);
    return dense_bytes(piece.content);
  };
  const auto write_array = [&](const std::vector<SegmentPiece>& layer,
                               const auto& bytes_of) -> Result<uint64_t> {
    MSA_TRY(writer.pad_to(kSegmentAlignment));
    Hasher hasher;
    for (const SegmentPiece& piece : layer) {
      const std::span<const std::byte> bytes = bytes_of(piece);
      hasher.add(bytes);
      MSA_TRY(writer.write(bytes));
    }
    return hasher.digest();
  };
  for (size_t l = 0; l < table.size(); ++l) {
    MSA_ASSIGN(table[l].keys_checksum, write_array(pieces[l], keys_of));
    assert(writer.size() == table[l].keys_offset + table[l].keys_bytes);
  }
  for (size_t l = 0; l < table.size(); ++l) {
    MSA_ASSIGN(table[l].content_checksum, write_array(pieces[l], content_of));
    assert(writer.size() == table[l].content_offset + table[l].content_bytes);
  }
  header.checksum = header_checksum(header, table);
  MSA_TRY(writer.write_at(0, std::as_bytes(std::span(&header, 1))));
  MSA_TRY(writer.write_at(sizeof(header), std::as_bytes(std::span(table))));
  MSA_TRY(writer.commit());
  return WrittenSegment{chunks, plan->file_bytes, header.checksum};
}

Result<Segment> Segment::open(const std::filesystem::path& file, uint64_t number,
                              const SegmentShape& shape) {
  MSA_ASSIGN(MappedFile mapped, MappedFile::open(file, MappedFile::Links::refuse));
  return open(std::move(mapped), number, shape);
}

Result<Segment> Segment::open(MappedFile mapped, uint64_t number, const SegmentShape& shape) {
  Segment segment;
  segment.file_ = std::move(mapped);
  const std::filesystem::path& file = segment.file_.path();
  const std::span<const std::byte> bytes = segment.file_.bytes();

  SegmentHeader header;
  if (bytes.size() < sizeof(header))
    return damaged_segment(file, fmt::format("has {} bytes, a segment's header alone has {}",
                                             bytes.size(), sizeof(header)));
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (header.magic != kSegmentMagic)
    return damaged_segment(file, "does not begin as a segment does");
  if (header.version > kInt8SegmentVersion)
    return Error{Code::unsupported,
                 fmt::format("{}: is a segment of version {}, this program reads versions up to "
                             "{}; use a newer msa",
                             file.string(), header.version, kInt8SegmentVersion)};
  if (header.version != version_of(shape))
    return damaged_segment(
        file, fmt::format("says that it is of version {}, the bank's are of version {}",
                          header.version, version_of(shape)));

  // The shape is checked against the bank's before anything is computed from the file's numbers.
  const size_t layers = shape.router_layers.size();
  if (header.layers != layers)
    return damaged_segment(file,
                           fmt::format("has {} layers, the bank has {}", header.layers, layers));
  if (header.kv_width != shape.kv_width)
    return damaged_segment(file, fmt::format("has rows of {} values, the bank's have {}",
                                             header.kv_width, shape.kv_width));
  if (header.dtype != dtype_number(shape.dtype))
    return damaged_segment(
        file, fmt::format("holds values of type {}, the bank's are of type {} ({})", header.dtype,
                          dtype_number(shape.dtype), name_of(shape.dtype)));
  if (header.int8_heads != shape.int8_heads)
    return damaged_segment(file, fmt::format("has scales for {} heads, the bank's have them for {}",
                                             header.int8_heads, shape.int8_heads));
  const std::optional<SegmentPlan> plan = plan_segment(shape, header.chunks);
  if (!plan || header.file_bytes != plan->file_bytes)
    return damaged_segment(file,
                           fmt::format("says that it has {} chunks and {} bytes, which do not fit "
                                       "each other",
                                       header.chunks, header.file_bytes));
  if (bytes.size() != plan->file_bytes)
    return damaged_segment(file, fmt::format("has {} bytes, {} chunks need {}", bytes.size(),
                                             header.chunks, plan->file_bytes));
  // The table lies within the file: it is part of what file_bytes counts.
  std::vector<SegmentLayerEntry> table(layers);
  std::memcpy(table.data(), bytes.data() + sizeof(header), layers * sizeof(SegmentLayerEntry));
  if (header.checksum != header_checksum(header, table))
    return damaged_segment(file, "the header or the layer table was changed (checksum differs)");
  if (header.number != number)
    return damaged_segment(file, fmt::format("is segment {}, but stands in the place of segment {}",
                                             header.number, number));

  for (size_t l = 0; l < layers; ++l) {
    const SegmentPlan::Layer& planned = plan->layers[l];
    const SegmentLayerEntry& entry = table[l];
    if (entry.layer != static_cast<uint32_t>(shape.router_layers[l]))
      return damaged_segment(file, fmt::format("entry {} is of layer {}, the bank's is of layer {}",
                                               l, entry.layer, shape.router_layers[l]));
    if (entry.keys_offset != planned.keys.offset || entry.keys_bytes != planned.keys.bytes ||
        entry.content_offset != planned.content.offset ||
        entry.content_bytes != planned.content.bytes || entry.reserved != 0 || entry.reserved2 != 0)
      return damaged_segment(
          file, fmt::format("layer {}: its arrays are not where they have to be", entry.layer));
    SegmentLayer& layer = segment.layers_.emplace_back();
    layer.keys =
        ConstAnyMat(bytes.data() + planned.keys.offset, shape.dtype, header.chunks, shape.kv_width);
    const std::byte* const content = bytes.data() + planned.content.offset;
    if (shape.int8_heads > 0)
      layer.content_int8 = {content, header.chunks, 2 * shape.int8_heads,
                            shape.kv_width / shape.int8_heads};
    else
      layer.content = ConstAnyMat(content, shape.dtype, header.chunks, 2 * shape.kv_width);
  }
  segment.chunks_ = header.chunks;
  segment.checksum_ = header.checksum;
  segment.shape_ = shape;
  return segment;
}

std::vector<std::string> Segment::problems(
    const std::function<void(uint64_t bytes)>& progress) const {
  return segment_problems(*this, shape_, progress, {});
}

Result<void> Segment::verify(const std::function<void(uint64_t bytes)>& progress) const {
  const std::vector<std::string> found = problems(progress);
  if (!found.empty()) return Error{Code::corrupt, found.front()};
  return {};
}

}  // namespace msa
