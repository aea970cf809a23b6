// What a command is given, and how commands are made known.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "cli/exit_code.h"
#include "cli/output.h"
#include "cli/terminal.h"
#include "msa/msa.h"

namespace msa::cli {

// Options before or after any command.
struct GlobalOptions {
  int threads = 0;
  std::optional<uint64_t> seed;
  int verbose = 0;  // 1: information, 2: everything
};

// One run of the program.
struct Session {
  Output& out;        // results
  Terminal terminal;  // where results go
  Console& console;   // everything else
  GlobalOptions global;
};

// What was asked for on the command line, ready to run. A failure is one Error; work that was done
// but not as wished is another exit code, after the command has said why.
using Command = std::function<Result<ExitCode>(Session&)>;

// Each adds one command to `app`. When the command line names it, `chosen` becomes what runs it.
void add_encode(CLI::App& app, Command& chosen);
void add_ask(CLI::App& app, Command& chosen);
void add_chat(CLI::App& app, Command& chosen);
void add_route(CLI::App& app, Command& chosen);
void add_memory(CLI::App& app, Command& chosen);
void add_model(CLI::App& app, Command& chosen);
void add_tokenize(CLI::App& app, Command& chosen);
void add_eval(CLI::App& app, Command& chosen);
void add_bench(CLI::App& app, Command& chosen);
void add_plan(CLI::App& app, Command& chosen);

}  // namespace msa::cli
