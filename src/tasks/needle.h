// RULER's eight needle tasks: short facts hidden in much text.
#pragma once

#include <memory>

#include "msa/result.h"
#include "tasks/task.h"

namespace msa {

// Kinds "needle-sk1" … "needle-mq", RULER's SA1 to MQ. RULER does not cut its haystack; here a
// document is some 40 to 100 words of it and holds one needle or none, or, where needles are the
// haystack, two or three needles (mk2) or two (mk3). A sample's questions are about needles of its
// own; none of them stands in another sample of the split or in a distractor, until the keys are
// used up (see the setting "pairs"). Keys of the splits are disjoint; needles and questions are
// worded as RULER words them in both, and the grammar that the haystack comes from is ours and one
// for both.
//
// SampleQuestion::values holds what must be found, and is what answers are scored by. The trained
// answer names the values in the order of the question (mq) or of the sample's documents (mv). The
// latter cannot be known by a reader of numbered documents: an exact comparison with `answer` would
// be unfair to it.
TaskDescription describe_needle_task();
// Fails if a setting is unknown or wrong. Reads no files.
Result<std::unique_ptr<Task>> make_needle_task(const TaskOptions& options);

}  // namespace msa
