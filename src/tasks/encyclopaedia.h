// Questions about invented people, places, works, companies and more.
#pragma once

#include <memory>

#include "msa/result.h"
#include "tasks/task.h"

namespace msa {

TaskDescription describe_encyclopaedia_task();
// Fails if a setting is unknown or wrong.
Result<std::unique_ptr<Task>> make_encyclopaedia_task(const TaskOptions& options);

}  // namespace msa
