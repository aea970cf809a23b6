// Reads lines from a person: with editing and history on a terminal, plainly elsewhere.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace msa::cli {

// Where the history of `msa chat` is kept: $XDG_STATE_HOME/msa/history, else
// $HOME/.local/state/msa/history. Nothing if neither variable is an absolute path.
std::optional<std::filesystem::path> history_path();

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

  // `history`: read now and appended to; readable by the user only. Empty: no history on disk.
  explicit LineEditor(std::optional<std::filesystem::path> history);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  bool interactive() const { return interactive_; }
  // What went wrong with the history file, or empty.
  const std::string& history_problem() const { return problem_; }

  Line read(const std::string& prompt);
  // Puts a line into the history.
  void remember(const std::string& line);

 private:
  Line read_plain();

  bool interactive_ = false;
  std::optional<std::filesystem::path> history_;
  std::string problem_, last_;
};

}  // namespace msa::cli
