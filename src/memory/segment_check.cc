#include "memory/segment_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <string_view>

#include "base/files.h"
#include "base/hash.h"
#include "memory/segment_format.h"

namespace msa {
namespace {

// Reads [begin, end) of the file piece by piece, so that a caller sees progress and can stop it,
// and a bank much larger than the memory does not fill it.
class PieceReader {
 public:
  PieceReader(const MappedFile& file, const std::function<void(uint64_t)>& progress,
              const std::stop_token& stop)
      : file_(file), progress_(progress), stop_(stop) {}

  template <class Visit>
  void read(uint64_t begin, uint64_t end, Visit visit) const {
    constexpr uint64_t kPiece = 8u << 20;
    while (begin < end && !stop_.stop_requested()) {
      const uint64_t length = std::min(kPiece, end - begin);
      visit(file_.bytes().subspan(begin, length));
      file_.drop(begin, length);
      if (progress_) progress_(length);
      begin += length;
    }
  }

  uint64_t checksum(const SegmentPlan::Array& array) const {
    Hasher hasher;
    read(array.offset, array.offset + array.bytes,
         [&](std::span<const std::byte> piece) { hasher.add(piece); });
    return hasher.digest();
  }

  bool all_zero(uint64_t begin, uint64_t end) const {
    bool zero = true;
    read(begin, end, [&](std::span<const std::byte> piece) {
      zero = zero &&
             std::all_of(piece.begin(), piece.end(), [](std::byte b) { return b == std::byte{0}; });
    });
    return zero;
  }

 private:
  const MappedFile& file_;
  const std::function<void(uint64_t)>& progress_;
  const std::stop_token& stop_;
};

}  // namespace

std::vector<std::string> segment_problems(const Segment& segment, const SegmentShape& shape,
                                          const std::function<void(uint64_t bytes)>& progress,
                                          const std::stop_token& stop) {
  std::vector<std::string> problems;
  const MappedFile& file = segment.file();
  const PieceReader reader(file, progress, stop);
  const SegmentPlan plan = *plan_segment(shape, segment.chunks());
  const auto damaged = [&](std::string_view what) {
    problems.push_back(damaged_segment(file.path(), what).message);
  };

  SegmentHeader header;
  std::vector<SegmentLayerEntry> table(plan.layers.size());
  std::memcpy(&header, file.bytes().data(), sizeof(header));
  std::memcpy(table.data(), file.bytes().data() + sizeof(header),
              table.size() * sizeof(SegmentLayerEntry));
  if (header.checksum != segment.checksum() ||
      header_checksum(header, table) != segment.checksum()) {
    damaged("the header or the layer table was changed while in use");
    return problems;
  }
  if (progress) progress(plan.table_end);

  uint64_t read_to = plan.table_end;
  const auto check = [&](const SegmentPlan::Array& array, uint64_t expected, size_t l,
                         std::string_view name) {
    const bool zero = reader.all_zero(read_to, array.offset);
    const uint64_t actual = reader.checksum(array);
    // Nothing can be said of what was not read to its end.
    if (stop.stop_requested()) return;
    if (!zero)
      damaged(fmt::format("layer {}: the bytes from {} to {}, before the {}, are not zero",
                          shape.router_layers[l], read_to, array.offset, name));
    if (actual != expected)
      damaged(fmt::format("layer {}: the {} (bytes {} to {}) have checksum {}, written was {}",
                          shape.router_layers[l], name, array.offset, array.offset + array.bytes,
                          to_hex(actual), to_hex(expected)));
    read_to = array.offset + array.bytes;
  };
  for (size_t l = 0; l < table.size(); ++l)
    check(plan.layers[l].keys, table[l].keys_checksum, l, "routing keys");
  for (size_t l = 0; l < table.size(); ++l)
    check(plan.layers[l].content, table[l].content_checksum, l, "pooled keys and values");
  return problems;
}

}  // namespace msa
