#include "cli/history_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <system_error>

namespace msa::cli {
namespace fs = std::filesystem;

namespace {

// Longer than anybody types; such a file is something else.
constexpr uintmax_t kMaxBytes = 16 << 20;

bool is_text(const std::string& line) {
  return !line.empty() && std::none_of(line.begin(), line.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
  });
}

// All of `text`, or false with errno.
bool write_all(int fd, const std::string& text) {
  const ssize_t written = ::write(fd, text.data(), text.size());
  if (written >= 0 && static_cast<size_t>(written) < text.size()) errno = ENOSPC;
  return written >= 0 && static_cast<size_t>(written) == text.size();
}

}  // namespace

std::optional<fs::path> history_path() {
  const auto absolute = [](const char* name) -> std::optional<fs::path> {
    const char* value = std::getenv(name);
    if (value == nullptr || value[0] != '/') return std::nullopt;  // as the XDG rules ask
    return fs::path(value);
  };
  if (const auto state = absolute("XDG_STATE_HOME")) return *state / "msa" / "history";
  if (const auto home = absolute("HOME")) return *home / ".local" / "state" / "msa" / "history";
  return std::nullopt;
}

void HistoryFile::fail(const char* what, int error_number) {
  problem_ = fmt::format("{}: cannot be {}: {}", path_.string(), what,
                         std::generic_category().message(error_number));
}

std::vector<std::string> HistoryFile::load() {
  std::error_code error;
  fs::create_directories(path_.parent_path().parent_path(), error);
  if (::mkdir(path_.parent_path().c_str(), 0700) != 0 && errno != EEXIST) {
    fail("made", errno);
    return {};
  }
  const int fd = ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) {
    fail("written", errno);
    return {};
  }
  ::close(fd);
  if (fs::file_size(path_, error) > kMaxBytes || error) {
    fail("read", EFBIG);
    return {};
  }
  std::vector<std::string> lines;
  std::ifstream file(path_);
  for (std::string line; std::getline(file, line);)
    if (is_text(line)) lines.push_back(std::move(line));
  const size_t found = lines.size();
  if (found > kLines) lines.erase(lines.begin(), lines.end() - kLines);
  if (found >= 2 * kLines) {
    std::string text;
    for (const std::string& line : lines) text += line + "\n";
    const std::string shorter = fmt::format("{}.{}", path_.string(), ::getpid());
    const int out = ::open(shorter.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    // A file that cannot be shortened stays long.
    if (out >= 0 && (!write_all(out, text) || ::rename(shorter.c_str(), path_.c_str()) != 0))
      ::unlink(shorter.c_str());
    if (out >= 0) ::close(out);
  }
  return lines;
}

void HistoryFile::append(const std::string& line) {
  if (!problem_.empty() || !is_text(line)) return;
  const int fd = ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || !write_all(fd, line + "\n")) fail("written", errno);
  if (fd >= 0) ::close(fd);
}

}  // namespace msa::cli
