// Commands about samples: tasks, make, check.
#include <fmt/format.h>

#include <cctype>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/files.h"
#include "samples/sample_lines.h"
#include "samples/sample_source.h"
#include "tasks/task.h"
#include "text/prompt.h"
#include "text/tokenizer.h"
#include "trainer/command.h"
#include "trainer/format.h"

namespace msa::trainer {
namespace {

constexpr uint64_t kMostSamples = uint64_t{1} << 40;

Result<ExitCode> list_tasks(bool json, Console& console) {
  if (json) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const TaskDescription& task : known_tasks()) {
      nlohmann::ordered_json settings = nlohmann::ordered_json::object();
      for (const auto& [name, what] : task.settings) settings[name] = what;
      list.push_back({{"name", task.name}, {"summary", task.summary}, {"settings", settings}});
    }
    console.out(list.dump(2) + "\n");
    return ExitCode::ok;
  }
  for (const TaskDescription& task : known_tasks()) {
    console.out(fmt::format("{}: {}\n", task.name, task.summary));
    for (const auto& [name, what] : task.settings)
      console.out(fmt::format("    {:<18} {}\n", name, what));
  }
  return ExitCode::ok;
}

struct MakeFlags {
  std::string task, out, split = "train", data = "data";
  uint64_t samples = 0, seed = 1, first = 0;
  std::vector<std::string> settings;
};

Result<ExitCode> make_samples(const MakeFlags& flags, Console& console) {
  TaskOptions options;
  options.split = flags.split == "test" ? Split::test : Split::train;
  options.seed = flags.seed;
  options.data = flags.data;
  for (const std::string& setting : flags.settings) {
    const size_t equals = setting.find('=');
    if (equals == 0 || equals == setting.npos)
      return Error{Code::invalid_argument,
                   fmt::format("--set '{}': is not of the form key=value; write for example --set "
                               "{}=8",
                               setting, equals == 0 ? "documents" : setting)};
    if (!options.settings.emplace(setting.substr(0, equals), setting.substr(equals + 1)).second)
      return Error{Code::invalid_argument, fmt::format("--set '{}': that key is set twice; set it "
                                                       "once",
                                                       setting)};
  }
  MSA_ASSIGN(const std::unique_ptr<Task> task, make_task(flags.task, options));
  uint64_t bytes = 0;
  const auto line_of = [&](uint64_t i) {
    std::string line = write_sample(task->sample(flags.first + i)) + "\n";
    bytes += line.size();
    return line;
  };
  if (flags.out == "-") {
    for (uint64_t i = 0; i < flags.samples && !console.out_failed(); ++i) console.out(line_of(i));
    return ExitCode::ok;
  }
  MSA_ASSIGN(AtomicFileWriter writer, AtomicFileWriter::create(flags.out));
  for (uint64_t i = 0; i < flags.samples; ++i) {
    const std::string line = line_of(i);
    MSA_TRY(writer.write(std::as_bytes(std::span(line.data(), line.size()))));
  }
  MSA_TRY(writer.commit());
  console.out(fmt::format("{}: {} samples, {}\n", flags.out, flags.samples, bytes_text(bytes)));
  return ExitCode::ok;
}

struct CheckFlags {
  std::string file, tokenizer;
  bool json = false;
};

Result<ExitCode> check_samples(const CheckFlags& flags, Console& console) {
  std::shared_ptr<const Tokenizer> tokenizer;
  if (!flags.tokenizer.empty()) {
    MSA_ASSIGN(tokenizer, Tokenizer::load(flags.tokenizer));
  }
  constexpr size_t kMostReported = 20;
  uint64_t samples = 0, documents = 0, questions = 0, steps = 0, bad = 0;
  uint64_t document_tokens_all = 0, question_tokens_all = 0, longest = 0;
  const auto count = [&](std::string_view line, uint32_t number) -> Result<void> {
    const Result<Sample> sample = parse_sample(line, fmt::format("{}:{}", flags.file, number));
    if (!sample) {
      if (++bad <= kMostReported) console.warning(sample.error().message);
      return {};
    }
    ++samples;
    documents += sample->documents.size();
    questions += sample->questions.size();
    for (const SampleQuestion& question : sample->questions) {
      steps += question.steps.size();
      if (tokenizer)
        question_tokens_all += question_tokens(*tokenizer, question.question).tokens.size();
    }
    if (!tokenizer) return {};
    for (const SampleDocument& document : sample->documents) {
      const size_t tokens =
          document_tokens(*tokenizer, 0, document_text(document.title, document.text)).size();
      document_tokens_all += tokens;
      longest = std::max<uint64_t>(longest, tokens);
    }
    return {};
  };
  MSA_TRY(for_each_sample_line(flags.file, count));
  if (flags.json) {
    nlohmann::ordered_json json = {{"samples", samples},
                                   {"bad_lines", bad},
                                   {"documents", documents},
                                   {"questions", questions},
                                   {"retrieval_steps", steps}};
    if (tokenizer) {
      json["document_tokens"] = document_tokens_all;
      json["question_tokens"] = question_tokens_all;
      json["longest_document_tokens"] = longest;
    }
    console.out(json.dump() + "\n");
  } else {
    console.out(fmt::format("{}: {} samples, {} documents, {} questions, {} retrieval steps\n",
                            flags.file, samples, documents, questions, steps));
    if (tokenizer)
      console.out(fmt::format("{} document tokens (longest {}), {} question tokens\n",
                              document_tokens_all, longest, question_tokens_all));
  }
  if (bad > 0)
    return Error{
        Code::corrupt,
        fmt::format(
            "{}: {} of {} lines are bad{}; correct or remove them", flags.file, bad, samples + bad,
            bad > kMostReported ? fmt::format(", the first {} are shown", kMostReported) : "")};
  if (samples == 0)
    return Error{Code::corrupt, fmt::format("{}: holds no sample; give JSON Lines", flags.file)};
  return ExitCode::ok;
}

}  // namespace

void add_tasks(CLI::App& app, Command& chosen) {
  CLI::App* command = app.add_subcommand("tasks", "List the makers of samples and their settings");
  auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "Print as JSON");
  command->callback([json, &chosen] {
    chosen = [json](Console& console) { return list_tasks(*json, console); };
  });
}

void add_make(CLI::App& app, Command& chosen) {
  CLI::App* command = app.add_subcommand("make", "Write samples of a maker as JSON Lines");
  auto flags = std::make_shared<MakeFlags>();
  command->add_option("task", flags->task, "Maker (msa-train tasks)")->required();
  command->add_option("-o,--out", flags->out, "File to write; -: standard output")
      ->type_name("FILE.jsonl")
      ->required();
  command->add_option("-n,--samples", flags->samples, "How many")
      ->type_name("N")
      ->required()
      ->check(CLI::Range(uint64_t{1}, kMostSamples));
  command->add_option("--first", flags->first, "Number of the first sample")
      ->type_name("N")
      ->capture_default_str();
  command->add_option("--split", flags->split, "train or test")
      ->check(CLI::IsMember({"train", "test"}))
      ->capture_default_str();
  command->add_option("--seed", flags->seed, "Seed")->type_name("N")->capture_default_str();
  command->add_option("--set", flags->settings, "A setting of the maker; may be repeated")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  command->add_option("--data", flags->data, "Folder of the files that makers read")
      ->type_name("FOLDER")
      ->capture_default_str();
  command->callback([flags, &chosen] {
    chosen = [flags](Console& console) { return make_samples(*flags, console); };
  });
}

void add_check(CLI::App& app, Command& chosen) {
  CLI::App* command = app.add_subcommand("check", "Read a file of samples and count what it holds");
  auto flags = std::make_shared<CheckFlags>();
  command->add_option("file", flags->file, "Samples, one JSON object per line")
      ->type_name("FILE.jsonl")
      ->required();
  command->add_option("--tokenizer", flags->tokenizer, "Count tokens with this tokenizer.json")
      ->type_name("FILE");
  command->add_flag("--json", flags->json, "Print the counts as JSON");
  command->callback([flags, &chosen] {
    chosen = [flags](Console& console) { return check_samples(*flags, console); };
  });
}

}  // namespace msa::trainer
