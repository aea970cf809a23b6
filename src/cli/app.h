// The command line as a whole: parse, run, report.
#pragma once

#include <string>
#include <vector>

#include "cli/session.h"

namespace msa::cli {

// Runs one command line (`arguments` without the program's name). Results go to `out`, everything
// else to `console`. Never throws.
ExitCode run(const std::vector<std::string>& arguments, Output& out, const Terminal& terminal,
             Console& console);

}  // namespace msa::cli
