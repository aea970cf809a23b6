// msa memory repair: drops what is damaged, and encodes its documents again.
#include "cli/memory_repair.h"

#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "cli/format.h"
#include "cli/json_output.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/signals.h"
#include "cli/text_layout.h"

namespace msa::cli {
namespace {

constexpr size_t kDocumentsShown = 20;

struct RepairArguments {
  ModelFlags model;
  std::string bank;
  bool dry_run = false, json = false;
  RepairOptions options;
};

ProgressState describe(RepairProgress::Stage stage, uint64_t done, uint64_t all) {
  ProgressState state;
  if (all > 0) state.fraction = static_cast<double>(done) / static_cast<double>(all);
  if (stage == RepairProgress::Stage::encoding) {
    state.doing = "encoding";
    state.facts = {fmt::format("{} of {} documents", format_count(done), format_count(all))};
  } else {
    state.doing = "verifying";
    state.facts = {format_bytes(done) + " of " + format_bytes(all)};
  }
  return state;
}

Json to_json(const std::vector<DamagedDocument>& documents) {
  Json list = Json::array();
  for (const DamagedDocument& d : documents) list.push_back({{"number", d.number}, {"id", d.id}});
  return list;
}

Json to_json(const DamageReport& damage) {
  return {{"problems", damage.problems},  {"segments", damage.segments},
          {"lost", to_json(damage.lost)}, {"beyond_repair", to_json(damage.beyond_repair)},
          {"orphans", damage.orphans},    {"stray_ids", damage.stray_ids}};
}

void print_documents(Session& session, const char* what,
                     const std::vector<DamagedDocument>& documents) {
  if (documents.empty()) return;
  session.out.write(
      fmt::format("{}: {}\n", what, counted(documents.size(), "document", "documents")));
  const size_t shown =
      session.global.verbose > 0 ? documents.size() : std::min(documents.size(), kDocumentsShown);
  for (size_t i = 0; i < shown; ++i)
    session.out.write(
        fmt::format("{:>8}  {}\n", documents[i].number, printable_line(documents[i].id)));
  if (shown < documents.size())
    session.out.write(
        fmt::format("  and {} more; -v shows them all\n", format_count(documents.size() - shown)));
}

void print_damage(Session& session, const DamageReport& damage) {
  Output& out = session.out;
  for (const std::string& problem : damage.problems) out.write(printable_line(problem) + "\n");
  for (const std::string& segment : damage.segments)
    out.write(fmt::format("damaged segment: {}\n", printable_line(segment)));
  print_documents(session, "lost with them", damage.lost);
  print_documents(session, "beyond repair, title or text being damaged", damage.beyond_repair);
  if (!damage.orphans.empty())
    out.write(fmt::format("{} that no record names\n",
                          counted(damage.orphans.size(), "segment file", "segment files")));
  if (damage.stray_ids > 0)
    out.write(fmt::format("{} of documents that are not there\n",
                          counted(damage.stray_ids, "further id", "further ids")));
}

Error problems_left(const std::string& bank, size_t left, const std::string& first) {
  return {Code::corrupt,
          fmt::format("{}: {} after the repair, the first: {}; restore the bank from a copy", bank,
                      counted(left, "problem is left", "problems are left"), first)};
}

Result<ExitCode> run_dry(Session& session, const RepairArguments& arguments, const Bank& bank) {
  const Result<DamageReport> outcome = [&] {
    Progress progress(session.console);
    return bank.damage([&](uint64_t done, uint64_t all) {
      progress.update([&] { return describe(RepairProgress::Stage::reading, done, all); });
    });
  }();
  if (!outcome) return outcome.error();
  if (arguments.json) {
    Json json = {{"dry_run", true}};
    json["damage"] = to_json(*outcome);
    session.out.write(dump(json) + "\n");
  } else if (outcome->none()) {
    session.out.write("nothing is damaged\n");
  } else {
    print_damage(session, *outcome);
    session.out.write(fmt::format("a repair would encode {} again; nothing was changed\n",
                                  counted(outcome->lost.size(), "document", "documents")));
  }
  return ExitCode::ok;
}

Result<ExitCode> run_repair(Session& session, const RepairArguments& arguments) {
  Console& console = session.console;
  MSA_ASSIGN(const std::filesystem::path folder, bank_folder(arguments.bank));
  // The cheap checks first: a mistyped path should not wait for the model.
  if (!arguments.dry_run) MSA_TRY(model_folder(arguments.model.folder));
  MSA_ASSIGN(Bank bank, Bank::open(folder));
  if (arguments.dry_run) return run_dry(session, arguments, bank);
  MSA_ASSIGN(const Model model, open_model(session, arguments.model));

  StopOnSignal stop([&] {
    console.note("stopping after the documents at hand are committed; Ctrl-C again stops at once");
  });
  const Result<RepairReport> outcome = [&] {
    Progress progress(console);
    return repair(
        model, bank, arguments.options,
        [&](const RepairProgress& now) {
          progress.update([&] { return describe(now.stage, now.done, now.all); });
        },
        stop.token());
  }();
  if (!outcome) return outcome.error();
  const RepairReport& report = *outcome;
  if (arguments.json) {
    session.out.write(dump({{"dry_run", false},
                            {"documents", report.documents},
                            {"tokens", report.tokens},
                            {"dropped", report.dropped},
                            {"stopped", report.stopped},
                            {"left", report.left},
                            {"damage", to_json(report.damage)}}) +
                      "\n");
  } else if (report.damage.none()) {
    session.out.write("nothing is damaged\n");
  } else {
    print_damage(session, report.damage);
    session.out.write(fmt::format("encoded {} again ({})\n",
                                  counted(report.documents, "document", "documents"),
                                  counted(report.tokens, "token", "tokens")));
    if (report.dropped > 0)
      session.out.write(fmt::format("took {} out of the bank\n",
                                    counted(report.dropped, "document", "documents")));
  }
  if (report.stopped)
    return Error{Code::cancelled,
                 fmt::format("memory repair: stopped after {}, which are committed to {}; run the "
                             "same command again to go on",
                             counted(report.documents, "document", "documents"), folder.string())};
  if (!report.left.empty()) {
    session.out.flush();
    return problems_left(folder.string(), report.left.size(), report.left.front());
  }
  return ExitCode::ok;
}

}  // namespace

void add_memory_repair(CLI::App& memory, Command& chosen) {
  auto arguments = std::make_shared<RepairArguments>();
  CLI::App& command =
      *memory.add_subcommand("repair", "Drop damaged segments and encode their documents again");
  add_bank_flag(command, arguments->bank);
  add_model_flags(command, arguments->model);
  command.add_flag("--dry-run", arguments->dry_run,
                   "Only say what is damaged and what would be done; needs no model");
  command.add_flag("--drop-lost", arguments->options.drop_lost,
                   "Take documents whose texts are damaged, too, out of the bank");
  command.add_option("--batch-tokens", arguments->options.batch_tokens, "Tokens encoded together")
      ->type_name("N")
      ->check(whole_number(1, 1'000'000))
      ->capture_default_str();
  add_json_flag(command, arguments->json);
  command.footer(
      "Reads the whole bank, as `msa memory verify` does. Documents of damaged segments are\n"
      "encoded again from their texts, which the catalogue has, and keep numbers and ids.\n"
      "The model has to be the one that made the bank. Exits with 4 if anything is left.\n\n"
      "Examples:\n"
      "  msa memory repair --bank memory --dry-run\n"
      "  msa memory repair --bank memory --model models/MSA-4B\n");
  command.callback([&chosen, arguments] {
    chosen = [arguments](Session& session) { return run_repair(session, *arguments); };
  });
}

}  // namespace msa::cli
