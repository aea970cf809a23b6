#include <langinfo.h>
#include <unistd.h>

#include <clocale>
#include <string>
#include <string_view>
#include <vector>

#include "cli/app.h"
#include "cli/signals.h"

namespace {

int run_program(int argc, char** argv) {
  msa::cli::ensure_standard_descriptors();
  msa::cli::ignore_write_signals();
  // Only how characters are read and measured; numbers stay as they are. Where the environment
  // says nothing (containers), text is UTF-8 all the same.
  std::setlocale(LC_CTYPE, "");
  if (std::string_view(nl_langinfo(CODESET)) != "UTF-8") std::setlocale(LC_CTYPE, "C.UTF-8");

  msa::cli::Output out(STDOUT_FILENO), err(STDERR_FILENO);
  msa::cli::Console console(err, msa::cli::inspect_terminal(STDERR_FILENO));
  const std::vector<std::string> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
  return static_cast<int>(
      msa::cli::run(arguments, out, msa::cli::inspect_terminal(STDOUT_FILENO), console));
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run_program(argc, argv);
  } catch (...) {
    // Not even a message could be put together.
    constexpr std::string_view kMessage = "msa: out of memory\n";
    [[maybe_unused]] const ssize_t written =
        ::write(STDERR_FILENO, kMessage.data(), kMessage.size());
    return static_cast<int>(msa::cli::ExitCode::internal);
  }
}
