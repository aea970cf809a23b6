// msa memory index.
#pragma once

#include <CLI/CLI.hpp>

#include "cli/session.h"

namespace msa::cli {

// Adds the command to `msa memory`.
void add_memory_index(CLI::App& memory, Command& chosen);

}  // namespace msa::cli
