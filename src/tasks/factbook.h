// Questions about records of the World Factbook, real and invented.
#pragma once

#include <memory>

#include "msa/result.h"
#include "tasks/task.h"

namespace msa {

TaskDescription describe_factbook_task();
// Fails if a setting is unknown or wrong, or the data cannot be read.
Result<std::unique_ptr<Task>> make_factbook_task(const TaskOptions& options);

}  // namespace msa
