#include "base/cpu_quota.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <climits>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

namespace msa {
namespace {

constexpr std::string_view kBlank = " \t\n";

// Takes the first word off `text`.
std::string_view take_word(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(kBlank), text.size()));
  const size_t length = std::min(text.find_first_of(kBlank), text.size());
  const std::string_view word = text.substr(0, length);
  text.remove_prefix(length);
  return word;
}

std::optional<int64_t> positive_number(std::string_view word) {
  int64_t value = 0;
  const char* end = word.data() + word.size();
  const auto [stop, error] = std::from_chars(word.data(), end, value);
  if (error != std::errc{} || stop != end || value <= 0) return std::nullopt;
  return value;
}

// The first line, or nothing: these are files of the kernel, of one short line each.
std::string first_line(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

void tighten(std::optional<int>& limit, std::optional<int> other) {
  if (other) limit = limit ? std::min(*limit, *other) : *other;
}

}  // namespace

std::optional<int> cores_of_cpu_max(std::string_view cpu_max) {
  const std::optional<int64_t> quota = positive_number(take_word(cpu_max));
  const std::optional<int64_t> period = positive_number(take_word(cpu_max));
  if (!quota || !period) return std::nullopt;
  const int64_t cores = *quota / *period + (*quota % *period != 0);
  return static_cast<int>(std::clamp<int64_t>(cores, 1, INT_MAX));
}

std::optional<int> cgroup_cores() {
  std::optional<int> limit;
  std::ifstream groups("/proc/self/cgroup");  // lines of "<id>:<controllers>:<path>"
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = fmt::format(",{},", line.substr(first + 1, second - first - 1));
    const bool version_2 = controllers == ",,";
    if (!version_2 && controllers.find(",cpu,") == std::string::npos) continue;

    const std::filesystem::path root = version_2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu";
    std::filesystem::path group = std::filesystem::path(line.substr(second + 1)).relative_path();
    for (;; group = group.parent_path()) {  // a parent's limit holds for its children
      if (version_2)
        tighten(limit, cores_of_cpu_max(first_line(root / group / "cpu.max")));
      else
        tighten(limit,
                cores_of_cpu_max(fmt::format("{} {}", first_line(root / group / "cpu.cfs_quota_us"),
                                             first_line(root / group / "cpu.cfs_period_us"))));
      if (group.empty()) break;
    }
  }
  return limit;
}

}  // namespace msa
