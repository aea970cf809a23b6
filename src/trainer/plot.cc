#include "train/loop/plot.h"

#include <fmt/format.h>

#include <filesystem>
#include <memory>

#include "base/files.h"
#include "trainer/command.h"

namespace msa::trainer {
namespace {

struct PlotFlags {
  std::string log, out, title;
};

Result<ExitCode> plot(const PlotFlags& flags, Console& console) {
  MSA_ASSIGN(const std::vector<train::LogRecord> records, train::read_log(flags.log));
  MSA_ASSIGN(const std::string svg,
             train::plot_svg(records, flags.title.empty() ? flags.log : flags.title));
  if (flags.out == "-") {
    console.out(svg);
    return ExitCode::ok;
  }
  const std::filesystem::path file =
      flags.out.empty() ? std::filesystem::path(flags.log).replace_filename("curves.svg")
                        : std::filesystem::path(flags.out);
  MSA_ASSIGN(AtomicFileWriter writer, AtomicFileWriter::create(file));
  MSA_TRY(writer.write(std::as_bytes(std::span(svg.data(), svg.size()))));
  MSA_TRY(writer.commit());
  console.out(fmt::format("{}: {} records\n", file.string(), records.size()));
  return ExitCode::ok;
}

}  // namespace

void add_plot(CLI::App& app, Command& chosen) {
  CLI::App* command = app.add_subcommand("plot", "Draw the curves of a run as SVG");
  auto flags = std::make_shared<PlotFlags>();
  command->add_option("log", flags->log, "A run's log.jsonl")->type_name("LOG.jsonl")->required();
  command
      ->add_option("-o,--out", flags->out, "File to write; -: standard output [curves.svg beside]")
      ->type_name("FILE.svg");
  command->add_option("--title", flags->title, "Title of the drawing [the log's path]")
      ->type_name("TEXT");
  command->callback(
      [flags, &chosen] { chosen = [flags](Console& console) { return plot(*flags, console); }; });
}

}  // namespace msa::trainer
