// Unicode normalization form C.
#pragma once

#include <string>
#include <string_view>

namespace msa {

// Whether a character is in form C, never combines with what stands before it and has combining
// class 0, so that a text of such characters is in form C and can be cut before each of them.
// False for some that are: it knows the scripts and symbols that make up most text.
bool is_nfc_inert(char32_t character);

// Valid UTF-8 in form C: `text` itself where it is known to be, else `storage`. Linear in the
// length but for sorting runs of combining marks, which is n log n.
std::string_view to_nfc(std::string_view text, std::string& storage);

}  // namespace msa
