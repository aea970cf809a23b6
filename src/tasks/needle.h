// RULER's eight needle tasks: short facts hidden in much text.
#pragma once

#include <memory>

#include "msa/result.h"
#include "tasks/task.h"

namespace msa {

// Kinds "needle-sk1" … "needle-mq", RULER's SA1 to MQ. RULER does not cut its haystack; here a
// document is some 40 to 100 words of it and holds one needle or none, or, where needles are the
// haystack (mk2, mk3), two or three needles. A sample's questions are about needles of its own;
// none of them stands in another sample of the split or in a distractor, until the keys are used up
// (see the setting "pairs"). Keys of the splits are disjoint. The wording of needles and questions
// is RULER's in both splits, and so is the grammar of the haystack.
//
// SampleQuestion::values holds what must be found, and is what answers are scored by. The trained
// answer names the values in the order of the question (mq) or of the sample's documents (mv). The
// latter cannot be known by a reader of numbered documents: an exact comparison with `answer` would
// be unfair to it.
TaskDescription describe_needle_task();
// Fails if a setting is unknown or wrong. Reads no files.
Result<std::unique_ptr<Task>> make_needle_task(const TaskOptions& options);

}  // namespace msa
