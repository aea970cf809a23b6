// JSON objects read strictly: every key known, every value of the right type and range. Only for
// this folder's sources.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "msa/result.h"

namespace msa::train {

using Json = nlohmann::json;

// The parsed text; an error with the line and column if it is not JSON or names a key twice.
Result<Json> parse_strict_json(std::string_view text, const std::filesystem::path& file);

// One object and, where it is silent, the defaults that stand in for it. Both outlive this.
class JsonSection {
 public:
  JsonSection(const std::filesystem::path& file, std::string path, const Json& object)
      : file_(&file), path_(std::move(path)), object_(&object) {}
  JsonSection(const std::filesystem::path& file, std::string path, const Json& object,
              std::string default_path, const Json* defaults)
      : file_(&file),
        path_(std::move(path)),
        object_(&object),
        default_path_(std::move(default_path)),
        defaults_(defaults) {}

  // An error unless this is an object without other keys.
  Result<void> check_keys(const std::vector<std::string_view>& known) const;

  bool has(std::string_view key) const { return find(key) != nullptr; }
  const Json* find(std::string_view key) const;
  // Where the key's value stands: "phases[0].batch.tokens".
  std::string where(std::string_view key) const;
  Error error(std::string_view key, std::string_view what, std::string_view remedy) const;

  // The value, or `fallback` where the key is absent; without a fallback that is an error.
  Result<uint64_t> whole(std::string_view key, uint64_t least, uint64_t most,
                         std::optional<uint64_t> fallback = {}) const;
  Result<double> real(std::string_view key, double least, double most,
                      std::optional<double> fallback = {}) const;
  Result<bool> flag(std::string_view key, bool fallback) const;
  Result<std::string> text(std::string_view key, std::optional<std::string> fallback = {}) const;
  // The place in `names` of the text the key holds.
  Result<size_t> choice(std::string_view key, const std::vector<std::string_view>& names,
                        size_t fallback) const;
  // The object under the key, its defaults behind it; an empty one where there is none.
  JsonSection section(std::string_view key) const;

  const std::filesystem::path& file() const { return *file_; }

 private:
  Error missing(std::string_view key) const;
  Error wrong(std::string_view key, const Json& value, std::string_view expected) const;

  const std::filesystem::path* file_;
  std::string path_;
  const Json* object_;
  std::string default_path_;
  const Json* defaults_ = nullptr;
};

}  // namespace msa::train
