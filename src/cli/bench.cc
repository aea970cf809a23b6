// msa bench: speeds of this machine with this model, each with the limit it is a share of.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "cli/format.h"
#include "cli/json_output.h"
#include "cli/options.h"
#include "cli/signals.h"
#include "cli/text_layout.h"

namespace msa::cli {
namespace {

struct BenchArguments {
  ModelFlags model;
  BenchOptions options;
  std::vector<std::string> only;
  bool json = false;
};

void print_table(Session& session, const BenchReport& report) {
  std::vector<std::vector<std::string>> rows = {{"name", "value", "unit", "limit", "share"}};
  for (const BenchFigure& f : report.figures)
    rows.push_back({printable_line(f.name), format_number(f.value), printable_line(f.unit),
                    f.limit > 0 ? format_number(f.limit) : "-",
                    f.limit > 0 ? fmt::format("{:.0f}%", f.share * 100) : "-"});
  std::vector<size_t> widths(rows[0].size());
  for (const auto& row : rows)
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], display_width(row[i]));
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string space(widths[i] - display_width(row[i]), ' ');
      const bool text = i == 0 || i == 2;  // names and units stand left, numbers right
      line += (i == 0 ? "" : "  ") + (text ? row[i] + space : space + row[i]);
    }
    session.out.write(line + "\n");
  }
  session.out.write("\n");
  for (const BenchFigure& f : report.figures) {
    if (f.limit > 0)
      session.out.write(fmt::format("{}: limit is the {}\n", printable_line(f.name),
                                    printable_line(f.limit_name)));
    if (!f.note.empty())
      session.out.write(fmt::format("{}: {}\n", printable_line(f.name), printable_line(f.note)));
  }
  session.out.write(fmt::format("machine: {}\n", printable_line(report.machine)));
  if (!report.model.empty())
    session.out.write(fmt::format("model: {}\n", printable_line(report.model)));
  session.out.write(fmt::format("peak memory: {}\n", format_bytes(report.peak_resident_bytes)));
}

Result<ExitCode> run_bench(Session& session, const BenchArguments& arguments) {
  BenchOptions options = arguments.options;
  options.seed = session.global.seed.value_or(options.seed);
  const auto wanted = [&](const char* name) {
    return arguments.only.empty() ||
           std::find(arguments.only.begin(), arguments.only.end(), name) != arguments.only.end();
  };
  options.encode = wanted("encode");
  options.generate = wanted("generate");
  options.route = wanted("route");
  // Building one takes long: only where it is asked for.
  options.index = !arguments.only.empty() && wanted("index");
  const bool with_model = !arguments.model.folder.empty();
  if (!with_model && !arguments.only.empty() && (options.encode || options.generate))
    MSA_TRY(model_folder(arguments.model.folder));

  const auto progress = [&](const BenchFigure& f) {
    session.console.line(fmt::format("{}: {} {}", f.name, format_number(f.value), f.unit));
  };
  Result<BenchReport> report = [&]() -> Result<BenchReport> {
    if (!with_model) {
      if (arguments.only.empty()) session.console.note("no --model: routing alone is measured");
      StopOnSignal stop;
      return benchmark_routing(options, session.global.threads, progress, stop.token());
    }
    MSA_ASSIGN(const Model model, open_model(session, arguments.model));
    StopOnSignal stop;
    return benchmark(model, options, progress, stop.token());
  }();
  if (!report) return std::move(report).error();
  if (arguments.json)
    session.out.write(dump(to_json(*report)) + "\n");
  else
    print_table(session, *report);
  return ExitCode::ok;
}

}  // namespace

void add_bench(CLI::App& app, Command& chosen) {
  auto arguments = std::make_shared<BenchArguments>();
  BenchOptions& o = arguments->options;
  CLI::App& command = *app.add_subcommand("bench", "Measure encoding, routing and generation");
  add_model_flags(command, arguments->model);
  command
      .add_option("--only", arguments->only,
                  "encode, generate, route, index or several [the first three]")
      ->type_name("NAME,…")
      ->delimiter(',')
      ->check(one_of({"encode", "generate", "route", "index"}));
  const auto size = [&](const char* name, size_t& value, uint64_t most, const char* description) {
    command.add_option(name, value, description)
        ->type_name("N")
        ->check(whole_number(1, most))
        ->capture_default_str();
  };
  size("--encode-tokens", o.encode_tokens, 100'000'000, "Tokens to encode");
  size("--generate-tokens", o.generate_tokens, 1'000'000, "Tokens to generate");
  size("--route-chunks", o.route_chunks, 100'000'000, "Chunks to route over");
  size("--route-tokens", o.route_tokens, 100'000, "Routing tokens of the question");
  size("--index-chunks", o.index_chunks, 10'000'000, "Chunks to index");
  add_json_flag(command, arguments->json);
  command.footer(
      "Every figure is printed with a limit measured in the same run, and its share of it.\n"
      "Without a model, routing alone is measured.\n\n"
      "Examples:\n"
      "  msa bench --model models/MSA-4B\n"
      "  msa bench --only route --route-chunks 1562500 --json\n"
      "  msa bench --only index --index-chunks 1000000\n");
  command.callback([&chosen, arguments] {
    chosen = [arguments](Session& session) { return run_bench(session, *arguments); };
  });
}

}  // namespace msa::cli
