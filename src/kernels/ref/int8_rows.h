// The scalar twins of kernels/int8_rows.h.
#pragma once

#include "kernels/int8_rows.h"

namespace msa::ref {

size_t to_int8_rows(ConstAnyMat from, size_t heads, std::byte* to);
void from_int8_rows(const Int8Rows& from, AnyMat to);

}  // namespace msa::ref
