// What the commands of msa-train share: how each is made known, and what it may print to.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "msa/result.h"

namespace msa::trainer {

// As of the program msa (docs/cli.md).
enum class ExitCode : int {
  ok = 0,
  internal = 1,
  usage = 2,
  not_found = 3,
  bad_data = 4,
  system = 5,
  busy = 6,
  rejected_input = 7,  // the program worked, but what it was to check is not right
  interrupted = 130,
};
ExitCode exit_code(Code code);

// Standard output and standard error of one run.
class Console {
 public:
  explicit Console(bool interactive, size_t width) : interactive_(interactive), width_(width) {}
  // Finishes the progress line.
  ~Console();
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;

  void out(std::string_view text);  // a result, as it is
  void note(std::string_view line);
  void warning(std::string_view line);
  void error(std::string_view line);
  // A line that replaces the one before it, where standard error is a terminal; nothing elsewhere.
  void progress(std::string_view line);
  bool interactive() const { return interactive_; }
  bool out_failed() const { return out_failed_; }  // nobody reads, or the disk is full

 private:
  void line(std::string_view kind, std::string_view text);
  void clear();

  bool interactive_, shown_ = false, out_failed_ = false;
  size_t width_;
};

using Command = std::function<Result<ExitCode>(Console&)>;

void add_run(CLI::App& app, Command& chosen);
void add_golden(CLI::App& app, Command& chosen);
void add_plot(CLI::App& app, Command& chosen);
void add_tasks(CLI::App& app, Command& chosen);
void add_make(CLI::App& app, Command& chosen);
void add_check(CLI::App& app, Command& chosen);
void add_bench(CLI::App& app, Command& chosen);
void add_tokenizer(CLI::App& app, Command& chosen);
void add_export(CLI::App& app, Command& chosen);

// Runs the program: parses, chooses, reports.
ExitCode run_program(const std::vector<std::string>& arguments, Console& console);

}  // namespace msa::trainer
