// What msa plan prints.
#pragma once

#include <string>

#include "cli/json_output.h"
#include "plan/capacity.h"

namespace msa::cli {

// Tables and sentences, a few dozen lines.
std::string plan_text(const plan::CapacityPlan& capacity);

// docs/cli.md describes it. Sizes are bytes, times seconds.
Json to_json(const plan::CapacityPlan& capacity);

}  // namespace msa::cli
