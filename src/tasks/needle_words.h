// The words that keys of needles are made of.
#pragma once

#include <span>
#include <string_view>

namespace msa::needle {

// Lower-case words of ASCII letters, each once; no word is in both lists.
std::span<const std::string_view> key_adjectives();
std::span<const std::string_view> key_nouns();

}  // namespace msa::needle
