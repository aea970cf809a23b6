#include <sys/ioctl.h>
#include <unistd.h>

#include <clocale>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/command.h"
#include "trainer/signals.h"

namespace {

int run(int argc, char** argv) {
  msa::trainer::prepare_process();
  std::setlocale(LC_CTYPE, "C.UTF-8");
  const char* const term = std::getenv("TERM");
  const bool terminal =
      ::isatty(STDERR_FILENO) != 0 && term != nullptr && std::string_view(term) != "dumb";
  struct winsize size {};
  const bool known = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20;
  msa::trainer::Console console(terminal, known ? size.ws_col : 100);
  const std::vector<std::string> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
  return static_cast<int>(msa::trainer::run_program(arguments, console));
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (...) {
    constexpr std::string_view kMessage = "msa-train: out of memory\n";
    [[maybe_unused]] const ssize_t written =
        ::write(STDERR_FILENO, kMessage.data(), kMessage.size());
    return static_cast<int>(msa::trainer::ExitCode::internal);
  }
}
