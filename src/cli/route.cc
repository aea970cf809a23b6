// msa route: which documents each router layer chooses for a question.
#include <memory>

#include "cli/answer_printer.h"
#include "cli/json_output.h"
#include "cli/options.h"
#include "cli/question_text.h"
#include "cli/questions.h"

namespace msa::cli {
namespace {

struct RouteArguments {
  ModelFlags model;
  std::string bank;
  EngineFlags engine;
  QuestionFlags question;
  size_t top_k = 0;
  bool json = false;
};

Result<ExitCode> run_route(Session& session, const RouteArguments& arguments) {
  MSA_ASSIGN(const std::filesystem::path folder, bank_folder(arguments.bank));
  MSA_TRY(model_folder(arguments.model.folder));
  const bool batch = !arguments.question.file.empty();
  std::string question;
  if (!batch) {
    MSA_ASSIGN(question, question_text(arguments.question, "route"));
  }
  MSA_ASSIGN(const EngineOptions holding, arguments.engine.resolved());
  MSA_ASSIGN(const Bank bank, Bank::open(folder));
  MSA_ASSIGN(const Model model, open_model(session, arguments.model));
  MSA_ASSIGN(const Engine engine, Engine::create(model, bank, holding));
  note_random_weights(session, model);
  note_tiers(session, engine);
  if (batch)
    return answer_questions(
        session, arguments.question.file, [&](const Question& asked) -> Result<Json> {
          MSA_ASSIGN(const Routing routing, engine.route(asked.text, arguments.top_k));
          return to_json(routing);
        });
  MSA_ASSIGN(const Routing routing, engine.route(question, arguments.top_k));
  if (arguments.json)
    session.out.write(dump(to_json(routing)) + "\n");
  else
    print_routing(session, routing, bank);
  return ExitCode::ok;
}

}  // namespace

void add_route(CLI::App& app, Command& chosen) {
  auto arguments = std::make_shared<RouteArguments>();
  CLI::App& command =
      *app.add_subcommand("route", "Show which documents each router layer chooses");
  add_question_flags(command, arguments->question);
  add_bank_flag(command, arguments->bank);
  add_model_flags(command, arguments->model);
  add_engine_flags(command, arguments->engine);
  add_top_k_flag(command, arguments->top_k);
  add_json_flag(command, arguments->json);
  command.footer(
      "Examples:\n"
      "  msa route \"Who designed the bridge?\" --bank memory --model models/MSA-4B\n"
      "  msa route -q \"Who designed it?\" -b memory -m models/MSA-4B --top-k 4 --json\n"
      "  msa route --questions questions.jsonl -b memory -m models/MSA-4B > routes.jsonl\n");
  command.callback([&chosen, arguments] {
    chosen = [arguments](Session& session) { return run_route(session, *arguments); };
  });
}

}  // namespace msa::cli
