// msa eval: how right a model answers and routes from memories of growing size.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <span>

#include "cli/format.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/signals.h"
#include "cli/text_layout.h"
#include "eval/evaluate.h"
#include "eval/exam.h"
#include "eval/report.h"
#include "eval/summary.h"
#include "tasks/task.h"

namespace msa::cli {
namespace {

constexpr std::string_view kDefaultSizes = "16K,64K,256K,1M";

struct EvalArguments {
  ModelFlags model;
  EngineFlags engine;
  std::vector<std::string> files, settings;
  std::string task, sizes, split = "test", interleave = "on", original_text = "on", data = "data";
  std::string work, out, plot, baseline = "none", skip_handed_over;
  eval::ExamOptions exam;
  eval::EvalOptions options;
  bool json = false;
};

// What is said about the run, on the terminal and in the results.
struct Prepared {
  eval::Exam exam;
  eval::RunSettings settings;
};

Result<std::shared_ptr<const Task>> open_task(const EvalArguments& arguments, uint64_t seed) {
  TaskOptions options;
  options.split = arguments.split == "train" ? Split::train : Split::test;
  options.seed = seed;
  options.data = arguments.data;
  for (const std::string& setting : arguments.settings) {
    const size_t sign = setting.find('=');
    if (sign == 0 || sign == std::string::npos)
      return Error{Code::invalid_argument,
                   fmt::format("--set: '{}' is not of the form KEY=VALUE", setting)};
    options.settings[setting.substr(0, sign)] = setting.substr(sign + 1);
  }
  MSA_ASSIGN(std::unique_ptr<Task> task, make_task(arguments.task, options));
  return std::shared_ptr<const Task>(std::move(task));
}

Result<Prepared> prepare(const EvalArguments& arguments, uint64_t seed) {
  if (arguments.task.empty() && arguments.files.empty())
    return Error{Code::invalid_argument,
                 "eval: no questions given; pass --task NAME, or files of samples"};
  if (arguments.task.empty() && !arguments.settings.empty())
    return Error{Code::invalid_argument, "eval: --set needs --task"};
  std::shared_ptr<const Task> task;
  if (!arguments.task.empty()) {
    MSA_ASSIGN(task, open_task(arguments, seed));
  }
  eval::ExamOptions options = arguments.exam;
  options.seed = seed;
  Prepared prepared;
  if (arguments.files.empty()) {
    MSA_ASSIGN(prepared.exam, eval::exam_from_task(task, options));
  } else {
    MSA_ASSIGN(prepared.exam, eval::exam_from_files(
                                  {arguments.files.begin(), arguments.files.end()}, task, options));
  }
  eval::RunSettings& settings = prepared.settings;
  if (task) settings = {{"task", arguments.task}, {"split", arguments.split}};
  for (const std::string& file : arguments.files) settings.emplace_back("file", file);
  for (const std::string& setting : arguments.settings)
    settings.emplace_back(setting.substr(0, setting.find('=')),
                          setting.substr(setting.find('=') + 1));
  if (arguments.engine.keys != "auto") settings.emplace_back("keys", arguments.engine.keys);
  if (arguments.engine.content != "mapped")
    settings.emplace_back("content-tier", arguments.engine.content);
  if (arguments.engine.routing != "exact")
    settings.emplace_back("routing", arguments.engine.routing);
  settings.emplace_back("seed", std::to_string(seed));
  return prepared;
}

// Which modes "on", "off" or "both" of the two switches stand for. Without original text there is
// one round whatever the other switch says, so that mode is there once.
std::vector<eval::Mode> modes_of(const EvalArguments& arguments) {
  const auto wants = [](const std::string& value, bool on) {
    return value == "both" || value == (on ? "on" : "off");
  };
  std::vector<eval::Mode> modes;
  if (wants(arguments.original_text, true))
    for (const bool interleave : {true, false})
      if (wants(arguments.interleave, interleave)) modes.push_back({interleave, true});
  if (wants(arguments.original_text, false)) modes.push_back({false, false});
  return modes;
}

std::string default_sizes(const EvalArguments& arguments, const eval::Exam& exam) {
  // A collection is the memory to ask, and files without a task have nothing to fill one up with.
  return exam.collection > 0 || arguments.task.empty() ? "own" : std::string(kDefaultSizes);
}

ProgressState describe(const eval::EvalProgress& now) {
  using Doing = eval::EvalProgress::Doing;
  ProgressState state;
  const bool asking = now.doing == Doing::asking;
  state.doing = now.doing == Doing::planning    ? "planning"
                : now.doing == Doing::encoding  ? "encoding"
                : now.doing == Doing::searching ? "searching"
                                                : "asking";
  if (now.all > 0)
    state.fraction = std::min(1.0, static_cast<double>(now.done) / static_cast<double>(now.all));
  state.facts.push_back("memory of " + to_string(now.size) +
                        (now.memories > 1 ? fmt::format(" {}/{}", now.memory, now.memories) : ""));
  if (asking) {
    state.facts.push_back(to_string(now.mode));
    state.facts.push_back(
        fmt::format("{} of {}", format_count(now.done), counted(now.all, "question", "questions")));
    if (now.done > 0) state.facts.push_back(fmt::format("{:.0f}% right", now.accuracy * 100));
  }
  if (now.doing == Doing::encoding)
    state.facts.push_back(format_rate(now.tokens_per_second) + " tokens/s");
  return state;
}

using Row = std::vector<std::string>;

// Columns of at least the width of what is in them; the first `left` stand left, the others right.
void print_table(Output& out, const std::vector<Row>& rows, size_t left) {
  std::vector<size_t> widths(rows[0].size());
  for (const Row& row : rows)
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], display_width(row[i]));
  for (const Row& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string space(widths[i] - display_width(row[i]), ' ');
      line += (i == 0 ? "" : "  ") + (i < left ? row[i] + space : space + row[i]);
    }
    out.write(line.substr(0, line.find_last_not_of(' ') + 1) + "\n");
  }
}

std::string percent(double share) {
  return fmt::format("{:.1f}", share * 100);
}
std::string percent(const std::optional<double>& share) {
  return share ? percent(*share) : "-";
}
std::string seconds(double milliseconds) {
  return fmt::format("{:.2f}", milliseconds / 1000);
}

void print_report(Session& session, const eval::Exam& exam, const eval::EvalReport& report) {
  Output& out = session.out;
  const std::vector<eval::Summary> summaries = eval::summarise(exam, report);
  if (!summaries.empty()) {
    std::vector<Row> rows = {{"memory", "mode", "kind", "n", "right", "+-", "exact", "F1",
                              "contains", "route@1", fmt::format("@{}", report.top_k), "routed",
                              "later", "brought", "all", "p50 s", "p95 s", "first s"}};
    for (const eval::Summary& s : summaries)
      rows.push_back({to_string(report.sizes[s.size].size), to_string(report.modes[s.mode]),
                      fit(printable_line(s.kind), 28), format_count(s.questions),
                      percent(s.accuracy), percent(s.accuracy_error), percent(s.exact),
                      percent(s.f1), percent(s.contains), percent(s.route_first),
                      percent(s.route_k), percent(s.routed), percent(s.routed_later),
                      percent(s.injected_first), percent(s.injected_all), seconds(s.total_ms_p50),
                      seconds(s.total_ms_p95), seconds(s.first_token_ms_p50)});
    print_table(out, rows, 3);
    out.write("\n");
  }
  const std::vector<eval::KeywordSummary> keyword = eval::summarise_keywords(exam, report);
  if (!keyword.empty()) {
    std::vector<Row> rows = {{"memory", "BM25", "kind", "n", "@1", "@16", "all @16"}};
    for (const eval::KeywordSummary& s : keyword)
      rows.push_back({to_string(report.sizes[s.size].size), "", fit(printable_line(s.kind), 28),
                      format_count(s.questions), percent(s.first), percent(s.in_16),
                      percent(s.all_in_16)});
    print_table(out, rows, 3);
    out.write("\n");
  }
  for (const eval::SizeReport& size : report.sizes) {
    std::string line = fmt::format("{}: ", to_string(size.size));
    if (!size.skipped.empty()) {
      line += "skipped, " + size.skipped;
    } else {
      line += fmt::format(
          "{} of up to {}, {}; encoded {} at {} tokens/s",
          counted(size.memories, "memory", "memories"), counted(size.tokens, "token", "tokens"),
          counted(size.documents, "document", "documents"),
          counted(size.encoded_tokens, "token", "tokens"),
          format_rate(size.encode_seconds > 0
                          ? static_cast<double>(size.encoded_tokens) / size.encode_seconds
                          : 0));
      if (size.left_out > 0)
        line += fmt::format("; left out: {} whose documents are more than that",
                            counted(size.left_out, "question", "questions"));
      if (size.rejected > 0)
        line +=
            fmt::format("; {} not encoded", counted(size.rejected, "passage was", "passages were"));
    }
    out.write(printable_line(line) + "\n");
  }
}

// The first question that failed, for there may be a reason that holds for all.
void note_failures(Session& session, const eval::Exam& exam, const eval::EvalReport& report) {
  uint64_t failed = 0;
  const eval::Outcome* first = nullptr;
  for (const eval::Outcome& outcome : report.outcomes) {
    if (outcome.error.empty()) continue;
    if (first == nullptr) first = &outcome;
    ++failed;
  }
  if (first != nullptr)
    session.console.warning(printable_line(fmt::format(
        "{} could not be asked and {} as wrong; {}: {}", counted(failed, "question", "questions"),
        failed == 1 ? "counts" : "count", exam.questions[first->question].where, first->error)));
}

Result<ExitCode> run_eval(Session& session, const EvalArguments& arguments) {
  MSA_TRY(model_folder(arguments.model.folder));
  eval::EvalOptions options = arguments.options;
  if (!arguments.sizes.empty()) {
    MSA_ASSIGN(options.sizes, eval::parse_memory_sizes(arguments.sizes));
  }
  for (const std::string* file : {&arguments.out, &arguments.plot})
    if (!file->empty()) MSA_TRY(eval::check_writable(*file));
  const uint64_t seed = session.global.seed.value_or(1);
  options.seed = seed;
  options.modes = modes_of(arguments);
  options.bm25 = arguments.baseline == "bm25";
  options.work = arguments.work;
  options.skip_handed_over = skip_handed_over(arguments.skip_handed_over);
  MSA_ASSIGN(options.engine, arguments.engine.resolved());
  MSA_ASSIGN(const Prepared prepared, prepare(arguments, seed));
  const eval::Exam& exam = prepared.exam;
  if (options.sizes.empty()) {
    MSA_ASSIGN(options.sizes, eval::parse_memory_sizes(default_sizes(arguments, exam)));
  }
  if (exam.questions.size() < arguments.exam.questions)
    session.console.note(fmt::format("there are only {}, not {}",
                                     counted(exam.questions.size(), "question", "questions"),
                                     arguments.exam.questions));
  MSA_ASSIGN(const Model model, open_model(session, arguments.model));
  note_random_weights(session, model);

  const auto save = [&](const eval::EvalReport& report) -> Result<void> {
    if (!arguments.out.empty())
      MSA_TRY(eval::write_file(arguments.out,
                               eval::report_json(exam, report, prepared.settings, true, 1) + "\n"));
    if (!arguments.plot.empty())
      MSA_TRY(eval::write_file(arguments.plot, eval::draw_svg(eval::report_plot(exam, report))));
    return {};
  };
  eval::EvalReport report;
  const Result<void> done = [&] {
    StopOnSignal stop;
    Progress progress(session.console);
    const eval::EvalCallbacks callbacks{
        [&](const eval::EvalProgress& now) { progress.update([&] { return describe(now); }); },
        save};
    return eval::evaluate(model, exam, options, callbacks, stop.token(), report);
  }();
  note_failures(session, exam, report);
  if (arguments.json)
    session.out.write(eval::report_json(exam, report, prepared.settings, false, -1) + "\n");
  else
    print_report(session, exam, report);
  session.out.flush();
  if (!done) {
    // What was answered before the failure is kept as well.
    (void)save(report);
    return done.error();
  }
  if (report.stopped) {
    MSA_TRY(save(report));
    return Error{Code::cancelled,
                 fmt::format("eval: stopped after {}; the results are those so far",
                             counted(report.outcomes.size(), "answer", "answers"))};
  }
  if (report.outcomes.empty())
    return Error{Code::invalid_argument,
                 "eval: no memory size was large enough for its questions' documents; pass larger "
                 "ones, or --tokens own"};
  return ExitCode::ok;
}

std::string tasks_help() {
  std::string text = "Tasks and what --set changes:\n";
  for (const TaskDescription& task : known_tasks()) {
    text += fmt::format("  {}: {}\n", task.name, task.summary);
    for (const auto& [name, meaning] : task.settings)
      text += fmt::format("      {}: {}\n", name, meaning);
  }
  return text;
}

}  // namespace

void add_eval(CLI::App& app, Command& chosen) {
  auto arguments = std::make_shared<EvalArguments>();
  EvalArguments& a = *arguments;
  CLI::App& command =
      *app.add_subcommand("eval", "Measure answers and routing over memories of growing size");
  command.add_option("FILE", a.files,
                     "Samples with known answers (JSON Lines, docs/evaluation.md)");
  add_model_flags(command, a.model);
  command.add_option("--task", a.task, "Maker of questions; with FILE, of what fills memories up")
      ->type_name("NAME");
  command.add_option("--set", a.settings, "A setting of the task; may be given several times")
      ->type_name("KEY=VALUE")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false);
  command
      .add_option("--split", a.split,
                  "Names, texts and phrasings: test, or train (seen in training)")
      ->type_name("NAME")
      ->check(one_of({"test", "train"}))
      ->capture_default_str();
  command.add_option("--data", a.data, "Folder of the files that tasks read")
      ->type_name("FOLDER")
      ->capture_default_str();
  command
      .add_option("--tokens", a.sizes,
                  "Memory sizes: 16K,1M (tokens), 2048docs, own (the questions' documents) "
                  "[16K,64K,256K,1M; own for a task with a collection and for files alone]")
      ->type_name("SIZE,…");
  command
      .add_option("--questions", a.exam.questions, "How many questions to ask per size and mode")
      ->type_name("N")
      ->check(whole_number(1, 1'000'000))
      ->capture_default_str();
  command
      .add_option("--per-sample", a.exam.per_sample,
                  "At most so many questions of one sample [1 with a collection, else all]")
      ->type_name("N")
      ->check(whole_number(1, 1'000'000));
  const auto add_switch = [&](const char* name, std::string& value, const char* description) {
    command.add_option(name, value, description)
        ->type_name("WHICH")
        ->check(one_of({"on", "off", "both"}))
        ->capture_default_str();
  };
  add_switch("--interleave", a.interleave, "Several rounds of retrieval (on) or one (off)");
  add_switch("--original-text", a.original_text,
             "Hand over documents' texts (on) or answer from the memory alone (off)");
  add_top_k_flag(command, a.options.top_k);
  add_skip_handed_over_flag(command, a.skip_handed_over);
  add_engine_flags(command, a.engine);
  command.add_option("--max-tokens", a.options.max_tokens, "Generated tokens per question")
      ->type_name("N")
      ->check(whole_number(1, 1'000'000))
      ->capture_default_str();
  command
      .add_option("--passage-tokens", a.options.passage_tokens,
                  "Longer documents are split into passages of at most so many tokens")
      ->type_name("N")
      ->check(whole_number(16, 1'000'000))
      ->capture_default_str();
  command.add_option("--baseline", a.baseline, "Compare with keyword search: bm25 or none")
      ->type_name("NAME")
      ->check(one_of({"none", "bm25"}))
      ->capture_default_str();
  command
      .add_option("--work", a.work,
                  "Keep memories here and use them again [a temporary folder, removed]")
      ->type_name("FOLDER");
  command.add_option("--out", a.out, "Write results, every answer among them, as JSON")
      ->type_name("FILE");
  command.add_option("--plot", a.plot, "Draw accuracy over memory size")->type_name("FILE.svg");
  add_json_flag(command, a.json);
  command.footer(
      "Columns are explained in docs/evaluation.md. The seed (default 1) draws questions and the\n"
      "order of documents.\n\n" +
      tasks_help() +
      "\nExamples:\n"
      "  msa eval --task needle -m models/demo --tokens 16K,256K,10M --out results.json\n"
      "  msa eval --task factbook -m models/demo --questions 300 --baseline bm25\n"
      "  msa eval samples.jsonl --task prose --tokens 64K -m models/demo --plot curve.svg\n");
  command.callback([&chosen, arguments] {
    chosen = [arguments](Session& session) { return run_eval(session, *arguments); };
  });
}

}  // namespace msa::cli
