#include "eval/memory_size.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace msa::eval {
namespace {

constexpr uint64_t kMost = uint64_t{1} << 40;
constexpr uint64_t kKilo = 1024, kMega = kKilo * 1024;
constexpr std::string_view kDocuments = "docs";

std::optional<MemorySize> parse_one(std::string_view text) {
  if (text == "own") return MemorySize{};
  MemorySize size{MemorySize::Unit::tokens, 0};
  if (text.ends_with(kDocuments)) {
    size.unit = MemorySize::Unit::documents;
    text.remove_suffix(kDocuments.size());
  }
  uint64_t factor = 1;
  if (!text.empty() && (text.back() == 'K' || text.back() == 'k')) factor = kKilo;
  if (!text.empty() && (text.back() == 'M' || text.back() == 'm')) factor = kMega;
  if (factor > 1) text.remove_suffix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), size.amount);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (size.amount == 0 || size.amount > kMost / factor) return std::nullopt;
  size.amount *= factor;
  return size;
}

}  // namespace

Result<std::vector<MemorySize>> parse_memory_sizes(std::string_view text) {
  std::vector<MemorySize> sizes;
  for (;;) {
    const size_t comma = text.find(',');
    const std::string_view part = text.substr(0, comma);
    const std::optional<MemorySize> size = parse_one(part);
    if (!size)
      return Error{Code::invalid_argument,
                   fmt::format("'{}' is no memory size; write tokens (50000, 16K, 10M), documents "
                               "(2048docs) or own, separated by commas",
                               part)};
    if (std::ranges::find(sizes, *size) == sizes.end()) sizes.push_back(*size);
    if (comma == std::string_view::npos) return sizes;
    text.remove_prefix(comma + 1);
  }
}

std::string to_string(const MemorySize& size) {
  if (size.unit == MemorySize::Unit::own) return "own";
  const uint64_t n = size.amount;
  const std::string number = n % kMega == 0   ? fmt::format("{}M", n / kMega)
                             : n % kKilo == 0 ? fmt::format("{}K", n / kKilo)
                                              : fmt::format("{}", n);
  return size.unit == MemorySize::Unit::documents ? number + "docs" : number;
}

}  // namespace msa::eval
