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

bool is_writable(Format keys, Format content) {
  return !is_compressed(content) && (keys == content || is_compressed(keys));
}

}  // namespace msa::plan
