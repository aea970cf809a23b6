// The parts of `msa memory` that bring banks together and carry them elsewhere.
#pragma once

#include <CLI/CLI.hpp>

#include "cli/session.h"

namespace msa::cli {

// Adds `attach`, `export` and `import` to the command `memory`.
void add_memory_transfers(CLI::App& memory, Command& chosen);

}  // namespace msa::cli
