#include "train/loop/json_section.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

namespace msa::train {
namespace {

constexpr size_t kMaxDepth = 32;
constexpr size_t kShown = 60;  // characters of a wrong value

std::string shown(const Json& value) {
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > kShown) text = text.substr(0, kShown) + "…";
  return text;
}

// Without the quotes.
std::string shown_key(const std::string& key) {
  const std::string text = shown(Json(key));
  return text.ends_with('"') ? text.substr(1, text.size() - 2) : text.substr(1);
}

const Json& empty_object() {
  static const Json object = Json::object();
  return object;
}

std::string joined(const std::string& path, std::string_view key) {
  return path.empty() ? std::string(key) : fmt::format("{}.{}", path, key);
}

// Keeps the parser from silently taking the last of two equal keys, and from deep recursion.
class KeyWatch {
 public:
  bool operator()(int depth, Json::parse_event_t event, Json& value) {
    if (static_cast<size_t>(depth) > kMaxDepth) problem_ = "is nested too deeply";
    if (event == Json::parse_event_t::object_start) keys_.emplace_back();
    if (event == Json::parse_event_t::object_end) keys_.pop_back();
    if (event == Json::parse_event_t::key &&
        !keys_.back().insert(value.get_ref<const std::string&>()).second && problem_.empty())
      problem_ = fmt::format("names the key {} twice in one object", shown(value));
    return true;
  }
  const std::string& problem() const { return problem_; }

 private:
  std::vector<std::set<std::string>> keys_;
  std::string problem_;
};

}  // namespace

Result<Json> parse_strict_json(std::string_view text, const std::filesystem::path& file) {
  KeyWatch watch;
  try {
    Json value = Json::parse(text.begin(), text.end(), std::ref(watch));
    if (!watch.problem().empty())
      return Error{Code::corrupt,
                   fmt::format("{}: {}; correct it", file.string(), watch.problem())};
    return value;
  } catch (const Json::parse_error& error) {
    const size_t end = std::min(error.byte > 0 ? error.byte - 1 : 0, text.size());
    const std::string_view before = text.substr(0, end);
    const auto line = 1 + std::count(before.begin(), before.end(), '\n');
    const size_t start = before.rfind('\n');
    return Error{Code::corrupt,
                 fmt::format("{}:{}:{}: is not JSON from there on; correct it", file.string(), line,
                             end - (start == before.npos ? 0 : start + 1) + 1)};
  } catch (const Json::exception& error) {
    return Error{Code::corrupt,
                 fmt::format("{}: cannot be read as JSON; correct it", file.string())};
  }
}

const Json* JsonSection::find(std::string_view key) const {
  for (const Json* object : {object_, defaults_}) {
    if (!object || !object->is_object()) continue;
    if (const auto found = object->find(key); found != object->end() && !found->is_null())
      return &*found;
  }
  return nullptr;
}

std::string JsonSection::where(std::string_view key) const {
  const bool own = !defaults_ || (object_->is_object() && object_->contains(key)) ||
                   !(defaults_->is_object() && defaults_->contains(key));
  return joined(own ? path_ : default_path_, key);
}

Error JsonSection::error(std::string_view key, std::string_view what,
                         std::string_view remedy) const {
  return {Code::invalid_argument,
          fmt::format("{}: \"{}\" {}; {}", file_->string(), where(key), what, remedy)};
}

Error JsonSection::missing(std::string_view key) const {
  return error(key, "is missing", "add it");
}

Error JsonSection::wrong(std::string_view key, const Json& value, std::string_view expected) const {
  return error(key, fmt::format("is {}", shown(value)), fmt::format("give {}", expected));
}

Result<void> JsonSection::check_keys(const std::vector<std::string_view>& known) const {
  if (!object_->is_object())
    return Error{Code::invalid_argument,
                 fmt::format("{}: \"{}\" is {}; give an object", file_->string(),
                             path_.empty() ? "(the whole)" : path_, shown(*object_))};
  for (const auto& [key, value] : object_->items())
    if (std::find(known.begin(), known.end(), key) == known.end())
      return Error{
          Code::invalid_argument,
          fmt::format("{}: \"{}\" is not a key that is known there; known are {}", file_->string(),
                      joined(path_, shown_key(key)), fmt::join(known, ", "))};
  return {};
}

Result<uint64_t> JsonSection::whole(std::string_view key, uint64_t least, uint64_t most,
                                    std::optional<uint64_t> fallback) const {
  const Json* value = find(key);
  if (!value && fallback) return *fallback;
  if (!value) return missing(key);
  if (value->is_number_unsigned()) {
    const auto number = value->get<uint64_t>();
    if (number >= least && number <= most) return number;
  } else if (value->is_number_float()) {  // 2e6 is a whole number too
    const auto number = value->get<double>();
    if (number == std::floor(number) && number >= static_cast<double>(least) &&
        number <= static_cast<double>(most) && number < 0x1p53)
      return static_cast<uint64_t>(number);
  }
  return wrong(key, *value, fmt::format("a whole number from {} to {}", least, most));
}

Result<double> JsonSection::real(std::string_view key, double least, double most,
                                 std::optional<double> fallback) const {
  const Json* value = find(key);
  if (!value && fallback) return *fallback;
  if (!value) return missing(key);
  if (value->is_number()) {
    const auto number = value->get<double>();
    if (number >= least && number <= most) return number;
  }
  return wrong(key, *value, fmt::format("a number from {} to {}", least, most));
}

Result<bool> JsonSection::flag(std::string_view key, bool fallback) const {
  const Json* value = find(key);
  if (!value) return fallback;
  if (!value->is_boolean()) return wrong(key, *value, "true or false");
  return value->get<bool>();
}

Result<std::string> JsonSection::text(std::string_view key,
                                      std::optional<std::string> fallback) const {
  const Json* value = find(key);
  if (!value && fallback) return *std::move(fallback);
  if (!value) return missing(key);
  if (!value->is_string()) return wrong(key, *value, "a text");
  return value->get<std::string>();
}

Result<size_t> JsonSection::choice(std::string_view key, const std::vector<std::string_view>& names,
                                   size_t fallback) const {
  const Json* value = find(key);
  if (!value) return fallback;
  if (value->is_string())
    for (size_t i = 0; i < names.size(); ++i)
      if (value->get_ref<const std::string&>() == names[i]) return i;
  return wrong(key, *value, fmt::format("one of \"{}\"", fmt::join(names, "\", \"")));
}

JsonSection JsonSection::section(std::string_view key) const {
  const auto inside = [&](const Json* object) -> const Json* {
    if (!object || !object->is_object()) return nullptr;
    const auto found = object->find(key);
    return found == object->end() || found->is_null() ? nullptr : &*found;
  };
  const Json* own = inside(object_);
  return {*file_, joined(path_, key), own ? *own : empty_object(), joined(default_path_, key),
          inside(defaults_)};
}

}  // namespace msa::train
