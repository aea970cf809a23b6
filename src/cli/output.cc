#include "cli/output.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "cli/text_layout.h"

namespace msa::cli {
namespace {

constexpr size_t kBufferBytes = 1 << 16;

}  // namespace

void Output::write(std::string_view text) {
  if (error_ != 0) return;
  if (into_ != nullptr) {
    into_->append(text);
    return;
  }
  buffer_ += text;
  if (buffer_.size() >= kBufferBytes) flush();
}

void Output::flush() {
  std::string_view rest = buffer_;
  while (!rest.empty() && error_ == 0) {
    const ssize_t written = ::write(fd_, rest.data(), rest.size());
    if (written > 0)
      rest.remove_prefix(static_cast<size_t>(written));
    else if (written < 0 && errno != EINTR)
      error_ = errno;
  }
  buffer_.clear();
}

bool Output::reader_gone() const {
  return error_ == EPIPE;
}

Result<void> Output::result() const {
  if (error_ == 0) return {};
  return Error{error_ == ENOSPC ? Code::no_space : Code::io,
               fmt::format("standard output: cannot be written: {}",
                           std::generic_category().message(error_))};
}

std::string styled(const Terminal& terminal, Style style, std::string_view text) {
  if (!terminal.colour || text.empty()) return std::string(text);
  const char* code = "1";
  switch (style) {
    case Style::bold: code = "1"; break;
    case Style::dim: code = "2"; break;
    case Style::red: code = "31"; break;
    case Style::yellow: code = "33"; break;
    case Style::cyan: code = "36"; break;
  }
  return fmt::format("\x1b[{}m{}\x1b[0m", code, text);
}

void Console::line(std::string_view text) {
  print("", Style::bold, text);
}
void Console::note(std::string_view text) {
  print("note: ", Style::cyan, text);
}
void Console::warning(std::string_view text) {
  print("warning: ", Style::yellow, text);
}
void Console::error(std::string_view text) {
  status("");
  print("msa: ", Style::red, text);
}

void Console::print(std::string_view prefix, Style style, std::string_view text) {
  const std::lock_guard lock(mutex_);
  erase();
  out_.write(styled(terminal_, style, prefix) + printable_line(text) + "\n" + status_);
  out_.flush();
}

void Console::status(std::string_view text) {
  if (!terminal_.interactive) return;
  const std::lock_guard lock(mutex_);
  // The last column stays free: a character there makes some terminals begin a new line.
  const std::string next = fit(printable_line(text), terminal_.width() - 1);
  if (next == status_) return;
  erase();
  status_ = next;
  out_.write(status_);
  out_.flush();
}

void Console::erase() {
  if (!status_.empty()) out_.write("\r\x1b[K");
}

}  // namespace msa::cli
