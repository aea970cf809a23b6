// What the program tells its caller when it ends. The table is part of the interface (docs/cli.md).
#pragma once

#include "msa/result.h"

namespace msa::cli {

enum class ExitCode : int {
  ok = 0,
  internal = 1,        // a bug, or a library underneath that failed
  usage = 2,           // an option, a question or a command that makes no sense
  not_found = 3,       // a file, folder or document that is not there
  bad_data = 4,        // corrupt, mismatched or unsupported model, bank or input file
  system = 5,          // reading or writing failed: disk full, no permission, input/output error
  busy = 6,            // another process writes to the bank
  rejected_input = 7,  // the program worked, but documents or questions of its input were bad
  interrupted = 130,   // stopped by Ctrl-C or SIGTERM; what was done is kept
};

ExitCode exit_code(Code code);

// The table of exit codes as `msa --help` prints it.
const char* exit_code_help();

}  // namespace msa::cli
