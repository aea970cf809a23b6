#include "cli/format.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

namespace msa::cli {

std::string format_count(uint64_t count) {
  std::string digits = std::to_string(count);
  for (size_t i = digits.size(); i > 3; i -= 3) digits.insert(i - 3, 1, ',');
  return digits;
}

namespace {

// In the largest of `units`, each `base` times the one before, that leaves at least one of it.
std::string in_units(uint64_t bytes, double base, const std::array<const char*, 5>& units) {
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  // 1023.95 would be printed as 1024.0.
  while (value >= base - 0.05 && unit + 1 < units.size()) value /= base, ++unit;
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, units[unit]);
}

}  // namespace

std::string format_bytes(uint64_t bytes) {
  return in_units(bytes, 1024, {"B", "KiB", "MiB", "GiB", "TiB"});
}

std::string format_decimal_bytes(uint64_t bytes) {
  return in_units(bytes, 1000, {"B", "kB", "MB", "GB", "TB"});
}

std::string format_rate(double per_second) {
  if (!std::isfinite(per_second) || per_second < 0) return "?";
  if (per_second < 100) return fmt::format("{:.1f}", per_second);
  return per_second < 1e15 ? format_count(static_cast<uint64_t>(std::llround(per_second)))
                           : fmt::format("{:.3g}", per_second);
}

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e9) return "?";
  if (seconds < 10) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<uint64_t>(std::llround(seconds));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string format_number(double value) {
  if (!std::isfinite(value)) return "?";
  const double size = std::fabs(value);
  if (size >= 1000 && size < 1e15)
    return fmt::format("{}{}", value < 0 ? "-" : "",
                       format_count(static_cast<uint64_t>(std::llround(size))));
  return fmt::format("{:.3g}", value);
}

std::string counted(uint64_t count, const char* one, const char* many) {
  return fmt::format("{} {}", format_count(count), count == 1 ? one : many);
}

}  // namespace msa::cli
