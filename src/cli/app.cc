#include "cli/app.h"

#include <fmt/format.h>

#include <exception>
#include <memory>
#include <new>
#include <string_view>

#include "cli/help_formatter.h"
#include "cli/options.h"
#include "cli/suggest.h"

namespace msa::cli {
namespace {

void add_global_options(CLI::App& app, GlobalOptions& global) {
  app.add_option("--threads", global.threads, "Threads to compute with; 0: one per core")
      ->type_name("N")
      ->check(whole_number(0, 4096))
      ->capture_default_str();
  app.add_option("--seed", global.seed, "Seed of everything random [0]")
      ->type_name("N")
      ->check(whole_number(0, UINT64_MAX));
  app.add_flag("-v,--verbose", global.verbose, "Say more on standard error; -vv: everything");
}

// "msa memory list": the commands named so far.
std::string command_path(const CLI::App& app) {
  std::string path = "msa";
  for (const CLI::App* at = &app; !at->get_subcommands().empty();) {
    at = at->get_subcommands().front();
    path += " " + at->get_name();
  }
  return path;
}

const CLI::App& innermost(const CLI::App& app) {
  const CLI::App* at = &app;
  while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
  return *at;
}

void collect_options(const CLI::App& app, std::vector<std::string>& names) {
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
  }
}

std::string usage_error(const CLI::App& app, const std::string& message) {
  return fmt::format("{}; see '{} --help'", message, command_path(app));
}

// For arguments that nothing on the command line takes.
std::string unknown_argument(const CLI::App& app) {
  const CLI::App& command = innermost(app);
  const std::vector<std::string> rest = app.remaining(true);
  const std::string word = rest.empty() ? "" : rest.front();
  std::vector<std::string> known;
  std::string what;
  if (word.size() > 1 && word[0] == '-') {
    collect_options(command, known);
    if (&command != &app) collect_options(app, known);
    what = fmt::format("unknown option '{}'", word);
  } else if (const auto commands = command.get_subcommands({}); !commands.empty()) {
    for (const CLI::App* sub : commands) known.push_back(sub->get_name());
    what = fmt::format("unknown command '{}'", word);
  } else {
    what = fmt::format("'{}' was not expected here", word);
  }
  // --top_k=3: what follows the sign is no part of the name.
  const std::string meant = suggest(word.substr(0, word.find('=')), known);
  if (!meant.empty()) what += fmt::format("; did you mean '{}'?", meant);
  return usage_error(app, what);
}

std::string describe(const CLI::App& app, const CLI::ParseError& error) {
  // By type: the name some of these carry is that of the command.
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) return unknown_argument(app);
  if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr &&
      !innermost(app).get_subcommands({}).empty()) {
    std::string commands;
    for (const CLI::App* sub : innermost(app).get_subcommands({}))
      commands += (commands.empty() ? "" : ", ") + sub->get_name();
    return app.remaining(true).empty() ? usage_error(app, "no command given; there are " + commands)
                                       : unknown_argument(app);
  }
  return usage_error(app, error.what());
}

Result<ExitCode> parse_and_run(const std::vector<std::string>& arguments, Session& session) {
  CLI::App app("Memory Sparse Attention: encodes documents into a memory and answers from it",
               "msa");
  app.formatter(std::make_shared<HelpFormatter>());
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.fallthrough();
  app.require_subcommand(1);
  app.set_help_flag("-h,--help", "Print this help and leave");
  app.set_version_flag("--version", fmt::format("msa {}", version()),
                       "Print the version and leave");
  app.footer(
      "Examples:\n"
      "  msa encode notes/ --bank memory --model models/MSA-4B\n"
      "  msa ask \"Who designed the bridge?\" --bank memory --model models/MSA-4B\n"
      "  export MSA_MODEL=models/MSA-4B MSA_BANK=memory; msa chat\n\n"
      "Environment: MSA_MODEL, MSA_BANK (defaults of --model, --bank), NO_COLOR,\n"
      "XDG_STATE_HOME (history of msa chat)\n\n" +
      std::string(exit_code_help()));
  add_global_options(app, session.global);

  Command chosen;
  for (const auto add : {&add_encode, &add_ask, &add_chat, &add_route, &add_memory, &add_model,
                         &add_tokenize, &add_eval, &add_bench, &add_plan})
    add(app, chosen);

  try {
    // CLI11 takes them from the back.
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::CallForHelp&) {
    session.out.write(app.help());
    return ExitCode::ok;
  } catch (const CLI::CallForVersion& call) {
    session.out.write(std::string(call.what()) + "\n");
    return ExitCode::ok;
  } catch (const CLI::ParseError& error) {
    return Error{Code::invalid_argument, describe(app, error)};
  }
  return chosen(session);
}

}  // namespace

ExitCode run(const std::vector<std::string>& arguments, Output& out, const Terminal& terminal,
             Console& console) {
  // Nothing below should throw; this is for what libraries and the allocator do all the same.
  try {
    Session session{out, terminal, console, {}};
    const Result<ExitCode> result = parse_and_run(arguments, session);
    out.flush();
    if (!result) {
      // Output that nobody reads any more is a reason to stop, not to complain.
      if (out.reader_gone() && result.error().code == Code::cancelled) return ExitCode::ok;
      console.error(result.error().message);
      return exit_code(result.error().code);
    }
    if (const Result<void> written = out.result(); !written && !out.reader_gone()) {
      console.error(written.error().message);
      return exit_code(written.error().code);
    }
    return *result;
  } catch (const std::bad_alloc&) {
    console.error("out of memory; use a smaller model or smaller batches");
    return ExitCode::system;
  } catch (const std::exception& error) {
    console.error(fmt::format("internal error: {}", error.what()));
  } catch (...) {
    console.error("internal error");
  }
  return ExitCode::internal;
}

}  // namespace msa::cli
