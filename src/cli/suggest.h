// "did you mean": the known name that was probably meant.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace msa::cli {

// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
size_t edit_distance(std::string_view a, std::string_view b);

// The candidate nearest to `word`, or nothing if none is near enough to be meant. Equally near: the
// first.
std::string suggest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace msa::cli
