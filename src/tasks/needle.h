// RULER's eight needle tasks: short facts hidden in much text.
#pragma once

#include <memory>

#include "msa/result.h"
#include "tasks/task.h"

namespace msa {

// Kinds "needle-sk1" … "needle-mq". SampleQuestion::values holds what must be found, and is what
// answers are scored by. The trained answer of mv names its values in the order of the sample's
// documents, which a reader of numbered documents cannot know: an exact comparison with `answer`
// would be unfair to it.
TaskDescription describe_needle_task();
// Fails if a setting is unknown or wrong. Reads no files.
Result<std::unique_ptr<Task>> make_needle_task(const TaskOptions& options);

}  // namespace msa
