// msa chat: question after question, with the model and the memory loaded once.
#include <fmt/format.h>
#include <signal.h>

#include <memory>
#include <optional>

#include "cli/answer_printer.h"
#include "cli/format.h"
#include "cli/line_editor.h"
#include "cli/options.h"
#include "cli/signals.h"
#include "cli/suggest.h"
#include "cli/text_layout.h"

namespace msa::cli {
namespace {

constexpr const char* kCommandHelp =
    "/docs            the documents the last answer was based on\n"
    "/route [TEXT]    which documents each router layer chooses for TEXT, or chose last\n"
    "/help            this list\n"
    "/quit            leave, as Ctrl-D does\n"
    "Anything else is a question. Ctrl-C stops an answer. Each question is answered on its own.\n";

struct ChatArguments {
  ModelFlags model;
  std::string bank;
  EngineFlags engine;
  AskFlags ask;
};

class Chat {
 public:
  Chat(Session& session, const Bank& bank, const Engine& engine, const AskOptions& options)
      : session_(session), bank_(bank), engine_(engine), options_(options) {}

  enum class Next { go_on, leave, terminated };

  Next handle(const std::string& line) {
    const size_t begin = line.find_first_not_of(" \t");
    if (begin == std::string::npos) return Next::go_on;
    if (line[begin] != '/') return ask(line);
    const size_t space = line.find_first_of(" \t", begin);
    const std::string command = line.substr(begin, space - begin);
    const size_t rest = line.find_first_not_of(" \t", space);
    return run_command(command, rest == std::string::npos ? "" : line.substr(rest));
  }

 private:
  Next run_command(const std::string& command, const std::string& rest) {
    if (command == "/quit" || command == "/exit") return Next::leave;
    if (command == "/help") {
      session_.out.write(kCommandHelp);
    } else if (command == "/docs") {
      list_documents();
    } else if (command == "/route") {
      route(rest);
    } else {
      const std::string meant = suggest(command, {"/docs", "/route", "/help", "/quit"});
      session_.console.error(
          fmt::format("unknown command '{}'; {}", command,
                      meant.empty() ? "/help lists them" : "did you mean '" + meant + "'?"));
    }
    return Next::go_on;
  }

  Next ask(const std::string& question) {
    StopOnSignal stop;
    AnswerPrinter printer(session_);
    Result<Answer> answer = engine_.ask(
        question, options_, [&](const TokenEvent& event) { return printer.on_token(event); },
        stop.token());
    if (answer) {
      printer.finish(*answer);
      note_finish(session_, *answer, options_);
      if (!answer->citations.empty()) session_.console.line(styled_hint(answer->citations.size()));
      last_ = std::move(*answer);
    }
    const bool cancelled =
        answer ? last_->finish == "cancelled" : answer.error().code == Code::cancelled;
    if (stop.signal() == SIGTERM) return Next::terminated;
    if (cancelled)
      session_.console.note("stopped");
    else if (!answer)
      session_.console.error(answer.error().message);
    return Next::go_on;
  }

  static std::string styled_hint(size_t documents) {
    return fmt::format("(based on {}; /docs lists them)",
                       counted(documents, "document", "documents"));
  }

  void list_documents() {
    if (!last_) {
      session_.console.note("no answer yet");
    } else if (last_->citations.empty()) {
      session_.console.note("the last answer was based on no document");
    } else {
      for (const Citation& c : last_->citations) {
        const std::string source = describe_source(c.source, c.char_begin, c.char_end);
        session_.out.write(fmt::format("[{}] {}{}{}\n", c.number,
                                       printable_line(c.title.empty() ? c.id : c.title),
                                       source.empty() ? "" : "  ", source));
      }
    }
  }

  void route(const std::string& question) {
    if (question.empty()) {
      if (last_)
        print_routing(session_, last_->routing, bank_);
      else
        session_.console.note("no question yet; write one after /route");
      return;
    }
    const Result<Routing> routing = engine_.route(question, options_.top_k);
    if (routing)
      print_routing(session_, *routing, bank_);
    else
      session_.console.error(routing.error().message);
  }

  Session& session_;
  const Bank& bank_;
  const Engine& engine_;
  const AskOptions options_;
  std::optional<Answer> last_;
};

Result<ExitCode> run_chat(Session& session, const ChatArguments& arguments) {
  MSA_ASSIGN(const std::filesystem::path folder, bank_folder(arguments.bank));
  MSA_TRY(model_folder(arguments.model.folder));
  MSA_ASSIGN(const EngineOptions holding, arguments.engine.resolved());
  MSA_ASSIGN(const Bank bank, Bank::open(folder));
  MSA_ASSIGN(const Model model, open_model(session, arguments.model));
  MSA_ASSIGN(const Engine engine, Engine::create(model, bank, holding));
  note_random_weights(session, model);
  note_tiers(session, engine);

  LineEditor editor(history_path());
  if (!editor.history_problem().empty())
    session.console.warning("history is not kept: " + editor.history_problem());
  if (editor.interactive()) {
    MSA_ASSIGN(const BankInfo info, bank.info());
    session.console.line(fmt::format("{} in memory. /help lists commands, Ctrl-D leaves.",
                                     counted(info.documents, "document", "documents")));
  }
  Chat chat(session, bank, engine, arguments.ask.resolved(session.global));
  while (session.out.ok()) {
    session.out.flush();
    const LineEditor::Line line = editor.read("msa> ");
    Chat::Next next = Chat::Next::go_on;
    switch (line.kind) {
      case LineEditor::Line::Kind::end: next = Chat::Next::leave; break;
      case LineEditor::Line::Kind::terminated: next = Chat::Next::terminated; break;
      case LineEditor::Line::Kind::interrupted: break;
      case LineEditor::Line::Kind::text:
        if (line.text.find_first_not_of(" \t") != std::string::npos) editor.remember(line.text);
        next = chat.handle(line.text);
        break;
    }
    if (next == Chat::Next::leave) break;
    if (next == Chat::Next::terminated) return Error{Code::cancelled, "chat: ended by SIGTERM"};
  }
  return ExitCode::ok;
}

}  // namespace

void add_chat(CLI::App& app, Command& chosen) {
  auto arguments = std::make_shared<ChatArguments>();
  CLI::App& command = *app.add_subcommand("chat", "Ask questions one after the other");
  add_bank_flag(command, arguments->bank);
  add_model_flags(command, arguments->model);
  add_engine_flags(command, arguments->engine);
  add_ask_flags(command, arguments->ask);
  command.footer(
      "In the chat:\n"
      "  /docs          the documents the last answer was based on\n"
      "  /route [TEXT]  which documents each router layer chooses\n"
      "  /help, /quit   Ctrl-C stops an answer, Ctrl-D leaves\n"
      "The history is kept in $XDG_STATE_HOME/msa/history (~/.local/state/msa/history).\n\n"
      "Examples:\n"
      "  msa chat --bank memory --model models/MSA-4B\n"
      "  msa chat -b memory -m models/MSA-4B --temperature 0.7 --seed 1\n");
  command.callback([&chosen, arguments] {
    chosen = [arguments](Session& session) { return run_chat(session, *arguments); };
  });
}

}  // namespace msa::cli
