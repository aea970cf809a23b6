#include "base/memory_room.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>

namespace msa {
namespace {

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::optional<uint64_t> leading_number(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == text.npos) return std::nullopt;
  uint64_t value = 0;
  const auto [end, problem] =
      std::from_chars(text.data() + begin, text.data() + text.size(), value);
  if (problem != std::errc() || end == text.data() + begin) return std::nullopt;
  return value;
}

// What follows `name` at the beginning of a line.
std::optional<std::string_view> after(std::string_view text, std::string_view name) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    if (line.starts_with(name)) return line.substr(name.size());
    text.remove_prefix(std::min(text.size(), line.size() + 1));
  }
  return std::nullopt;
}

}  // namespace

std::optional<uint64_t> kilobytes_line(std::string_view text, std::string_view name) {
  const auto rest = after(text, name);
  if (!rest || !rest->starts_with(':')) return std::nullopt;
  const auto kilobytes = leading_number(rest->substr(1));
  if (!kilobytes || *kilobytes > std::numeric_limits<uint64_t>::max() / 1024) return std::nullopt;
  return *kilobytes * 1024;
}

std::optional<uint64_t> room_in_cgroup(std::string_view max, std::string_view current,
                                       std::string_view stat) {
  const auto limit = leading_number(max), used = leading_number(current);
  if (!limit || !used) return std::nullopt;
  const auto files = after(stat, "inactive_file");
  const uint64_t cached = files ? leading_number(*files).value_or(0) : 0;
  const uint64_t kept = *used - std::min(*used, cached);
  return *limit - std::min(*limit, kept);
}

uint64_t available_memory() {
  uint64_t room = kilobytes_line(text_of("/proc/meminfo"), "MemAvailable")
                      .value_or(std::numeric_limits<uint64_t>::max());
  // Version 2 has one line, "0::<path>"; a parent's limit holds for its children.
  const std::string groups = text_of("/proc/self/cgroup");
  if (const auto own = after(groups, "0::/")) {
    const std::filesystem::path root = "/sys/fs/cgroup";
    for (std::filesystem::path group(*own);; group = group.parent_path()) {
      const std::filesystem::path folder = root / group;
      if (const auto left =
              room_in_cgroup(text_of(folder / "memory.max"), text_of(folder / "memory.current"),
                             text_of(folder / "memory.stat")))
        room = std::min(room, *left);
      if (group.empty()) break;
    }
  }
  return room;
}

uint64_t resident_memory() {
  return kilobytes_line(text_of("/proc/self/status"), "VmRSS").value_or(0);
}

std::string memory_text(uint64_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (value >= 1e9) return fmt::format("{:.3g} GB", value / 1e9);
  if (value >= 1e6) return fmt::format("{:.3g} MB", value / 1e6);
  if (value >= 1e3) return fmt::format("{:.3g} kB", value / 1e3);
  return fmt::format("{} B", bytes);
}

}  // namespace msa
