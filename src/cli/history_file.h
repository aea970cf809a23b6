// The lines a person typed, kept between runs: a text file with one of them per line.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace msa::cli {

// Where the history of `msa chat` is kept: $XDG_STATE_HOME/msa/history, else
// $HOME/.local/state/msa/history. Nothing if neither variable is an absolute path.
std::optional<std::filesystem::path> history_path();

// Readable by the user only. Several programs may append to one file at the same time.
class HistoryFile {
 public:
  static constexpr size_t kLines = 1000;  // how many are kept

  explicit HistoryFile(std::filesystem::path path) : path_(std::move(path)) {}

  // The newest lines, oldest first; makes the file and its folder if there is none, and shortens it
  // when it has grown to twice what is kept.
  std::vector<std::string> load();
  void append(const std::string& line);

  // What went wrong first, or empty. Afterwards nothing is read or written any more.
  const std::string& problem() const { return problem_; }

 private:
  void fail(const char* what, int error_number);

  std::filesystem::path path_;
  std::string problem_;
};

}  // namespace msa::cli
