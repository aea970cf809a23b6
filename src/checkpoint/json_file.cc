#include "checkpoint/json_file.h"

#include <fmt/format.h>

#include <set>
#include <utility>
#include <vector>

#include "base/files.h"

namespace msa {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 32;

// Watches a parse for what the library itself lets pass.
class Watch {
 public:
  bool operator()(int depth, json::parse_event_t event, json& parsed) {
    switch (event) {
      case json::parse_event_t::object_start: keys_.emplace_back(); [[fallthrough]];
      case json::parse_event_t::array_start:
        too_deep_ |= depth >= kMaxDepth;
        return !too_deep_;  // nothing below is kept, so that depth costs no memory
      case json::parse_event_t::object_end: keys_.pop_back(); return true;
      case json::parse_event_t::key:
        if (!keys_.back().insert(parsed.get_ref<const std::string&>()).second && !repeats_) {
          repeats_ = true;
          repeated_ = parsed.get_ref<const std::string&>();
        }
        return true;
      default: return true;
    }
  }
  bool too_deep() const { return too_deep_; }
  bool repeats() const { return repeats_; }
  const std::string& repeated() const { return repeated_; }

 private:
  std::vector<std::set<std::string>> keys_;  // of the objects that are open, outermost first
  bool too_deep_ = false, repeats_ = false;
  std::string repeated_;
};

}  // namespace

Result<json> parse_json(std::string_view text, const std::filesystem::path& file) {
  const auto corrupt = [&](const std::string& what) {
    return Error{Code::corrupt,
                 fmt::format("{}: {}; repair it or download it again", file.string(), what)};
  };
  try {
    Watch watch;
    json parsed = json::parse(text, std::ref(watch));
    if (watch.too_deep()) return corrupt(fmt::format("nests deeper than {} levels", kMaxDepth));
    if (watch.repeats())
      return corrupt(fmt::format("names \"{}\" twice", printable(watch.repeated())));
    return parsed;
  } catch (const json::parse_error& error) {
    return corrupt(fmt::format("is not valid JSON at byte {}", error.byte));
  } catch (const json::exception&) {  // a number beyond the range of double
    return corrupt("holds a number that is out of range");
  } catch (const std::bad_alloc&) {
    return Error{Code::no_space, fmt::format("{}: {} bytes of JSON do not fit the memory; free "
                                             "some memory",
                                             file.string(), text.size())};
  }
}

Result<json> read_json_file(const std::filesystem::path& file, size_t limit) {
  MSA_ASSIGN(const std::string text, read_file(file, limit));
  return parse_json(text, file);
}

std::string printable(std::string_view text) {
  constexpr size_t kMost = 120;
  std::string shown(text.substr(0, kMost));
  for (char& c : shown)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  if (text.size() > kMost) shown += "...";
  return shown;
}

std::string printable_json(const json& value) {
  return printable(value.dump(-1, ' ', false, json::error_handler_t::replace));
}

}  // namespace msa
