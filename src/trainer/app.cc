#include <fmt/format.h>

#include <exception>
#include <new>

#include "trainer/command.h"

namespace msa::trainer {
namespace {

constexpr const char* kFooter =
    "Exit codes: 0 done, 1 internal error, 2 usage, 3 not found, 4 bad recipe data or checkpoint,\n"
    "5 reading or writing failed, 6 folder in use, 7 a check failed, 130 stopped by Ctrl-C "
    "(saved).\n"
    "Recipes and commands: docs/training.md";

Result<ExitCode> run_guarded(const Command& command, Console& console) {
  try {
    return command(console);
  } catch (const std::bad_alloc&) {
    return Error{Code::no_space, "memory: is full; choose smaller sizes"};
  } catch (const std::exception& problem) {
    return Error{Code::internal, fmt::format("{}; report this as a defect", problem.what())};
  }
}

// One line, whatever the message holds.
std::string one_line(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  return text;
}

}  // namespace

ExitCode exit_code(Code code) {
  switch (code) {
    case Code::invalid_argument: return ExitCode::usage;
    case Code::not_found: return ExitCode::not_found;
    case Code::corrupt:
    case Code::mismatch:
    case Code::unsupported: return ExitCode::bad_data;
    case Code::io:
    case Code::no_space:
    case Code::permission: return ExitCode::system;
    case Code::busy: return ExitCode::busy;
    case Code::cancelled: return ExitCode::interrupted;
    case Code::internal: return ExitCode::internal;
  }
  return ExitCode::internal;
}

ExitCode run_program(const std::vector<std::string>& arguments, Console& console) {
  CLI::App app("Trains models of Memory Sparse Attention by a recipe", "msa-train");
  app.require_subcommand(1);
  app.footer(kFooter);
  Command chosen;
  for (auto* add : {add_run, add_bench, add_plot, add_export, add_golden, add_tasks, add_make,
                    add_check, add_tokenizer})
    add(app, chosen);
  try {
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    const auto asked = app.get_subcommands();
    console.out(asked.empty() ? app.help() : asked.front()->help());
    return ExitCode::ok;
  } catch (const CLI::ParseError& error) {
    console.error(one_line(fmt::format("{}; see msa-train --help", error.what())));
    return ExitCode::usage;
  }
  const Result<ExitCode> result = run_guarded(chosen, console);
  if (!result) {
    console.error(one_line(result.error().message));
    return exit_code(result.error().code);
  }
  if (console.out_failed()) {
    console.error("standard output: cannot be written; check where it goes");
    return ExitCode::system;
  }
  return *result;
}

}  // namespace msa::trainer
