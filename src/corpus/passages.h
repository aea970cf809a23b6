// Splits a long text into passages that an encoder takes whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

namespace msa {

// One passage: bytes [begin, end) of the text, and the same range counted in characters.
struct Passage {
  size_t begin = 0, end = 0;
  uint64_t char_begin = 0, char_end = 0;
};

// Cuts `text` (valid UTF-8) into consecutive passages of at most `limit` units each (at least 1),
// as `count_units` counts them (tokens, in practice): at blank lines where possible, else at line
// ends, else after sentences, else between words, else between characters. A passage takes in as
// many neighbouring pieces as fit; a border that would leave it less than a quarter of what fits is
// passed over for a lesser one. White space between passages belongs to none; a passage is never
// empty or blank. Together the passages hold every non-blank character of the text, once. Only a
// single character that counts for more than `limit` makes a passage of more.
//
// `count_units` is called on pieces not much longer than a passage, a few times per passage.
std::vector<Passage> split_passages(std::string_view text, size_t limit,
                                    const std::function<size_t(std::string_view)>& count_units);

}  // namespace msa
