#include "cli/terminal.h"

#include <langinfo.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>

namespace msa::cli {
namespace {

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

}  // namespace

size_t Terminal::width() const {
  size_t columns = fixed_width;
  winsize size{};
  if (fd >= 0 && ::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) columns = size.ws_col;
  return std::max<size_t>(columns, 20);
}

Terminal inspect_terminal(int fd) {
  Terminal terminal;
  const std::string_view type = environment("TERM");
  terminal.fd = fd;
  terminal.interactive = ::isatty(fd) == 1 && !type.empty() && type != "dumb";
  terminal.colour = terminal.interactive && environment("NO_COLOR").empty();
  terminal.unicode = std::string_view(::nl_langinfo(CODESET)) == "UTF-8";
  const int columns = std::atoi(std::string(environment("COLUMNS")).c_str());
  if (columns > 0 && columns < 10'000) terminal.fixed_width = static_cast<size_t>(columns);
  return terminal;
}

}  // namespace msa::cli
