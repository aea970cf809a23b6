// The parts of `msa memory` that change a bank.
#pragma once

#include <CLI/CLI.hpp>

#include "cli/session.h"

namespace msa::cli {

// Adds `add`, `update`, `remove` and `compact` to the command `memory`.
void add_memory_changes(CLI::App& memory, Command& chosen);

}  // namespace msa::cli
