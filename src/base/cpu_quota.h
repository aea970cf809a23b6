// How much processor time the control group of this process allows it (containers).
#pragma once

#include <optional>
#include <string_view>

namespace msa {

// What a cgroup v2 `cpu.max` ("150000 100000", "max 100000") allows, in whole cores rounded up and
// at least 1; nothing if it sets no limit or cannot be understood.
std::optional<int> cores_of_cpu_max(std::string_view cpu_max);

// The tightest limit among this process's control group and its parents, versions 2 and 1; nothing
// if there is none or it cannot be read.
std::optional<int> cgroup_cores();

}  // namespace msa
