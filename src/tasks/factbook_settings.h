// Reading the settings of a maker. Errors name the task, the setting and what is expected.
#pragma once

#include <cstddef>
#include <string_view>

#include "msa/result.h"

namespace msa::factbook {

Error bad_setting(std::string_view task, std::string_view name, std::string_view value,
                  std::string_view expected);
// A whole number from `min` to `max`.
Result<void> read_count(std::string_view task, std::string_view name, std::string_view value,
                        size_t min, size_t max, size_t& out);
// A number from 0 to 1.
Result<void> read_share(std::string_view task, std::string_view name, std::string_view value,
                        double& out);

enum class Hops { one, two, mixed };
// "1", "2" or "mixed".
Result<void> read_hops(std::string_view task, std::string_view name, std::string_view value,
                       Hops& out);

}  // namespace msa::factbook
