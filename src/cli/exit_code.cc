#include "cli/exit_code.h"

namespace msa::cli {

ExitCode exit_code(Code code) {
  switch (code) {
    case Code::invalid_argument: return ExitCode::usage;
    case Code::not_found: return ExitCode::not_found;
    case Code::corrupt:
    case Code::mismatch:
    case Code::unsupported: return ExitCode::bad_data;
    case Code::io:
    case Code::no_space:
    case Code::permission: return ExitCode::system;
    case Code::busy: return ExitCode::busy;
    case Code::cancelled: return ExitCode::interrupted;
    case Code::internal: break;
  }
  return ExitCode::internal;
}

const char* exit_code_help() {
  return "Exit codes:\n"
         "  0    done\n"
         "  1    internal failure\n"
         "  2    wrong usage or an argument that makes no sense\n"
         "  3    a file, folder or document was not found\n"
         "  4    a file is corrupt, does not fit another one, or is not supported\n"
         "  5    reading or writing failed (disk full, no permission)\n"
         "  6    the bank is in use by another process\n"
         "  7    documents or questions of the input were bad (see 'msa encode --help')\n"
         "  130  stopped by Ctrl-C or SIGTERM; what was done is kept\n";
}

}  // namespace msa::cli
