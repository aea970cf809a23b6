#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "tasks/train_tokenizer.h"
#include "trainer/command.h"
#include "trainer/format.h"

namespace msa::trainer {
namespace {

struct TokenizerFlags {
  std::vector<std::string> texts;
  std::string out, held_out;
  size_t vocabulary = 4096;
  bool json = false;
};

Result<ExitCode> learn(const TokenizerFlags& flags, Console& console) {
  TokenizerTraining training;
  for (const std::string& argument : flags.texts) {
    MSA_ASSIGN(TokenizerTexts texts, parse_tokenizer_texts(argument));
    training.texts.push_back(std::move(texts));
  }
  training.held_out = flags.held_out;
  training.bpe.vocabulary = flags.vocabulary;
  training.on_problem = [&](const DocumentProblem& problem) {
    console.warning(fmt::format("{}: {}", problem.where, problem.what));
  };
  MSA_ASSIGN(const BpeSummary summary, train_tokenizer(training, flags.out));
  const double characters_per_token =
      static_cast<double>(summary.characters) / std::max(1.0, static_cast<double>(summary.tokens));
  if (flags.json) {
    const nlohmann::ordered_json json = {{"vocabulary", summary.vocabulary},
                                         {"merges", summary.merges},
                                         {"texts", summary.texts},
                                         {"characters", summary.characters},
                                         {"tokens", summary.tokens}};
    console.out(json.dump() + "\n");
    return ExitCode::ok;
  }
  console.out(
      fmt::format("{}: {} tokens in the vocabulary, learned from {} texts of {} characters; "
                  "{:.2f} characters per token\n",
                  flags.out, summary.vocabulary, summary.texts,
                  count_text(static_cast<double>(summary.characters)), characters_per_token));
  return ExitCode::ok;
}

}  // namespace

void add_tokenizer(CLI::App& app, Command& chosen) {
  CLI::App* command = app.add_subcommand("tokenizer", "Learn a tokenizer from texts");
  auto flags = std::make_shared<TokenizerFlags>();
  command
      ->add_option("texts", flags->texts,
                   "Files or folders of documents; PATH@first=N takes the first N documents, "
                   "PATH@weight=N counts them N times")
      ->type_name("PATH")
      ->required();
  command->add_option("-o,--out", flags->out, "File to write")
      ->type_name("tokenizer.json")
      ->required();
  command->add_option("--vocabulary", flags->vocabulary, "Most entries")
      ->type_name("N")
      ->check(CLI::Range(size_t{261}, size_t{1} << 24))
      ->capture_default_str();
  command
      ->add_option("--held-out", flags->held_out,
                   "File of titles, one a line, whose documents are left out")
      ->type_name("FILE");
  command->add_flag("--json", flags->json, "Print the summary as JSON");
  command->callback(
      [flags, &chosen] { chosen = [flags](Console& console) { return learn(*flags, console); }; });
}

}  // namespace msa::trainer
