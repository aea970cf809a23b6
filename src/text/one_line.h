// Texts from files and users, made fit for one line of an error message.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace msa {

// The first `longest` bytes of `text`, or a little less, with "..." behind them if there are more;
// control characters and invalid UTF-8 are replaced.
std::string one_line(std::string_view text, size_t longest = 60);

}  // namespace msa
