#include "tasks/factbook_settings.h"

#include <fmt/format.h>

#include <charconv>

namespace msa::factbook {
namespace {

// The whole of `text` as a number; false if it is none.
template <class T>
bool parse(std::string_view text, T& number) {
  const char* const end = text.data() + text.size();
  const auto [stop, failure] = std::from_chars(text.data(), end, number);
  return failure == std::errc() && stop == end;
}

}  // namespace

Error bad_setting(std::string_view task, std::string_view name, std::string_view value,
                  std::string_view expected) {
  return Error{
      Code::invalid_argument,
      fmt::format("setting '{}' of task {}: '{}' is not {}; give such a value or leave it out",
                  name, task, value, expected)};
}

Result<void> read_count(std::string_view task, std::string_view name, std::string_view value,
                        size_t min, size_t max, size_t& out) {
  size_t number = 0;
  if (!parse(value, number) || number < min || number > max)
    return bad_setting(task, name, value, fmt::format("a number from {} to {}", min, max));
  out = number;
  return {};
}

Result<void> read_share(std::string_view task, std::string_view name, std::string_view value,
                        double& out) {
  double number = 0;
  if (!parse(value, number) || !(number >= 0 && number <= 1))
    return bad_setting(task, name, value, "a share from 0 to 1");
  out = number;
  return {};
}

Result<void> read_hops(std::string_view task, std::string_view name, std::string_view value,
                       Hops& out) {
  if (value == "1") {
    out = Hops::one;
  } else if (value == "2") {
    out = Hops::two;
  } else if (value == "mixed") {
    out = Hops::mixed;
  } else {
    return bad_setting(task, name, value, "1, 2 or mixed");
  }
  return {};
}

}  // namespace msa::factbook
