// msa ask: one answer with its citations, or one for each question of a file.
#include <fmt/format.h>

#include <memory>

#include "cli/answer_printer.h"
#include "cli/format.h"
#include "cli/json_output.h"
#include "cli/options.h"
#include "cli/question_text.h"
#include "cli/questions.h"
#include "cli/signals.h"

namespace msa::cli {
namespace {

struct AskArguments {
  ModelFlags model;
  std::string bank;
  EngineFlags engine;
  QuestionFlags question;
  AskFlags ask;
  bool json = false;
};

Error interrupted() {
  return {Code::cancelled, "ask: stopped before the answer was complete"};
}

Result<ExitCode> ask_one(Session& session, const Engine& engine, const std::string& question,
                         const AskOptions& options, bool json) {
  StopOnSignal stop;
  AnswerPrinter printer(session);
  const TokenCallback show = [&](const TokenEvent& event) { return printer.on_token(event); };
  MSA_ASSIGN(const Answer answer,
             engine.ask(question, options, json ? TokenCallback() : show, stop.token()));
  if (json) {
    session.out.write(dump(to_json(answer)) + "\n");
  } else {
    printer.finish(answer);
    print_citations(session, answer.citations);
    session.out.flush();
    note_finish(session, answer, options);
    if (session.global.verbose > 0)
      session.console.line(
          fmt::format("question {:.0f} ms, routing {:.0f} ms, first token {:.0f} ms, {} tokens/s, "
                      "{} + {} tokens",
                      answer.timing.encode_question_ms, answer.timing.route_ms,
                      answer.timing.first_token_ms, format_rate(answer.timing.tokens_per_second),
                      answer.usage.prompt_tokens, answer.usage.completion_tokens));
  }
  if (answer.finish == "cancelled") return interrupted();
  return ExitCode::ok;
}

Result<ExitCode> ask_all(Session& session, const Engine& engine, const std::string& path,
                         const AskOptions& options) {
  StopOnSignal stop;
  return answer_questions(session, path, [&](const Question& question) -> Result<Json> {
    // The wait for a line may have been what was interrupted.
    if (stop.requested()) return interrupted();
    MSA_ASSIGN(const Answer answer, engine.ask(question.text, options, {}, stop.token()));
    if (answer.finish == "cancelled") return interrupted();
    return to_json(answer);
  });
}

Result<ExitCode> run_ask(Session& session, const AskArguments& arguments) {
  MSA_ASSIGN(const std::filesystem::path folder, bank_folder(arguments.bank));
  MSA_TRY(model_folder(arguments.model.folder));
  const bool batch = !arguments.question.file.empty();
  std::string question;
  if (!batch) {
    MSA_ASSIGN(question, question_text(arguments.question, "ask"));
  }
  MSA_ASSIGN(const EngineOptions holding, arguments.engine.resolved());
  MSA_ASSIGN(const Bank bank, Bank::open(folder));
  MSA_ASSIGN(const Model model, open_model(session, arguments.model));
  MSA_ASSIGN(const Engine engine, Engine::create(model, bank, holding));
  note_random_weights(session, model);
  note_tiers(session, engine);
  const AskOptions options = arguments.ask.resolved(session.global);
  return batch ? ask_all(session, engine, arguments.question.file, options)
               : ask_one(session, engine, question, options, arguments.json);
}

}  // namespace

void add_ask(CLI::App& app, Command& chosen) {
  auto arguments = std::make_shared<AskArguments>();
  CLI::App& command = *app.add_subcommand("ask", "Answer a question from the memory");
  add_question_flags(command, arguments->question);
  add_bank_flag(command, arguments->bank);
  add_model_flags(command, arguments->model);
  add_engine_flags(command, arguments->engine);
  add_ask_flags(command, arguments->ask);
  add_json_flag(command, arguments->json);
  command.footer(
      "Examples:\n"
      "  msa ask \"Who designed the bridge?\" --bank memory --model models/MSA-4B\n"
      "  msa ask -q \"When was it built?\" -b memory -m models/MSA-4B --json\n"
      "  echo \"How long is it?\" | msa ask - -b memory -m models/MSA-4B\n"
      "  msa ask --questions questions.jsonl -b memory -m models/MSA-4B > answers.jsonl\n");
  command.callback([&chosen, arguments] {
    chosen = [arguments](Session& session) { return run_ask(session, *arguments); };
  });
}

}  // namespace msa::cli
