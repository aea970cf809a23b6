#include "train/model/golden.h"

#include <fmt/format.h>

#include <memory>

#include "trainer/command.h"

namespace msa::trainer {
namespace {

Result<ExitCode> check(const std::string& folder, bool all, Console& console) {
  MSA_ASSIGN(const train::GoldenReport report, train::check_golden(folder));
  size_t wrong = 0;
  for (const auto& line : report.lines) {
    const bool bad = !(line.error <= report.tolerance);
    wrong += bad;
    if (bad || all || line.name.find("gradient of ") == std::string::npos)
      console.out(fmt::format("{:9.2e}  {}{}\n", line.error, line.name, bad ? "  WRONG" : ""));
  }
  console.out(fmt::format("{}: {} of {} comparisons within {:.0e}, worst {:.2e} ({})\n",
                          wrong == 0 ? "passed" : "FAILED", report.lines.size() - wrong,
                          report.lines.size(), report.tolerance, report.worst().error,
                          report.worst().name));
  return report.ok() ? ExitCode::ok : ExitCode::rejected_input;
}

}  // namespace

void add_golden(CLI::App& app, Command& chosen) {
  CLI::App* command =
      app.add_subcommand("golden", "Check losses and gradients against the reference's numbers");
  struct Flags {
    std::string folder;
    bool all = false;
  };
  auto flags = std::make_shared<Flags>();
  command->add_option("folder", flags->folder, "Golden folder (testdata/golden/…)")
      ->type_name("DIR")
      ->required();
  command->add_flag("-a,--all", flags->all, "Print every gradient, not only those that are wrong");
  command->callback([flags, &chosen] {
    chosen = [flags](Console& console) { return check(flags->folder, flags->all, console); };
  });
}

}  // namespace msa::trainer
