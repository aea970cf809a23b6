// msa memory index: builds the index that approximate routing searches, and measures it.
#include "cli/memory_index.h"

#include <fmt/format.h>

#include <cerrno>
#include <fstream>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "cli/format.h"
#include "cli/json_output.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/questions.h"
#include "cli/signals.h"

namespace msa::cli {
namespace {

// More would take long to ask and change the figures little.
constexpr size_t kMostQuestions = 10'000;

struct IndexArguments {
  ModelFlags model;
  std::string bank, type = "ivf", questions;
  IndexOptions options;
  bool json = false;
};

// The questions of a file of JSON Lines with {"id","question"}. One that is bad is an error: a
// measurement should be of what was asked for.
Result<std::vector<std::string>> read_questions(const std::string& path) {
  std::ifstream file(path);
  if (!file)
    return Error{errno == EACCES ? Code::permission : Code::not_found,
                 fmt::format("{}: cannot be opened: {}; pass a file of questions, one JSON object "
                             "with \"id\" and \"question\" per line",
                             path, std::generic_category().message(errno))};
  std::vector<std::string> questions;
  std::string line;
  for (size_t number = 1; std::getline(file, line); ++number) {
    std::string_view text = line;
    if (number == 1 && text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
    if (text.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    Result<Question> question = parse_question(text);
    if (!question)
      return Error{Code::invalid_argument,
                   fmt::format("{}:{}: {}", path, number, question.error().message)};
    if (questions.size() == kMostQuestions)
      return Error{Code::invalid_argument,
                   fmt::format("{}: more than {} questions; a few hundred are enough", path,
                               kMostQuestions)};
    questions.push_back(std::move(question->text));
  }
  if (file.bad())
    return Error{Code::io, fmt::format("{}: cannot be read: {}", path,
                                       std::generic_category().message(errno))};
  if (questions.empty())
    return Error{Code::invalid_argument,
                 fmt::format("{}: holds no question; write at least one", path)};
  return questions;
}

ProgressState describe(const IndexProgress& now) {
  using Stage = IndexProgress::Stage;
  ProgressState state;
  state.doing = now.stage == Stage::asking     ? "asking"
                : now.stage == Stage::building ? "indexing"
                                               : "measuring";
  if (now.all > 0) state.fraction = static_cast<double>(now.done) / static_cast<double>(now.all);
  state.facts = {fmt::format("{} of {} {}", format_count(now.done), format_count(now.all),
                             now.stage == Stage::building ? "keys" : "questions")};
  return state;
}

std::string times_fewer(double exact, double bytes) {
  return bytes > 0 ? fmt::format("{:.1f}", exact / bytes) : "-";
}

Json to_json(const IndexReport& report, const std::string& type) {
  Json layers = Json::array();
  for (const IndexedLayer& layer : report.layers)
    layers.push_back({{"layer", layer.layer},
                      {"probes", layer.probes},
                      {"candidates", layer.candidates},
                      {"recall", json_number(layer.recall)},
                      {"question_bytes", json_number(layer.question_bytes)},
                      {"exact_bytes", json_number(layer.exact_bytes)},
                      {"bytes", layer.bytes}});
  return {{"type", type},
          {"lists", report.lists},
          {"documents", report.documents},
          {"chunks", report.chunks},
          {"left_out", report.left_out},
          {"questions", report.questions},
          {"real_questions", report.real_questions},
          {"question_tokens", json_number(report.question_tokens)},
          {"recall", json_number(report.recall)},
          {"question_bytes", json_number(report.question_bytes)},
          {"exact_bytes", json_number(report.exact_bytes)},
          {"bytes", report.bytes},
          {"build_seconds", json_number(report.build_seconds)},
          {"measure_seconds", json_number(report.measure_seconds)},
          {"layers", std::move(layers)}};
}

void print(Session& session, const IndexReport& report, const IndexArguments& arguments) {
  Output& out = session.out;
  out.write(fmt::format("{:>5}  {:>6}  {:>10}  {:>9}  {:>12}  {:>12}  {:>5}\n", "layer", "probes",
                        "candidates", "recall@16", "read", "exact scan", "fewer"));
  const auto bytes = [](double value) { return format_bytes(static_cast<uint64_t>(value)); };
  for (const IndexedLayer& layer : report.layers)
    out.write(fmt::format("{:>5}  {:>6}  {:>10}  {:>8.2f}%  {:>12}  {:>12}  {:>5}\n", layer.layer,
                          layer.probes, 16 * layer.candidates, 100 * layer.recall,
                          bytes(layer.question_bytes), bytes(layer.exact_bytes),
                          times_fewer(layer.exact_bytes, layer.question_bytes)));
  out.write(fmt::format("{:>5}  {:>6}  {:>10}  {:>8.2f}%  {:>12}  {:>12}  {:>5}\n", "all", "", "",
                        100 * report.recall, bytes(report.question_bytes),
                        bytes(report.exact_bytes),
                        times_fewer(report.exact_bytes, report.question_bytes)));
  out.write(
      fmt::format("measured with {} of {:.1f} routing tokens ({}); {} others chose the probes\n",
                  counted(report.questions - report.questions / 2, "question", "questions"),
                  report.question_tokens,
                  report.real_questions ? arguments.questions : "keys of the bank with noise",
                  format_count(report.questions / 2)));
  out.write(fmt::format("indexed {}, {} in {} lists per layer, {} in {} and measured in {}\n",
                        counted(report.documents, "document", "documents"),
                        counted(report.chunks, "chunk", "chunks"), format_count(report.lists),
                        format_bytes(report.bytes), format_duration(report.build_seconds),
                        format_duration(report.measure_seconds)));
  if (report.left_out > 0)
    out.write(
        fmt::format("left out: {} of segments with values that are not finite; every "
                    "question scans them\n",
                    counted(report.left_out, "chunk", "chunks")));
}

Result<ExitCode> run_index(Session& session, const IndexArguments& arguments) {
  MSA_ASSIGN(const std::filesystem::path folder, bank_folder(arguments.bank));
  IndexOptions options = arguments.options;
  options.type = arguments.type == "ivfpq" ? IndexType::ivfpq : IndexType::ivf;
  options.threads = session.global.threads;
  options.seed = session.global.seed.value_or(options.seed);
  // The cheap checks first: a mistyped path should not wait for the model.
  if (!arguments.questions.empty()) {
    MSA_TRY(model_folder(arguments.model.folder));
    MSA_ASSIGN(options.questions, read_questions(arguments.questions));
  }
  MSA_ASSIGN(const Bank bank, Bank::open(folder));
  if (!arguments.questions.empty()) {
    MSA_ASSIGN(options.model, open_model(session, arguments.model));
    note_random_weights(session, *options.model);
  }
  const Result<IndexReport> report = [&] {
    StopOnSignal stop;
    Progress progress(session.console);
    return build_index(
        bank, options,
        [&](const IndexProgress& now) { progress.update([&] { return describe(now); }); },
        stop.token());
  }();
  if (!report) return report.error();
  if (arguments.json)
    session.out.write(dump(to_json(*report, arguments.type)) + "\n");
  else
    print(session, *report, arguments);
  if (report->recall < options.recall)
    session.console.note(fmt::format(
        "recall is below the {:.2f}% asked for; with more questions the estimate is better",
        100 * options.recall));
  return ExitCode::ok;
}

}  // namespace

void add_memory_index(CLI::App& memory, Command& chosen) {
  auto arguments = std::make_shared<IndexArguments>();
  IndexOptions& o = arguments->options;
  CLI::App& command =
      *memory.add_subcommand("index", "Build an index for --routing approximate, and measure it");
  add_bank_flag(command, arguments->bank);
  add_model_flags(command, arguments->model);
  command
      .add_option("--type", arguments->type,
                  "ivf: keys as 8 bits a value; ivfpq: as 8 bits for 8 values")
      ->type_name("NAME")
      ->check(one_of({"ivf", "ivfpq"}))
      ->capture_default_str();
  command
      .add_option("--lists", o.lists,
                  "Lists of keys per layer [four times the root of the chunks' number]")
      ->type_name("N")
      ->check(whole_number(1, 1'000'000));
  command.add_option("--recall", o.recall, "Share of the exact scan's 16 best to be found")
      ->type_name("X")
      ->check(real_number(0, 1, false))
      ->capture_default_str();
  command
      .add_option("--questions", arguments->questions,
                  "Measure with these (JSON Lines with \"id\" and \"question\"); needs --model "
                  "[keys of the bank with noise]")
      ->type_name("FILE");
  add_json_flag(command, arguments->json);
  command.footer(
      "Worth it from some hundred thousand chunks on. Recall and bytes read per question are\n"
      "measured against the exact scan. Documents that are added later are scanned exactly;\n"
      "build the index again when they have become many, or after `msa memory compact`.\n\n"
      "Examples:\n"
      "  msa memory index --bank memory\n"
      "  msa memory index -b memory --questions questions.jsonl --model models/MSA-4B\n"
      "  msa memory index -b memory --type ivfpq --recall 0.95 --json\n"
      "  msa ask \"Who designed it?\" -b memory -m models/MSA-4B --routing approximate\n");
  command.callback([&chosen, arguments] {
    chosen = [arguments](Session& session) { return run_index(session, *arguments); };
  });
}

}  // namespace msa::cli
