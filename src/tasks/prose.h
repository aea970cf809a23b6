// Questions about passages of real text.
#pragma once

#include <memory>

#include "msa/result.h"
#include "tasks/task.h"

namespace msa {

TaskDescription describe_prose_task();
// Fails if a setting is unknown or wrong, or the data cannot be read.
Result<std::unique_ptr<Task>> make_prose_task(const TaskOptions& options);

}  // namespace msa
