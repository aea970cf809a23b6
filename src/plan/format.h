// In which formats a memory's vectors can be held.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "msa/result.h"

namespace msa::plan {

// Of routing keys all; of pooled keys and values all but int4.
enum class Format { f32, bf16, int8, int4 };

// What each head of a routing key adds to its integers: a scale in bf16. Of pooled keys and values,
// which a bank holds so, it is a scale in float32.
inline constexpr uint64_t kScaleBytes = 2, kContentScaleBytes = 4;

std::string_view name_of(Format format);
Result<Format> parse_format(std::string_view name, std::string_view what);

// Integers stand for values that some other copy holds in full.
bool is_compressed(Format format);

// Bytes of a routing key of `heads` heads of `head_dim` (even) values.
uint64_t row_bytes(Format format, uint64_t heads, uint64_t head_dim);

// Bytes of a pooled key and a pooled value together; not int4.
uint64_t content_row_bytes(Format format, uint64_t heads, uint64_t head_dim);

// Whether this build can hold routing keys and pooled keys and values in these formats. A bank has
// both in float32 or both in bfloat16, or the content as int8 (docs/memory-bank.md); keys as
// integers are made of its keys when it is opened.
bool is_writable(Format keys, Format content);

}  // namespace msa::plan
