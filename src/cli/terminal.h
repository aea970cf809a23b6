// What can be shown where the program's output goes.
#pragma once

#include <cstddef>

namespace msa::cli {

struct Terminal {
  int fd = -1;               // asked for its width whenever that is needed; -1: use fixed_width
  bool interactive = false;  // a terminal on which a line can be redrawn
  bool colour = false;
  bool unicode = false;  // the locale prints UTF-8
  size_t fixed_width = 80;

  size_t width() const;  // columns, at least 20
};

// Looks at descriptor `fd` and at TERM, NO_COLOR (any value but the empty one: no colours) and
// COLUMNS.
Terminal inspect_terminal(int fd);

}  // namespace msa::cli
