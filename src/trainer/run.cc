#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>

#include "text/tokenizer.h"
#include "train/loop/train.h"
#include "trainer/command.h"
#include "trainer/data.h"
#include "trainer/format.h"
#include "trainer/signals.h"

namespace msa::trainer {
namespace {

using Clock = std::chrono::steady_clock;

// How often a run into a file or pipe says how it is going, and how often a terminal is redrawn.
constexpr auto kPlainEvery = std::chrono::seconds(30);
constexpr auto kRedrawEvery = std::chrono::milliseconds(200);

struct RunFlags {
  std::string recipe, out, device = "cpu", init;
  bool resume = false, json = false;
  int threads = 0;
};

// Shows a run on the terminal.
class Reporter final : public train::TrainObserver {
 public:
  explicit Reporter(Console& console) : console_(console) {}

  void progress(const train::TrainProgress& p) override {
    const Clock::time_point now = Clock::now();
    if (console_.interactive() ? now - drawn_ < kRedrawEvery : now - drawn_ < kPlainEvery) return;
    drawn_ = now;
    const std::string line = progress_text(p);
    if (console_.interactive())
      console_.progress(line);
    else
      console_.note(line);
  }
  void logged(const train::LogRecord& record) override {
    if (record.evaluation) console_.note(evaluation_text(record));
  }
  void message(std::string_view text) override { console_.note(text); }
  void warning(std::string_view text) override { console_.warning(text); }

 private:
  Console& console_;
  Clock::time_point drawn_;
};

std::string outcome_json(const train::TrainOutcome& outcome) {
  const nlohmann::ordered_json json = {
      {"stopped", outcome.stopped}, {"steps", outcome.steps},
      {"tokens", outcome.tokens},   {"skipped_steps", outcome.skipped_steps},
      {"seconds", outcome.seconds}, {"model", outcome.model.string()}};
  return json.dump() + "\n";
}

Result<ExitCode> run_training(const RunFlags& flags, Console& console) {
  MSA_ASSIGN(const train::Recipe recipe, train::read_recipe(flags.recipe));
  MSA_ASSIGN(std::shared_ptr<const Tokenizer> tokenizer, Tokenizer::load(recipe.tokenizer));
  train::TrainOptions options;
  options.out = flags.out;
  options.resume = flags.resume;
  options.threads = flags.threads;
  options.device = flags.device;
  options.init = flags.init;
  options.stop = stop_requested;
  catch_stop_signals();
  Reporter reporter(console);
  MSA_ASSIGN(const train::TrainOutcome outcome,
             train::train(recipe, batcher_maker(recipe.data_folder, std::move(tokenizer)), options,
                          reporter));
  if (flags.json)
    console.out(outcome_json(outcome));
  else
    console.out(fmt::format(
        "{} {} steps, {} tokens in {}{}; model: {}\n",
        outcome.stopped ? "stopped and saved after" : "trained", outcome.steps, outcome.tokens,
        duration_text(outcome.seconds),
        outcome.skipped_steps > 0 ? fmt::format(" ({} steps skipped)", outcome.skipped_steps) : "",
        outcome.model.string()));
  return outcome.stopped ? ExitCode::interrupted : ExitCode::ok;
}

}  // namespace

void add_run(CLI::App& app, Command& chosen) {
  CLI::App* command = app.add_subcommand("run", "Train a model by a recipe");
  auto flags = std::make_shared<RunFlags>();
  command->add_option("recipe", flags->recipe, "Recipe (docs/training.md)")
      ->type_name("RECIPE.json")
      ->required();
  command->add_option("-o,--out", flags->out, "Folder for the model, the log and checkpoints")
      ->type_name("FOLDER")
      ->required();
  command->add_flag("--resume", flags->resume, "Go on from the newest checkpoint in the folder");
  command->add_option("--threads", flags->threads, "Threads; 0: one per core")
      ->type_name("N")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
  command->add_option("--device", flags->device, "cpu, cuda or cuda:N")
      ->type_name("NAME")
      ->capture_default_str();
  command->add_option("--init", flags->init, "Start from the weights of this checkpoint folder")
      ->type_name("FOLDER");
  command->add_flag("--json", flags->json, "Print the outcome as JSON");
  command->callback([flags, &chosen] {
    chosen = [flags](Console& console) { return run_training(*flags, console); };
  });
}

}  // namespace msa::trainer
