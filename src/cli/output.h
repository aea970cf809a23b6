// Standard output, which carries results, and standard error, which carries everything else.
#pragma once

#include <mutex>
#include <string>
#include <string_view>

#include "cli/terminal.h"
#include "msa/result.h"

namespace msa::cli {

// A buffered byte stream that notices when nobody reads it any more. One thread at a time.
class Output {
 public:
  explicit Output(int fd) : fd_(fd) {}
  explicit Output(std::string& into) : into_(&into) {}  // collects; for tests
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  void write(std::string_view text);
  void flush();

  // False once a write failed; later writes do nothing. Commands that only print stop then.
  bool ok() const { return error_ == 0; }
  bool reader_gone() const;  // the failure was a closed pipe, as `head` leaves one
  Result<void> result() const;

 private:
  int fd_ = -1;
  std::string* into_ = nullptr;
  std::string buffer_;
  int error_ = 0;  // errno of the first failed write
};

// Colours a piece of text. Plain text where the terminal has no colours.
enum class Style { bold, dim, red, yellow, cyan };
std::string styled(const Terminal& terminal, Style style, std::string_view text);

// Standard error: whole lines, and below them, on a terminal, one status line that is redrawn in
// place. Thread-safe.
class Console {
 public:
  Console(Output& out, Terminal terminal) : out_(out), terminal_(terminal) {}

  const Terminal& terminal() const { return terminal_; }

  void line(std::string_view text);
  void note(std::string_view text);     // "note: …"
  void warning(std::string_view text);  // "warning: …"
  void error(std::string_view text);    // "msa: …", always one line

  // Shows `text` as the status line, cut to the terminal's width; empty: takes it away. Does
  // nothing where there is no terminal.
  void status(std::string_view text);

 private:
  void print(std::string_view prefix, Style style, std::string_view text);
  void erase();

  std::mutex mutex_;
  Output& out_;
  Terminal terminal_;
  std::string status_;
};

}  // namespace msa::cli
