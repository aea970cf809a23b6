// JSON from files that others wrote. Only for this folder's sources: no header that another folder
// reads shows the JSON library.
#pragma once

#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "msa/result.h"

namespace msa {

// The parsed text; `corrupt`, with the byte, if it is not JSON, names a key twice in one object, or
// nests deeper than any file of a model does. `file` is for the message.
Result<nlohmann::json> parse_json(std::string_view text, const std::filesystem::path& file);

// The same of a whole file of at most `limit` bytes.
Result<nlohmann::json> read_json_file(const std::filesystem::path& file, size_t limit);

// A name or value from a file, fit for a one-line message: shortened, without control characters.
std::string printable(std::string_view text);
std::string printable_json(const nlohmann::json& value);

}  // namespace msa
