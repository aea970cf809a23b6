// msa memory add, update, remove, compact: a bank that changes while others read it.
#include "cli/memory_change.h"

#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "cli/encode.h"
#include "cli/format.h"
#include "cli/json_output.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/signals.h"

namespace msa::cli {
namespace {

struct RemoveArguments {
  std::string bank;
  bool json = false;
  std::vector<uint32_t> numbers;
  std::vector<std::string> ids;
};

Result<ExitCode> run_remove(Session& session, const RemoveArguments& arguments) {
  if (arguments.numbers.empty() && arguments.ids.empty())
    return Error{Code::invalid_argument,
                 "memory remove: no document given; write its number, or --id ID"};
  MSA_ASSIGN(const std::filesystem::path folder, bank_folder(arguments.bank));
  MSA_ASSIGN(Bank bank, Bank::open(folder));
  MSA_ASSIGN(const RemovalReport report, bank.remove(arguments.ids, arguments.numbers));
  MSA_ASSIGN(const BankInfo info, bank.info());
  if (arguments.json) {
    Json json = to_json(report);
    json["bank"] = to_json(info);
    session.out.write(dump(json) + "\n");
    return ExitCode::ok;
  }
  session.out.write(fmt::format("removed {} ({})\n",
                                counted(report.documents, "document", "documents"),
                                counted(report.names, "id", "ids")));
  session.out.write(fmt::format(
      "bank {}: {}, {}\n", info.path.string(), counted(info.documents, "document", "documents"),
      info.dead_chunks == 0
          ? "no chunk of removed ones"
          : fmt::format("{} of removed ones, which `msa memory compact` takes out of the files",
                        counted(info.dead_chunks, "chunk", "chunks"))));
  return ExitCode::ok;
}

struct CompactArguments {
  std::string bank;
  bool json = false;
  uint64_t segment_mebibytes = 128;
};

Result<ExitCode> run_compact(Session& session, const CompactArguments& arguments) {
  Console& console = session.console;
  MSA_ASSIGN(const std::filesystem::path folder, bank_folder(arguments.bank));
  MSA_ASSIGN(Bank bank, Bank::open(folder));
  StopOnSignal stop(
      [&] { console.note("stopping after the segment at hand; Ctrl-C again stops at once"); });
  CompactOptions options;
  options.segment_bytes = arguments.segment_mebibytes << 20;
  const Result<CompactReport> outcome = [&] {
    Progress progress(console);
    return bank.compact(
        options,
        [&](uint64_t done, uint64_t all) {
          progress.update([&] {
            ProgressState state;
            state.doing = "compacting";
            if (all > 0) state.fraction = static_cast<double>(done) / static_cast<double>(all);
            state.facts = {format_bytes(done) + " of " + format_bytes(all)};
            return state;
          });
        },
        stop.token());
  }();
  if (!outcome) return outcome.error();
  const CompactReport& report = *outcome;
  if (arguments.json)
    session.out.write(dump(to_json(report)) + "\n");
  else
    session.out.write(fmt::format(
        "{} of removed documents taken out; {}, {} before: {}, {} now\n",
        counted(report.removed_chunks, "chunk", "chunks"),
        counted(report.segments_before, "segment", "segments"), format_bytes(report.bytes_before),
        counted(report.segments_after, "segment", "segments"), format_bytes(report.bytes_after)));
  if (report.stopped)
    return Error{Code::cancelled,
                 fmt::format("memory compact: stopped; what is done is committed to {}; run the "
                             "same command again to go on",
                             folder.string())};
  return ExitCode::ok;
}

// `add` and `update` are `encode` into a bank that is there.
void add_encoding(CLI::App& memory, Command& chosen, const char* name, const char* description,
                  bool replace, const char* footer) {
  auto arguments = std::make_shared<EncodeArguments>();
  arguments->command = fmt::format("memory {}", name);
  arguments->existing_bank = true;
  arguments->options.replace = replace;
  CLI::App& command = *memory.add_subcommand(name, description);
  add_encode_options(command, *arguments);
  command.footer(footer);
  command.callback([&chosen, arguments] {
    chosen = [arguments](Session& session) { return run_encode(session, *arguments); };
  });
}

void add_remove(CLI::App& memory, Command& chosen) {
  auto arguments = std::make_shared<RemoveArguments>();
  CLI::App& command = *memory.add_subcommand("remove", "Take documents out of the bank");
  command.add_option("NUMBER", arguments->numbers, "Numbers of documents, which go with all ids")
      ->check(whole_number(0, UINT32_MAX));
  command
      .add_option("--id", arguments->ids,
                  "What was encoded under this id: a document, or all passages of a long one")
      ->type_name("ID")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  add_bank_flag(command, arguments->bank);
  add_json_flag(command, arguments->json);
  command.footer(
      "All of them or, if one is not there, none. Needs no model. Numbers are not given out "
      "again;\n"
      "the files shrink with `msa memory compact`.\n\n"
      "Examples:\n"
      "  msa memory remove 4 17 --bank memory\n"
      "  msa memory remove --id notes/bridge.md --id notes/old.md --bank memory\n");
  command.callback([&chosen, arguments] {
    chosen = [arguments](Session& session) { return run_remove(session, *arguments); };
  });
}

void add_compact(CLI::App& memory, Command& chosen) {
  auto arguments = std::make_shared<CompactArguments>();
  CLI::App& command = *memory.add_subcommand(
      "compact", "Take removed documents out of the files, and merge small segments");
  add_segment_flag(command, arguments->segment_mebibytes,
                   "Merge segments up to so many MiB of encoded documents");
  add_bank_flag(command, arguments->bank);
  add_json_flag(command, arguments->json);
  command.footer(
      "Numbers stay, and others can read the bank meanwhile. Needs room for one more segment.\n\n"
      "Example:\n  msa memory compact --bank memory\n");
  command.callback([&chosen, arguments] {
    chosen = [arguments](Session& session) { return run_compact(session, *arguments); };
  });
}

}  // namespace

void add_memory_changes(CLI::App& memory, Command& chosen) {
  add_encoding(memory, chosen, "add", "Encode more documents into the bank", /*replace=*/false,
               "As `msa encode`, for a bank that must be there already.\n\n"
               "Example:\n  msa memory add notes/ --bank memory --model models/MSA-4B\n");
  add_encoding(
      memory, chosen, "update", "Encode documents, in place of older texts of theirs",
      /*replace=*/true,
      "A document whose id is in the bank with another text takes its place, with all its\n"
      "passages and at once; new ones are added, unchanged ones passed over.\n\n"
      "Example:\n  msa memory update notes/ --bank memory --model models/MSA-4B\n");
  add_remove(memory, chosen);
  add_compact(memory, chosen);
}

}  // namespace msa::cli
