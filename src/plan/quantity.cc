#include "plan/quantity.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <optional>
#include <span>
#include <string>

#include "base/checked.h"

namespace msa::plan {
namespace {

constexpr size_t kMostFractionDigits = 6;

struct Unit {
  std::string_view name;  // in capitals
  uint64_t factor;
};

constexpr uint64_t kKilo = 1000, kMega = kKilo * 1000, kGiga = kMega * 1000, kTera = kGiga * 1000;
constexpr uint64_t kKibi = 1024, kMebi = kKibi * 1024, kGibi = kMebi * 1024, kTebi = kGibi * 1024;

constexpr Unit kCounts[] = {{"", 1},      {"K", kKilo}, {"M", kMega},
                            {"G", kGiga}, {"B", kGiga}, {"T", kTera}};
constexpr Unit kBytes[] = {{"", 1},        {"B", 1},       {"K", kKibi},   {"M", kMebi},
                           {"G", kGibi},   {"T", kTebi},   {"KIB", kKibi}, {"MIB", kMebi},
                           {"GIB", kGibi}, {"TIB", kTebi}, {"KB", kKilo},  {"MB", kMega},
                           {"GB", kGiga},  {"TB", kTera}};
constexpr Unit kBandwidths[] = {{"", 1},        {"B", 1},       {"K", kKilo},   {"M", kMega},
                                {"G", kGiga},   {"T", kTera},   {"KIB", kKibi}, {"MIB", kMebi},
                                {"GIB", kGibi}, {"TIB", kTebi}, {"KB", kKilo},  {"MB", kMega},
                                {"GB", kGiga},  {"TB", kTera}};

constexpr std::string_view kCountForms = "write for example 250000, 100M or 1.5G";
constexpr std::string_view kByteForms = "write for example 64GiB, 24G or 80GB";
constexpr std::string_view kBandwidthForms = "write for example 900GB/s, 40G or 2T";
constexpr std::string_view kRateForms = "write for example 2000, 12.5K or 100T";

// value = (whole * 10^digits + fraction) / 10^digits * factor
struct Quantity {
  uint64_t whole = 0, fraction = 0, scale = 1, factor = 1;  // scale: 10^(digits of the fraction)
};

Error wrong(std::string_view text, std::string_view what, std::string_view why,
            std::string_view forms) {
  return Error{Code::invalid_argument, fmt::format("{}: '{}' {}; {}", what, text, why, forms)};
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// Takes digits off the front of `text`; nothing if they are more than 64 bits hold.
std::optional<uint64_t> take_digits(std::string_view& text) {
  uint64_t value = 0;
  for (; !text.empty() && is_digit(text.front()); text.remove_prefix(1)) {
    const auto tenfold = checked_mul<uint64_t>(value, 10);
    const auto next =
        tenfold ? checked_add<uint64_t>(*tenfold, static_cast<uint64_t>(text.front() - '0'))
                : std::nullopt;
    if (!next) return std::nullopt;
    value = *next;
  }
  return value;
}

Result<Quantity> parse(std::string_view text, std::string_view what, std::span<const Unit> units,
                       std::string_view forms) {
  Quantity quantity;
  std::string_view rest = text;
  if (rest.empty() || !is_digit(rest.front()))
    return wrong(text, what, "does not begin with a digit", forms);
  const auto whole = take_digits(rest);
  if (!whole) return wrong(text, what, "is too large", forms);
  quantity.whole = *whole;
  if (!rest.empty() && rest.front() == '.') {
    rest.remove_prefix(1);
    const size_t before = rest.size();
    const auto fraction = take_digits(rest);
    const size_t digits = before - rest.size();
    if (digits == 0) return wrong(text, what, "has no digit after its point", forms);
    if (!fraction || digits > kMostFractionDigits)
      return wrong(text, what,
                   fmt::format("has more than {} digits after its point", kMostFractionDigits),
                   forms);
    quantity.fraction = *fraction;
    for (size_t i = 0; i < digits; ++i) quantity.scale *= 10;
  }
  std::string name(rest);
  std::ranges::transform(name, name.begin(),
                         [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  const auto* const unit =
      std::find_if(units.data(), units.data() + units.size(),
                   [&](const Unit& candidate) { return candidate.name == name; });
  if (unit == units.data() + units.size())
    return wrong(text, what, fmt::format("ends in '{}', which is no unit here", rest), forms);
  quantity.factor = unit->factor;
  if (quantity.whole == 0 && quantity.fraction == 0) return wrong(text, what, "is zero", forms);
  return quantity;
}

// The value, rounded down; nothing if it does not fit. `exact` says whether nothing was dropped.
std::optional<uint64_t> value_of(const Quantity& q, bool& exact) {
  const auto whole = checked_mul(q.whole, q.factor);
  const auto part = checked_mul(q.fraction, q.factor);
  if (!whole || !part) return std::nullopt;
  exact = *part % q.scale == 0;
  return checked_add(*whole, *part / q.scale);
}

double real_value_of(const Quantity& q) {
  return (static_cast<double>(q.whole) +
          static_cast<double>(q.fraction) / static_cast<double>(q.scale)) *
         static_cast<double>(q.factor);
}

}  // namespace

Result<uint64_t> parse_count(std::string_view text, std::string_view what) {
  MSA_ASSIGN(const Quantity quantity, parse(text, what, kCounts, kCountForms));
  bool exact = false;
  const auto value = value_of(quantity, exact);
  if (!value) return wrong(text, what, "is too large", kCountForms);
  if (!exact) return wrong(text, what, "is not a whole number", kCountForms);
  return *value;
}

Result<uint64_t> parse_bytes(std::string_view text, std::string_view what) {
  MSA_ASSIGN(const Quantity quantity, parse(text, what, kBytes, kByteForms));
  bool exact = false;
  const auto value = value_of(quantity, exact);
  if (!value) return wrong(text, what, "is too large", kByteForms);
  if (*value == 0) return wrong(text, what, "is less than one byte", kByteForms);
  return *value;
}

Result<double> parse_bandwidth(std::string_view text, std::string_view what) {
  std::string_view number = text;
  if (number.ends_with("/s")) number.remove_suffix(2);
  Result<Quantity> quantity = parse(number, what, kBandwidths, kBandwidthForms);
  if (!quantity) return std::move(quantity).error();
  return real_value_of(*quantity);
}

Result<double> parse_rate(std::string_view text, std::string_view what) {
  MSA_ASSIGN(const Quantity quantity, parse(text, what, kCounts, kRateForms));
  return real_value_of(quantity);
}

}  // namespace msa::plan
