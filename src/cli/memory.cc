// msa memory: what is in a bank, and whether it is intact.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>
#include <optional>

#include "cli/answer_printer.h"
#include "cli/format.h"
#include "cli/json_output.h"
#include "cli/memory_change.h"
#include "cli/memory_index.h"
#include "cli/memory_repair.h"
#include "cli/memory_transfer.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/signals.h"
#include "cli/text_layout.h"

namespace msa::cli {
namespace {

constexpr size_t kPage = 1000;  // documents read from the catalogue at once

struct MemoryArguments {
  std::string bank;
  bool json = false;
  uint32_t first = 0;
  size_t limit = 0;  // 0: all
  std::optional<uint32_t> number;
  std::optional<std::string> id;
};

Result<Bank> open_bank(const MemoryArguments& arguments) {
  MSA_ASSIGN(const std::filesystem::path folder, bank_folder(arguments.bank));
  return Bank::open(folder);
}

Result<ExitCode> run_info(Session& session, const MemoryArguments& arguments) {
  MSA_ASSIGN(const Bank bank, open_bank(arguments));
  MSA_ASSIGN(const BankInfo info, bank.info());
  if (arguments.json) {
    session.out.write(dump(to_json(info)) + "\n");
    return ExitCode::ok;
  }
  const auto row = [&](const char* name, const std::string& value) {
    session.out.write(fmt::format("{:<16} {}\n", name, value));
  };
  row("bank", info.path.string());
  row("documents", format_count(info.documents));
  if (info.aliases > 0) row("further ids", format_count(info.aliases));
  row("tokens", format_count(info.tokens));
  row("chunks", fmt::format("{} of up to {} tokens", format_count(info.chunks), info.chunk_size));
  if (info.dead_chunks > 0)
    row("removed", fmt::format("{}, until `msa memory compact`",
                               counted(info.dead_chunks, "chunk", "chunks")));
  row("segments", format_count(info.segments));
  row("routing keys", format_bytes(info.key_bytes));
  row("keys and values", format_bytes(info.content_bytes));
  row("texts", format_bytes(info.text_bytes));
  row("on disk", format_bytes(info.disk_bytes));
  row("stored as", info.content == info.dtype
                       ? info.dtype
                       : fmt::format("{}, keys and values {}", info.dtype, info.content));
  row("similarity", info.similarity);
  row("heads", fmt::format("{} of {}", info.kv_heads, info.head_dim));
  row("router layers", fmt::format("{}", fmt::join(info.router_layers, ", ")));
  row("model", info.model_fingerprint);
  row("tokenizer", info.tokenizer_fingerprint);
  return ExitCode::ok;
}

void print_row(Session& session, const StoredDocument& d) {
  const std::string line = fmt::format(
      "{:>8}  {:>6}  {}", d.number, d.tokens,
      printable_line(d.title.empty() || d.title == d.id ? d.id : d.id + "  " + d.title));
  const Terminal& terminal = session.terminal;
  session.out.write((terminal.interactive ? fit(line, terminal.width()) : line) + "\n");
}

Result<ExitCode> run_list(Session& session, const MemoryArguments& arguments) {
  MSA_ASSIGN(const Bank bank, open_bank(arguments));
  Output& out = session.out;
  out.write(arguments.json ? "{\"documents\":["
                           : fmt::format("{:>8}  {:>6}  {}\n", "number", "tokens", "id and title"));
  size_t listed = 0;
  uint64_t first = arguments.first;
  while (out.ok() && first <= UINT32_MAX) {
    const size_t wanted = arguments.limit == 0 ? kPage : std::min(kPage, arguments.limit - listed);
    if (wanted == 0) break;
    MSA_ASSIGN(const std::vector<StoredDocument> page,
               bank.list(static_cast<uint32_t>(first), wanted));
    if (page.empty()) break;
    for (const StoredDocument& d : page) {
      if (arguments.json)
        out.write((listed == 0 ? "\n" : ",\n") + dump(to_json(d, /*with_text=*/false)));
      else
        print_row(session, d);
      ++listed;
    }
    first = uint64_t{page.back().number} + 1;
  }
  if (arguments.json) out.write("\n]}\n");
  return ExitCode::ok;
}

Result<ExitCode> run_show(Session& session, const MemoryArguments& arguments) {
  if (!arguments.number && !arguments.id)
    return Error{Code::invalid_argument,
                 "memory show: no document given; write its number, or --id ID"};
  MSA_ASSIGN(const Bank bank, open_bank(arguments));
  MSA_ASSIGN(const StoredDocument document, arguments.number ? bank.document(*arguments.number)
                                                             : bank.document_by_id(*arguments.id));
  if (arguments.json) {
    session.out.write(dump(to_json(document, /*with_text=*/true)) + "\n");
    return ExitCode::ok;
  }
  const auto row = [&](const char* name, const std::string& value) {
    if (!value.empty()) session.out.write(fmt::format("{:<8} {}\n", name, value));
  };
  row("number", std::to_string(document.number));
  row("id", printable_line(document.id));
  for (const std::string& alias : document.aliases) row("also", printable_line(alias));
  row("title", printable_line(document.title));
  row("source", describe_source(document.source, document.char_begin, document.char_end));
  row("size", fmt::format("{}, {}", counted(document.tokens, "token", "tokens"),
                          counted(document.chunks, "chunk", "chunks")));
  session.out.write("\n" + printable(document.text) + "\n");
  return ExitCode::ok;
}

Result<ExitCode> run_verify(Session& session, const MemoryArguments& arguments) {
  MSA_ASSIGN(const Bank bank, open_bank(arguments));
  StopOnSignal stop([&] { session.console.note("stopping; Ctrl-C again stops at once"); });
  const Result<VerifyReport> outcome = [&] {
    Progress progress(session.console);
    return bank.verify(
        [&](uint64_t done, uint64_t all) {
          progress.update([&] {
            ProgressState state;
            state.doing = "verifying";
            if (all > 0) state.fraction = static_cast<double>(done) / static_cast<double>(all);
            state.facts = {format_bytes(done) + " of " + format_bytes(all)};
            return state;
          });
        },
        stop.token());
  }();
  if (!outcome) return outcome.error();
  const VerifyReport& report = *outcome;
  const std::string problems = counted(report.problems.size(), "problem", "problems");
  if (arguments.json) {
    session.out.write(dump(to_json(report)) + "\n");
  } else {
    for (const std::string& problem : report.problems)
      session.out.write(printable_line(problem) + "\n");
    session.out.write(
        fmt::format("{}, {}, {} read: {}\n", counted(report.segments, "segment", "segments"),
                    counted(report.documents, "document", "documents"), format_bytes(report.bytes),
                    report.problems.empty() ? "no problem" : problems));
  }
  if (report.problems.empty()) return ExitCode::ok;
  session.out.flush();
  return Error{
      Code::corrupt,
      fmt::format("{}: verify found {}, the first: {}; try `msa memory repair`, or restore "
                  "the bank from a copy",
                  arguments.bank, problems, report.problems.front())};
}

using Run = Result<ExitCode> (*)(Session&, const MemoryArguments&);

CLI::App& add_part(CLI::App& parent, Command& chosen, const char* name, const char* description,
                   const std::shared_ptr<MemoryArguments>& arguments, Run run) {
  CLI::App& command = *parent.add_subcommand(name, description);
  add_bank_flag(command, arguments->bank);
  add_json_flag(command, arguments->json);
  command.callback([&chosen, arguments, run] {
    chosen = [arguments, run](Session& session) { return run(session, *arguments); };
  });
  return command;
}

}  // namespace

void add_memory(CLI::App& app, Command& chosen) {
  auto arguments = std::make_shared<MemoryArguments>();
  CLI::App& memory = *app.add_subcommand("memory", "Look into a memory bank, check it, change it");
  memory.require_subcommand(1);
  memory.footer(
      "Examples:\n"
      "  msa memory info --bank memory\n"
      "  msa memory list --bank memory --first 100 --limit 20\n"
      "  msa memory show 4 --bank memory\n"
      "  msa memory verify --bank memory\n"
      "  msa memory repair --bank memory --model models/MSA-4B\n"
      "  msa memory update notes/ --bank memory --model models/MSA-4B\n"
      "  msa memory remove --id notes/old.md --bank memory\n"
      "  msa memory compact --bank memory\n"
      "  msa memory attach memory part-0 part-1\n"
      "  msa memory export memory memory.tar.zst\n"
      "  msa memory index --bank memory\n");

  CLI::App& info = add_part(memory, chosen, "info", "What the bank holds and how large it is",
                            arguments, run_info);
  info.footer("Example:\n  msa memory info --bank memory --json\n");

  CLI::App& list =
      add_part(memory, chosen, "list", "The documents, by number", arguments, run_list);
  list.add_option("--first", arguments->first, "Lowest number to list")
      ->type_name("N")
      ->check(whole_number(0, UINT32_MAX))
      ->capture_default_str();
  list.add_option("--limit", arguments->limit, "At most so many [all]")
      ->type_name("N")
      ->check(whole_number(1, UINT32_MAX));
  list.footer("Example:\n  msa memory list --bank memory --first 100 --limit 20\n");

  CLI::App& show =
      add_part(memory, chosen, "show", "One document and its text", arguments, run_show);
  CLI::Option* number = show.add_option("NUMBER", arguments->number, "The document's number")
                            ->check(whole_number(0, UINT32_MAX));
  show.add_option("--id", arguments->id, "The document's id, instead of its number")
      ->type_name("ID")
      ->excludes(number);
  show.footer(
      "Examples:\n"
      "  msa memory show 4 --bank memory\n"
      "  msa memory show --id notes/bridge.md --bank memory --json\n");

  CLI::App& verify = add_part(memory, chosen, "verify",
                              "Read everything back and compare checksums", arguments, run_verify);
  verify.footer(
      "Exits with 4 if anything is not as it was written.\n\n"
      "Example:\n  msa memory verify --bank memory\n");

  add_memory_repair(memory, chosen);
  add_memory_changes(memory, chosen);
  add_memory_transfers(memory, chosen);
  add_memory_index(memory, chosen);
}

}  // namespace msa::cli
