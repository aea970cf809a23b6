// Common English words.
#pragma once

#include <span>
#include <string_view>

namespace msa::words {

// Lower-case words of ASCII letters, in alphabetical order, each once. Common enough to be one
// token each of most vocabularies.
std::span<const std::string_view> common_words();

}  // namespace msa::words
