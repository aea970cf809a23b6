#include "memory/held_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <limits>
#include <utility>
#include <vector>

#include "base/checked.h"
#include "base/files.h"

namespace msa {
namespace {

size_t aligned(size_t bytes) {
  constexpr size_t kLine = 64;
  return (bytes + kLine - 1) / kLine * kLine;
}

}  // namespace

std::optional<KeyBytes> key_bytes(uint64_t rows, size_t layers, size_t kv_heads, size_t head_dim,
                                  DType dtype) {
  const auto vectors = checked_mul<uint64_t>(rows, layers);
  const auto width = checked_mul<uint64_t>(kv_heads, head_dim);
  if (!vectors || !width) return std::nullopt;
  const auto scales = checked_mul<uint64_t>(kv_heads, sizeof(bf16));
  const auto full = checked_product<uint64_t>({*vectors, *width, size_of(dtype)});
  if (!scales || !full) return std::nullopt;
  // Padding at most doubles a small head.
  if (*width > std::numeric_limits<uint64_t>::max() / (2 * kHeadPadding)) return std::nullopt;
  const auto with_scales = [&](KeyFormat format) -> std::optional<uint64_t> {
    const auto row = checked_add<uint64_t>(integer_bytes(format, kv_heads, head_dim), *scales);
    return row ? checked_mul<uint64_t>(*vectors, *row) : std::nullopt;
  };
  const auto int8 = with_scales(KeyFormat::int8), int4 = with_scales(KeyFormat::int4);
  if (!int8 || !int4) return std::nullopt;
  return KeyBytes{*full, *int8, *int4};
}

Result<std::optional<KeyFormat>> choose_keys(KeyChoice choice, const KeyBytes& bytes,
                                             const MemoryBudget& budget) {
  using Choice = std::optional<KeyFormat>;
  const auto fits = [&](uint64_t needed) { return needed <= budget.bytes; };
  switch (choice) {
    case KeyChoice::automatic:
      if (fits(bytes.full)) return Choice();
      if (fits(bytes.int8)) return Choice(KeyFormat::int8);
      if (fits(bytes.int4)) return Choice(KeyFormat::int4);
      if (!budget.limited) return Choice();
      break;
    case KeyChoice::full:
      if (!budget.limited || fits(bytes.full)) return Choice();
      break;
    case KeyChoice::int8:
      if (fits(bytes.int8)) return Choice(KeyFormat::int8);
      break;
    case KeyChoice::int4:
      if (fits(bytes.int4)) return Choice(KeyFormat::int4);
      break;
  }
  const uint64_t wanted = choice == KeyChoice::full   ? bytes.full
                          : choice == KeyChoice::int8 ? bytes.int8
                                                      : bytes.int4;
  const std::string_view named = choice == KeyChoice::full   ? "in full"
                                 : choice == KeyChoice::int8 ? "as int8"
                                 : choice == KeyChoice::int4 ? "as int4"
                                                             : "even as int4";
  std::string fitting;
  if (choice == KeyChoice::full && fits(bytes.int8))
    fitting = fmt::format(", or hold them as int8 ({})", memory_text(bytes.int8));
  else if (choice != KeyChoice::automatic && choice != KeyChoice::int4 && fits(bytes.int4))
    fitting = fmt::format(", or hold them as int4 ({})", memory_text(bytes.int4));
  return Error{Code::no_space,
               fmt::format("the routing keys take {} {}, {} of the {} are left for them; allow {} "
                           "more{}",
                           memory_text(wanted), named, memory_text(budget.bytes),
                           budget.limited ? "memory limit" : "memory",
                           memory_text(budget.missing_for(wanted)), fitting)};
}

// All arrays lie in one piece of the backend's memory, layer after layer.
struct HeldKeys::SegmentKeys {
  std::unique_ptr<DeviceBuffer> memory;
  std::vector<float> norms;  // [layers, 2, G]
  std::vector<CompressedKeys> layers;
};

std::shared_ptr<const HeldKeys::SegmentKeys> HeldKeys::compress(const SegmentView& segment,
                                                                KeyFormat format) {
  const size_t G = kv_heads_, rows = segment.layers.front().keys.rows;
  const size_t row_bytes = integer_bytes(format, G, head_dim_);
  const size_t integers_size = aligned(padded_rows(rows) * row_bytes);
  const size_t layer_size = integers_size + aligned(padded_rows(rows) * G * sizeof(bf16));
  auto held = std::make_shared<SegmentKeys>();
  held->memory = backend_.allocate(segment.layers.size() * layer_size);
  held->norms.assign(segment.layers.size() * 2 * G, 0);
  std::vector<float> norms(2 * G);
  for (size_t l = 0; l < segment.layers.size(); ++l) {
    const ConstAnyMat& keys = segment.layers[l].keys;
    assert(keys.rows == rows && keys.cols == G * head_dim_ && keys.dense());
    std::byte* at = held->memory->data() + l * layer_size;
    float* of_layer = held->norms.data() + l * 2 * G;
    MutableCompressedKeys all{format,
                              keys.dtype,
                              rows,
                              G,
                              head_dim_,
                              reinterpret_cast<uint8_t*>(at),
                              reinterpret_cast<bf16*>(at + integers_size),
                              of_layer,
                              of_layer + G};
    held->layers.push_back(all);
    // Pieces that end where pages and panels do, so that each can be given back when it was read.
    constexpr size_t kPage = 4096, kPieceBytes = 8u << 20;
    static_assert(kPage % kPanelRows == 0);
    const size_t bytes_each = keys.cols * size_of(keys.dtype);
    const size_t piece = std::max<size_t>(kPieceBytes / bytes_each / kPage, 1) * kPage;
    for (size_t first = 0; first < rows; first += piece) {
      const size_t count = std::min(piece, rows - first);
      MutableCompressedKeys part = all;
      part.rows = count;
      part.integers += first * row_bytes;
      part.scales += first * G;
      part.error_norms = norms.data();
      part.integer_norms = norms.data() + G;
      const ConstAnyMat from = keys.slice_rows(first, count);
      backend_.compress_keys(from, part);
      for (size_t i = 0; i < 2 * G; ++i) of_layer[i] = std::max(of_layer[i], norms[i]);
      if (segment.file)
        segment.file->drop(static_cast<size_t>(from.data - segment.file->bytes().data()),
                           count * bytes_each);
    }
  }
  return held;
}

Result<std::shared_ptr<const Snapshot>> HeldKeys::hold(std::shared_ptr<const Snapshot> snapshot) {
  if (snapshot == source_) return held_;
  uint64_t rows = 0;
  for (const SegmentView& segment : snapshot->segments) {
    for (const SegmentLayer& layer : segment.layers)
      if (layer.keys.cols != kv_heads_ * head_dim_)
        return Error{Code::mismatch,
                     fmt::format("the memory's routing keys have {} values, {} heads of {} were "
                                 "expected; use the model that the bank was made with",
                                 layer.keys.cols, kv_heads_, head_dim_)};
    if (!segment.layers.empty()) rows += segment.layers.front().keys.rows;
  }
  const DType dtype = snapshot->segments.empty() || snapshot->segments.front().layers.empty()
                          ? DType::bf16
                          : snapshot->segments.front().layers.front().keys.dtype;
  const auto bytes = key_bytes(rows, snapshot->router_layers.size(), kv_heads_, head_dim_, dtype);
  if (!bytes)
    return Error{Code::corrupt,
                 fmt::format("the memory: {} chunks cannot be; verify the bank", rows)};
  MSA_ASSIGN(const std::optional<KeyFormat> format, choose_keys(choice_, *bytes, budget_));

  // What this snapshot has no use for goes first: there may be no room for both.
  source_.reset();
  held_.reset();
  std::map<int64_t, std::shared_ptr<const SegmentKeys>> kept;
  if (format == format_)
    for (const SegmentView& segment : snapshot->segments)
      if (const auto known = segments_.find(segment.id); known != segments_.end())
        kept.insert(*known);
  segments_ = std::move(kept);
  format_ = format;
  bytes_ = !format ? bytes->full : *format == KeyFormat::int8 ? bytes->int8 : bytes->int4;
  if (!format) {
    held_ = source_ = std::move(snapshot);
    return held_;
  }
  struct Owner {
    std::shared_ptr<const Snapshot> source;
    std::vector<std::shared_ptr<const SegmentKeys>> segments;
  };
  auto owner = std::make_shared<Owner>();
  auto held = std::make_shared<Snapshot>(*snapshot);
  for (SegmentView& segment : held->segments) {
    if (segment.layers.empty()) continue;
    std::shared_ptr<const SegmentKeys>& keys = segments_[segment.id];
    if (!keys) keys = compress(segment, *format);
    for (size_t l = 0; l < segment.layers.size(); ++l)
      segment.layers[l].compressed = keys->layers[l];
    owner->segments.push_back(keys);
  }
  owner->source = snapshot;
  held->keep_alive = std::move(owner);
  source_ = std::move(snapshot);
  held_ = std::move(held);
  return held_;
}

}  // namespace msa
