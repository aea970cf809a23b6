// The alphabet in which tokenizer.json writes bytes: each of the 256 bytes is one printable
// character, so that any token is readable text ("Ġthe" is " the").
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace msa {

// The bytes that `token` stands for; nothing if one of its characters is not of the alphabet.
std::optional<std::string> bytes_of_alphabet(std::string_view token);

// The reverse.
std::string alphabet_of_bytes(std::string_view bytes);

}  // namespace msa
