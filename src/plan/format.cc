#include "plan/format.h"

#include <fmt/format.h>

namespace msa::plan {

std::string_view name_of(Format format) {
  switch (format) {
    case Format::f32: return "f32";
    case Format::bf16: return "bf16";
    case Format::int8: return "int8";
    case Format::int4: return "int4";
  }
  return "?";
}

Result<Format> parse_format(std::string_view name, std::string_view what) {
  for (const Format format : {Format::f32, Format::bf16, Format::int8, Format::int4})
    if (name == name_of(format)) return format;
  return Error{Code::invalid_argument,
               fmt::format("{}: '{}' is not one of f32, bf16, int8, int4", what, name)};
}

bool is_compressed(Format format) {
  return format == Format::int8 || format == Format::int4;
}

uint64_t row_bytes(Format format, uint64_t heads, uint64_t head_dim) {
  switch (format) {
    case Format::f32: return heads * head_dim * 4;
    case Format::bf16: return heads * head_dim * 2;
    case Format::int8: return heads * (head_dim + kScaleBytes);
    case Format::int4: return heads * (head_dim / 2 + kScaleBytes);
  }
  return 0;
}

uint64_t content_row_bytes(Format format, uint64_t heads, uint64_t head_dim) {
  if (format != Format::int8) return 2 * row_bytes(format, heads, head_dim);
  // Scales of all heads, then their integers, to a multiple of the scales' size.
  const uint64_t bytes = 2 * heads * (kContentScaleBytes + head_dim);
  return (bytes + kContentScaleBytes - 1) / kContentScaleBytes * kContentScaleBytes;
}

bool is_writable(Format keys, Format content) {
  if (content == Format::int8) return true;
  return content != Format::int4 && (keys == content || is_compressed(keys));
}

}  // namespace msa::plan
