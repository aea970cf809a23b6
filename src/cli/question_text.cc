#include "cli/question_text.h"

#include <fmt/format.h>

#include "cli/options.h"

namespace msa::cli {
namespace {

constexpr size_t kMaxQuestionBytes = 16 << 20;

}  // namespace

void add_question_flags(CLI::App& command, QuestionFlags& flags) {
  CLI::Option* words = command.add_option("QUESTION", flags.words,
                                          "The question, or - to read it from standard input");
  CLI::Option* option =
      command.add_option("-q,--question", flags.option, "The question, as an option")
          ->type_name("TEXT")
          ->excludes(words);
  command
      .add_option("--questions", flags.file,
                  "JSON Lines file of {\"id\",\"question\"}, or -; prints one JSON object per line")
      ->type_name("FILE")
      ->excludes(words)
      ->excludes(option);
}

Result<std::string> question_text(const QuestionFlags& flags, const char* command) {
  std::string question;
  if (flags.option) {
    question = *flags.option;
  } else if (!flags.words.empty()) {
    for (const std::string& word : flags.words) question += (question.empty() ? "" : " ") + word;
  } else {
    return Error{Code::invalid_argument,
                 fmt::format("{0}: no question given; write it after the command, or - to read "
                             "standard input; see 'msa {0} --help'",
                             command)};
  }
  if (question != "-") return question;
  MSA_ASSIGN(question, read_standard_input(kMaxQuestionBytes));
  while (!question.empty() && (question.back() == '\n' || question.back() == '\r'))
    question.pop_back();
  return question;
}

}  // namespace msa::cli
