// Files of questions: JSON Lines with {"id","question"}.
#pragma once

#include <functional>
#include <string>

#include "cli/json_output.h"
#include "cli/session.h"

namespace msa::cli {

struct Question {
  Json id;  // a string or a number, given back as it was
  std::string text;
};

// One line of a question file, or what is wrong with it.
Result<Question> parse_question(std::string_view line);

// Answers every question of `path` ("-": standard input) with `answer` and prints each result, with
// the question's "id" in front, as soon as it is there. A bad line or a question that fails is
// reported as "file:line: …" and the rest goes on; the exit code is then `rejected_input`. A
// `cancelled` error from `answer` ends the run.
Result<ExitCode> answer_questions(Session& session, const std::string& path,
                                  const std::function<Result<Json>(const Question&)>& answer);

}  // namespace msa::cli
