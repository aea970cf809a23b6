// How a command is given its question: as words, with -q, on standard input, or as a file of many.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "msa/result.h"

namespace msa::cli {

struct QuestionFlags {
  std::vector<std::string> words;
  std::optional<std::string> option;
  std::string file;  // --questions; empty: one question
};
void add_question_flags(CLI::App& command, QuestionFlags& flags);

// The one question. Reads standard input for "-". `command` names the command in errors.
Result<std::string> question_text(const QuestionFlags& flags, const char* command);

}  // namespace msa::cli
