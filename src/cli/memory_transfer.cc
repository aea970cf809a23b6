// msa memory attach, export, import.
#include "cli/memory_transfer.h"

#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "cli/format.h"
#include "cli/json_output.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/signals.h"
#include "msa/transfer.h"

namespace msa::cli {
namespace {

// Runs a transfer with its progress shown and Ctrl-C as a stop request.
template <class Transfer>
auto transfer(Session& session, Transfer run) {
  StopOnSignal stop(
      [&] { session.console.note("stopping, nothing is kept; Ctrl-C again stops at once"); });
  Progress progress(session.console);
  return run(
      [&](std::string_view doing, uint64_t done, uint64_t all) {
        progress.update([&] {
          ProgressState state;
          state.doing = doing;
          if (all > 0) state.fraction = static_cast<double>(done) / static_cast<double>(all);
          state.facts = {doing == "writing" ? fmt::format("{} of {} documents", format_count(done),
                                                          format_count(all))
                                            : format_bytes(done) + " of " + format_bytes(all)};
          return state;
        });
      },
      stop.token());
}

struct AttachArguments {
  std::string bank;
  std::vector<std::string> others;
  AttachOptions options;
  bool json = false;
};

void print_report(Session& session, const AttachReport& report, const BankInfo& bank) {
  Output& out = session.out;
  out.write(fmt::format(
      "attached {} ({}, {}) in {}, {}\n", counted(report.documents, "document", "documents"),
      counted(report.tokens, "token", "tokens"), counted(report.chunks, "chunk", "chunks"),
      counted(report.segments, "segment", "segments"),
      report.moved_bytes > 0 && report.copied_bytes == 0
          ? format_bytes(report.moved_bytes) + " moved"
          : format_bytes(report.copied_bytes) + " copied"));
  if (report.already_there > 0)
    out.write(fmt::format("already in the bank: {}\n",
                          counted(report.already_there, "document", "documents")));
  if (report.duplicates > 0)
    out.write(fmt::format("not taken: {} whose text the bank has under another id\n",
                          counted(report.duplicates, "document", "documents")));
  if (report.replaced > 0)
    out.write(
        fmt::format("replaced: {}\n", counted(report.replaced, "old document", "old documents")));
  out.write(fmt::format("bank {}: {}, {}, {} on disk\n", bank.path.string(),
                        counted(bank.documents, "document", "documents"),
                        counted(bank.chunks, "chunk", "chunks"), format_bytes(bank.disk_bytes)));
}

Result<ExitCode> run_attach(Session& session, const AttachArguments& arguments) {
  const Result<AttachReport> outcome =
      transfer(session, [&](const TransferProgress& progress, std::stop_token stop) {
        return attach(arguments.bank, {arguments.others.begin(), arguments.others.end()},
                      arguments.options, progress, std::move(stop));
      });
  if (!outcome) return outcome.error();
  const AttachReport& report = *outcome;
  for (const std::string& left : report.left)
    session.console.warning(fmt::format("attached, but not removed: {}", left));
  MSA_ASSIGN(const Bank bank, Bank::open(arguments.bank));
  MSA_ASSIGN(const BankInfo info, bank.info());
  if (!arguments.json) {
    print_report(session, report, info);
    return ExitCode::ok;
  }
  session.out.write(dump({{"documents", report.documents},
                          {"chunks", report.chunks},
                          {"tokens", report.tokens},
                          {"duplicates", report.duplicates},
                          {"already_there", report.already_there},
                          {"replaced", report.replaced},
                          {"segments", report.segments},
                          {"copied_bytes", report.copied_bytes},
                          {"moved_bytes", report.moved_bytes},
                          {"left", report.left},
                          {"bank", to_json(info)}}) +
                    "\n");
  return ExitCode::ok;
}

struct ExportArguments {
  std::string bank, file, text;
  bool json = false;
};

Json archive_json(const ExportReport& report) {
  return {{"documents", report.documents},
          {"segments", report.segments},
          {"bytes", report.bytes},
          {"file_bytes", report.file_bytes}};
}

Result<ExitCode> run_export(Session& session, const ExportArguments& arguments) {
  if (arguments.file.empty() && arguments.text.empty())
    return Error{Code::invalid_argument,
                 "memory export: no file given; write FILE.tar.zst, or --text FILE.jsonl"};
  Json json = Json::object();
  std::string words;
  if (!arguments.file.empty()) {
    const Result<ExportReport> outcome =
        transfer(session, [&](const TransferProgress& progress, std::stop_token stop) {
          return export_bank_file(arguments.bank, arguments.file, progress, std::move(stop));
        });
    if (!outcome) return outcome.error();
    json["archive"] = archive_json(*outcome);
    words += fmt::format("{}: {}, {}, {} of {}\n", arguments.file,
                         counted(outcome->documents, "document", "documents"),
                         counted(outcome->segments, "segment", "segments"),
                         format_bytes(outcome->file_bytes), format_bytes(outcome->bytes));
  }
  if (!arguments.text.empty()) {
    const Result<ExportTextsReport> outcome =
        transfer(session, [&](const TransferProgress& progress, std::stop_token stop) {
          return export_texts_file(arguments.bank, arguments.text, progress, std::move(stop));
        });
    if (!outcome) return outcome.error();
    json["text"] = {{"documents", outcome->documents},
                    {"records", outcome->records},
                    {"file_bytes", outcome->file_bytes}};
    words += fmt::format(
        "{}: {} in {}, {}\n", arguments.text, counted(outcome->documents, "document", "documents"),
        counted(outcome->records, "record", "records"), format_bytes(outcome->file_bytes));
  }
  session.out.write(arguments.json ? dump(json) + "\n" : words);
  return ExitCode::ok;
}

struct ImportArguments {
  std::string file, bank;
  bool json = false;
};

Result<ExitCode> run_import(Session& session, const ImportArguments& arguments) {
  const Result<ExportReport> outcome =
      transfer(session, [&](const TransferProgress& progress, std::stop_token stop) {
        return import_bank_file(arguments.file, arguments.bank, progress, std::move(stop));
      });
  if (!outcome) return outcome.error();
  if (arguments.json)
    session.out.write(dump(archive_json(*outcome)) + "\n");
  else
    session.out.write(fmt::format("bank {}: {}, {}, {} unpacked and verified\n", arguments.bank,
                                  counted(outcome->documents, "document", "documents"),
                                  counted(outcome->segments, "segment", "segments"),
                                  format_bytes(outcome->bytes)));
  return ExitCode::ok;
}

void add_attach(CLI::App& memory, Command& chosen) {
  auto arguments = std::make_shared<AttachArguments>();
  CLI::App& command = *memory.add_subcommand(
      "attach", "Take over the documents of other banks without encoding them");
  command.add_option("BANK", arguments->bank, "The bank that gets them; made if it is not there")
      ->required();
  command.add_option("OTHER", arguments->others, "Banks of the same model")->required();
  command.add_flag("--replace", arguments->options.replace,
                   "Texts of the other banks take the place of others with the same id");
  command.add_flag("--move", arguments->options.move,
                   "Remove the other banks in the end; nothing is copied on one file system");
  add_json_flag(command, arguments->json);
  command.footer(
      "All documents come in one commit, or none. They keep their numbers, which are part of what\n"
      "was encoded, so the banks must be encoded with numbers that do not meet: as shards of one\n"
      "input (`msa encode --shard`), or with --first-number. No model is needed.\n\n"
      "Examples:\n"
      "  msa encode corpus/ --shard 0/2 --bank part-0 --model models/MSA-4B   # one machine\n"
      "  msa encode corpus/ --shard 1/2 --bank part-1 --model models/MSA-4B   # another one\n"
      "  msa memory attach memory part-0 part-1\n");
  command.callback([&chosen, arguments] {
    chosen = [arguments](Session& session) { return run_attach(session, *arguments); };
  });
}

void add_export(CLI::App& memory, Command& chosen) {
  auto arguments = std::make_shared<ExportArguments>();
  CLI::App& command = *memory.add_subcommand("export", "Write a bank, or its texts, to a file");
  command.add_option("BANK", arguments->bank, "The bank")->required();
  command.add_option("FILE", arguments->file, "All of it, as .tar.zst or .tar");
  command
      .add_option("--text", arguments->text, "Its documents, as .jsonl, to be encoded elsewhere")
      ->type_name("FILE");
  add_json_flag(command, arguments->json);
  command.footer(
      "The bank is written as it is at one moment; others may go on changing it.\n\n"
      "Examples:\n"
      "  msa memory export memory memory.tar.zst\n"
      "  msa memory export memory --text documents.jsonl\n");
  command.callback([&chosen, arguments] {
    chosen = [arguments](Session& session) { return run_export(session, *arguments); };
  });
}

void add_import(CLI::App& memory, Command& chosen) {
  auto arguments = std::make_shared<ImportArguments>();
  CLI::App& command =
      *memory.add_subcommand("import", "Make a bank of a file that `export` has written");
  command.add_option("FILE", arguments->file, "The archive")->required();
  command.add_option("BANK", arguments->bank, "The new bank, which must not be there")->required();
  add_json_flag(command, arguments->json);
  command.footer(
      "All of it is unpacked and verified before the bank appears.\n\n"
      "Example:\n  msa memory import memory.tar.zst memory\n");
  command.callback([&chosen, arguments] {
    chosen = [arguments](Session& session) { return run_import(session, *arguments); };
  });
}

}  // namespace

void add_memory_transfers(CLI::App& memory, Command& chosen) {
  add_attach(memory, chosen);
  add_export(memory, chosen);
  add_import(memory, chosen);
}

}  // namespace msa::cli
