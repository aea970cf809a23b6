// Texts of random words: the easiest exercise in routing, numbers and copying.
#pragma once

#include <memory>

#include "msa/result.h"
#include "tasks/task.h"

namespace msa {

// A document is a few words drawn at random; a question names two neighbours among them, and the
// answer is the word behind these. Nothing has to be understood, so that a model that knows nothing
// yet learns to write a document's number from pooled values, which it does not begin to learn from
// long texts. No document of a sample has a pair of neighbours that another one has. Words of the
// splits are disjoint.
//
// Blind questions name no words. With the relevant documents forced in (StepOptions), the one way
// to route in the layers above the first router layer is to read what that one's document is: the
// skill that writing its number needs too.
TaskDescription describe_words_task();
// Fails if a setting is unknown or wrong. Reads no files.
Result<std::unique_ptr<Task>> make_words_task(const TaskOptions& options);

}  // namespace msa
