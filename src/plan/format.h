// In which formats a memory's vectors can be held.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "msa/result.h"

namespace msa::plan {

// Of routing keys all; of pooled keys and values all but int4.
enum class Format { f32, bf16, int8, int4 };

// What each head of a row adds to its integers: a scale in bf16.
inline constexpr uint64_t kScaleBytes = 2;

std::string_view name_of(Format format);
Result<Format> parse_format(std::string_view name, std::string_view what);

// Integers stand for values that some other copy holds in full.
bool is_compressed(Format format);

// Bytes of a row of `heads` heads of `head_dim` (even) values.
uint64_t row_bytes(Format format, uint64_t heads, uint64_t head_dim);

// Whether this build can hold routing keys and pooled keys and values in these formats. A segment's
// arrays are all float32 or all bfloat16 (docs/memory-bank.md); keys as integers are made of them
// when the bank is opened.
bool is_writable(Format keys, Format content);

}  // namespace msa::plan
