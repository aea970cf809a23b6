#include "cli/line_editor.h"

#include <editline/readline.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cwchar>
#include <memory>

namespace msa::cli {
namespace {

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGWINCH, SIGCONT};

// libedit has callbacks without arguments, so what they need lives here while a line is read.
std::atomic<int> g_wake{-1};  // write end of the pipe that signals arrive through
int g_wake_read = -1;
int g_ended_by = 0;  // the signal that ended the line

void on_signal(int number) {
  const int saved = errno;
  const auto byte = static_cast<unsigned char>(number);
  [[maybe_unused]] const ssize_t written = ::write(g_wake.load(), &byte, 1);
  errno = saved;
}

// A signal that came while waiting for a key; true if it ends the line.
bool handle_signal() {
  unsigned char number = 0;
  if (::read(g_wake_read, &number, 1) != 1) return false;
  switch (number) {
    case SIGWINCH: rl_resize_terminal(); return false;
    case SIGCONT:  // back from Ctrl-Z: the shell has changed the terminal's mode
      rl_prep_terminal(0);
      rl_forced_update_display();
      return false;
    default: g_ended_by = number; return true;
  }
}

// The next character of standard input; -1: end, or a signal that ends the line.
int next_character(FILE*) {
  std::mbstate_t state{};
  while (true) {
    pollfd fds[] = {{STDIN_FILENO, POLLIN, 0}, {g_wake_read, POLLIN, 0}};
    if (::poll(fds, 2, -1) < 0 && errno != EINTR) return -1;
    if (fds[1].revents != 0) {
      if (handle_signal()) return -1;
      continue;
    }
    if (fds[0].revents == 0) continue;
    char byte = 0;
    const ssize_t got = ::read(STDIN_FILENO, &byte, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return -1;
    wchar_t character = 0;
    switch (std::mbrtowc(&character, &byte, 1, &state)) {
      case static_cast<size_t>(-2): continue;  // more bytes of this character follow
      case static_cast<size_t>(-1): state = {}; continue;
      default: return static_cast<int>(character);
    }
  }
}

// Signals go to next_character() while one of these lives.
class SignalsToEditor {
 public:
  SignalsToEditor() {
    if (::pipe2(ends_, O_CLOEXEC) != 0) return;
    g_wake_read = ends_[0];
    g_wake = ends_[1];
    struct sigaction action {};
    action.sa_handler = on_signal;
    ::sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < std::size(kSignals); ++i) ::sigaction(kSignals[i], &action, &old_[i]);
  }
  ~SignalsToEditor() {
    if (ends_[0] < 0) return;
    for (size_t i = 0; i < std::size(kSignals); ++i) ::sigaction(kSignals[i], &old_[i], nullptr);
    g_wake = -1;
    g_wake_read = -1;
    ::close(ends_[0]);
    ::close(ends_[1]);
  }
  SignalsToEditor(const SignalsToEditor&) = delete;
  SignalsToEditor& operator=(const SignalsToEditor&) = delete;

 private:
  int ends_[2] = {-1, -1};
  struct sigaction old_[std::size(kSignals)] = {};
};

}  // namespace

LineEditor::LineEditor(std::optional<std::filesystem::path> history) {
  const bool screen = ::isatty(STDOUT_FILENO) == 1 || ::isatty(STDERR_FILENO) == 1;
  interactive_ = ::isatty(STDIN_FILENO) == 1 && screen;
  if (!interactive_) return;
  rl_readline_name = "msa";
  rl_catch_signals = 0;
  rl_getc_function = next_character;
  rl_outstream = ::isatty(STDOUT_FILENO) == 1 ? stdout : stderr;
  rl_initialize();
  using_history();
  stifle_history(static_cast<int>(HistoryFile::kLines));
  if (!history) return;
  history_.emplace(std::move(*history));
  for (const std::string& line : history_->load()) add_history(line.c_str());
}

LineEditor::~LineEditor() {
  if (interactive_) clear_history();
}

LineEditor::Line LineEditor::read(const std::string& prompt) {
  if (!interactive_) return read_plain();
  g_ended_by = 0;
  const SignalsToEditor signals;
  std::fflush(rl_outstream);
  // libedit would do so after the prompt; a Ctrl-D typed between the two would be lost.
  rl_prep_terminal(0);
  const std::unique_ptr<char, decltype(&std::free)> line(readline(prompt.c_str()), &std::free);
  if (g_ended_by != 0) {
    std::fputs(g_ended_by == SIGINT ? "^C\n" : "\n", rl_outstream);
    std::fflush(rl_outstream);
    return {g_ended_by == SIGINT ? Line::Kind::interrupted : Line::Kind::terminated, {}};
  }
  if (line) return {Line::Kind::text, line.get()};
  std::fputs("\n", rl_outstream);
  std::fflush(rl_outstream);
  return {Line::Kind::end, {}};
}

LineEditor::Line LineEditor::read_plain() {
  char* text = nullptr;
  size_t capacity = 0;
  const ssize_t length = ::getline(&text, &capacity, stdin);
  const std::unique_ptr<char, decltype(&std::free)> owner(text, &std::free);
  if (length < 0) return {Line::Kind::end, {}};
  std::string line(text, static_cast<size_t>(length));
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.pop_back();
  return {Line::Kind::text, std::move(line)};
}

void LineEditor::remember(const std::string& line) {
  if (!interactive_ || line == last_) return;
  last_ = line;
  add_history(line.c_str());
  if (history_) history_->append(line);
}

}  // namespace msa::cli
