#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>

#include "trainer/command.h"

namespace msa::trainer {
namespace {

constexpr std::string_view kClearLine = "\r\x1b[K";

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    text.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

// Cut to `width` characters, at a character.
std::string_view fitting(std::string_view text, size_t width) {
  size_t characters = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0) == 0x80) continue;
    if (characters++ == width) return text.substr(0, i);
  }
  return text;
}

}  // namespace

Console::~Console() {
  if (shown_) write_all(STDERR_FILENO, "\n");
}

void Console::clear() {
  if (shown_) write_all(STDERR_FILENO, kClearLine);
  shown_ = false;
}

void Console::out(std::string_view text) {
  clear();
  if (!out_failed_ && !write_all(STDOUT_FILENO, text)) out_failed_ = true;
}

void Console::line(std::string_view kind, std::string_view text) {
  clear();
  write_all(STDERR_FILENO, fmt::format("{}: {}\n", kind, text));
}

void Console::note(std::string_view text) {
  line("note", text);
}

void Console::warning(std::string_view text) {
  line("warning", text);
}

void Console::error(std::string_view text) {
  line("msa-train", text);
}

void Console::progress(std::string_view text) {
  if (!interactive_) return;
  write_all(STDERR_FILENO,
            fmt::format("{}{}", kClearLine, fitting(text, width_ > 1 ? width_ - 1 : width_)));
  shown_ = true;
}

}  // namespace msa::trainer
