#include "memory/held_content.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#include "base/checked.h"
#include "base/files.h"
#include "base/page_advice.h"
#include "kernels/cpu/huge_buffer.h"

namespace msa {
namespace {

// The stored bytes of a layer's content, whichever type it has.
std::span<const std::byte> stored(const SegmentLayer& layer) {
  if (layer.content_int8.heads > 0) return layer.content_int8.bytes();
  const ConstAnyMat& content = layer.content;
  assert(content.dense());
  return {content.data, content.rows * content.cols * size_of(content.dtype)};
}

// Arrays follow each other at multiples of a cache line.
std::optional<uint64_t> room_of(const SegmentLayer& layer) {
  constexpr uint64_t kLine = 64;
  const auto padded = checked_add<uint64_t>(stored(layer).size(), kLine - 1);
  return padded ? std::optional(*padded / kLine * kLine) : std::nullopt;
}

std::optional<uint64_t> content_bytes(const SegmentView& segment) {
  std::optional<uint64_t> sum = 0;
  for (const SegmentLayer& layer : segment.layers) {
    const auto room = room_of(layer);
    if (sum) sum = room ? checked_add(*sum, *room) : std::nullopt;
  }
  return sum;
}

// Copies bytes of a mapped file, and gives the pages back that were read for it.
void copy_out(std::span<const std::byte> from, const MappedFile* file, std::byte* to) {
  constexpr size_t kPiece = 8u << 20;
  for (size_t done = 0; done < from.size();) {
    const std::span<const std::byte> rest = from.subspan(done);
    const size_t length = std::min(kPiece, rest.size());
    if (file != nullptr) fetch_ahead(rest.subspan(length, std::min(kPiece, rest.size() - length)));
    std::memcpy(to + done, rest.data(), length);
    if (file != nullptr)
      file->drop(static_cast<size_t>(rest.data() - file->bytes().data()), length);
    done += length;
  }
}

}  // namespace

std::optional<uint64_t> content_bytes(const Snapshot& snapshot) {
  std::optional<uint64_t> sum = 0;
  for (const SegmentView& segment : snapshot.segments) {
    const auto bytes = content_bytes(segment);
    if (sum) sum = bytes ? checked_add(*sum, *bytes) : std::nullopt;
  }
  return sum;
}

bool is_mapped(const SegmentView& segment, std::span<const std::byte> rows) {
  if (segment.file == nullptr) return false;
  const std::span<const std::byte> file = segment.file->bytes();
  // Of pointers into different arrays only these comparisons are defined.
  const std::less<> before;
  return !before(rows.data(), file.data()) && before(rows.data(), file.data() + file.size());
}

// All layers lie in one piece of memory, one after another.
struct HeldContent::SegmentContent {
  cpu::HugeBuffer memory;
};

std::shared_ptr<const HeldContent::SegmentContent> HeldContent::copy(const SegmentView& segment) {
  auto copied = std::make_shared<SegmentContent>();
  copied->memory = cpu::HugeBuffer(*content_bytes(segment));
  std::byte* at = copied->memory.data();
  for (const SegmentLayer& layer : segment.layers) {
    const std::span<const std::byte> from = stored(layer);
    copy_out(from, is_mapped(segment, from) ? segment.file : nullptr, at);
    at += *room_of(layer);
  }
  return copied;
}

Result<uint64_t> HeldContent::bytes_for(const Snapshot& snapshot) const {
  const auto bytes = content_bytes(snapshot);
  if (!bytes)
    return Error{Code::corrupt,
                 "the memory: has more pooled keys and values than can be; verify the bank"};
  if (*bytes > budget_.bytes)
    return Error{
        Code::no_space,
        fmt::format("the pooled keys and values take {} in memory, {} of the {} are left for "
                    "them; allow {} more, or leave them on the disk, mapped",
                    memory_text(*bytes), memory_text(budget_.bytes),
                    budget_.limited ? "memory limit" : "memory",
                    memory_text(budget_.missing_for(*bytes)))};
  return *bytes;
}

void HeldContent::make_room_for(const Snapshot& next) {
  source_.reset();
  held_.reset();
  std::map<int64_t, std::shared_ptr<const SegmentContent>> kept;
  for (const SegmentView& segment : next.segments)
    if (const auto known = segments_.find(segment.id); known != segments_.end())
      kept.insert(*known);
  segments_ = std::move(kept);
  bytes_ = 0;
}

Result<std::shared_ptr<const Snapshot>> HeldContent::hold(
    std::shared_ptr<const Snapshot> snapshot) {
  if (snapshot == source_) return held_;
  MSA_ASSIGN(const uint64_t bytes, bytes_for(*snapshot));
  make_room_for(*snapshot);

  struct Owner {
    std::shared_ptr<const Snapshot> source;
    std::vector<std::shared_ptr<const SegmentContent>> segments;
  };
  auto owner = std::make_shared<Owner>();
  auto held = std::make_shared<Snapshot>(*snapshot);
  for (SegmentView& segment : held->segments) {
    std::shared_ptr<const SegmentContent>& content = segments_[segment.id];
    if (!content) content = copy(segment);
    const std::byte* at = content->memory.data();
    for (SegmentLayer& layer : segment.layers) {
      const uint64_t room = *room_of(layer);
      if (layer.content_int8.heads > 0)
        layer.content_int8.data = at;
      else
        layer.content.data = at;
      at += room;
    }
    owner->segments.push_back(content);
  }
  owner->source = snapshot;
  held->keep_alive = std::move(owner);
  source_ = std::move(snapshot);
  held_ = std::move(held);
  bytes_ = bytes;
  return held_;
}

}  // namespace msa
