// Text for people: made safe to print, measured, cut and wrapped.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace msa::cli {

// `text` without anything a terminal would obey: control characters (escape sequences among them)
// and invalid UTF-8 become U+FFFD; line feeds and tabs stay.
std::string printable(std::string_view text);

// The same on one line: line feeds and tabs become spaces as well.
std::string printable_line(std::string_view text);

// Columns that `text` (valid UTF-8, one line) takes on a terminal.
size_t display_width(std::string_view text);

// `text` cut to at most `width` columns, the last of them "…" if something was cut.
std::string fit(std::string_view text, size_t width);

// `text` broken at spaces into lines of at most `width` columns (a longer word has a line of its
// own); line feeds stay breaks. Width 0: only line feeds break.
std::vector<std::string> wrap(std::string_view text, size_t width);

}  // namespace msa::cli
