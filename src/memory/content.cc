#include "memory/content.h"

#include <fmt/format.h>

#include <utility>

#include "kernels/int8_rows.h"

namespace msa {

Result<void> round_content(const SegmentShape& shape, EncodedBatch& batch,
                           const std::filesystem::path& bank,
                           const std::function<std::string(size_t)>& name) {
  if (shape.int8_heads == 0) return {};
  for (size_t l = 0; l < batch.layers.size(); ++l) {
    AlignedBuffer<std::byte>& content = batch.layers[l].content;
    // At most 2^32 chunks, and a width that the manifest bounds: cannot wrap.
    AlignedBuffer<std::byte> rounded(batch.total_chunks * shape.content_row_bytes());
    const ConstAnyMat values(content.data(), batch.dtype, batch.total_chunks, 2 * shape.kv_width);
    const size_t done = to_int8_rows(values, 2 * shape.int8_heads, rounded.data());
    if (done < batch.total_chunks) {
      size_t document = 0, first = 0;
      while (done - first >= batch.chunks[document]) first += batch.chunks[document++];
      return Error{
          Code::invalid_argument,
          fmt::format("{}: {}: layer {}, chunk {}: the pooled key or value is not finite, "
                      "which int8 cannot hold; check the model, or leave the document out",
                      bank.string(), name(document), shape.router_layers[l], done - first)};
    }
    content = std::move(rounded);
  }
  return {};
}

SegmentPiece piece_of(const SegmentShape& shape, const EncodedBatch& batch, size_t layer) {
  const std::byte* const content = batch.layers[layer].content.data();
  SegmentPiece piece;
  piece.keys = batch.keys(layer);
  if (shape.int8_heads > 0)
    piece.content_int8 = {content, batch.total_chunks, 2 * shape.int8_heads,
                          shape.kv_width / shape.int8_heads};
  else
    piece.content = ConstAnyMat(content, shape.dtype, batch.total_chunks, 2 * shape.kv_width);
  return piece;
}

}  // namespace msa
