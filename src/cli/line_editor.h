// Reads lines from a person: with editing and history on a terminal, plainly elsewhere.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "cli/history_file.h"

namespace msa::cli {

// One at a time in a process, since libedit has one line and one history.
class LineEditor {
 public:
  struct Line {
    enum class Kind {
      text,
      interrupted,  // Ctrl-C: what was typed is dropped
      end,          // Ctrl-D on an empty line, or the end of the input
      terminated,   // SIGTERM
    } kind = Kind::end;
    std::string text;
  };

  // `history`: read now and appended to; not touched where lines are not edited. Empty: none on
  // disk.
  explicit LineEditor(std::optional<std::filesystem::path> history);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  bool interactive() const { return interactive_; }
  // What went wrong with the history file, or empty.
  std::string history_problem() const { return history_ ? history_->problem() : std::string(); }

  Line read(const std::string& prompt);
  // Puts a line into the history.
  void remember(const std::string& line);

 private:
  Line read_plain();

  bool interactive_ = false;
  std::optional<HistoryFile> history_;
  std::string last_;
};

}  // namespace msa::cli
