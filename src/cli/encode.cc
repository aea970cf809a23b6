// msa encode: files, folders and standard input into a memory bank.
#include "cli/encode.h"

#include <fmt/format.h>

#include <charconv>
#include <memory>
#include <mutex>

#include "cli/format.h"
#include "cli/json_output.h"
#include "cli/progress.h"
#include "cli/signals.h"

namespace msa::cli {
namespace {

constexpr size_t kProblemsShown = 10;

// Documents that could not be taken: the first ones are shown as they come, the others counted.
class Problems {
 public:
  Problems(Console& console, bool all) : console_(console), all_(all) {}

  void add(const DocumentProblem& problem) {
    const std::lock_guard lock(mutex_);
    ++count_;
    if (!all_ && count_ > kProblemsShown) return;
    console_.warning(fmt::format("{}: {}", problem.where, problem.what));
    shown_.push_back(to_json(problem));
  }
  void finish() {
    if (count_ > shown_.size())
      console_.warning(
          fmt::format("{}; -v shows them all",
                      counted(count_ - shown_.size(), "more problem", "more problems")));
  }
  Json json() const { return shown_; }

 private:
  std::mutex mutex_;
  Console& console_;
  bool all_;
  uint64_t count_ = 0;
  Json shown_ = Json::array();
};

void print_report(Session& session, const EncodeReport& report, const BankInfo& bank) {
  Output& out = session.out;
  out.write(fmt::format(
      "encoded {} ({}, {}) of {} in {}, {} tokens/s\n",
      counted(report.passages, "passage", "passages"), counted(report.tokens, "token", "tokens"),
      counted(report.chunks, "chunk", "chunks"), counted(report.documents, "document", "documents"),
      format_duration(report.seconds), format_rate(report.tokens_per_second)));
  if (report.already_there > 0)
    out.write(fmt::format("already in the bank: {}\n",
                          counted(report.already_there, "passage", "passages")));
  if (report.duplicates > 0)
    out.write(fmt::format("not encoded again: {} whose text the bank has under another id\n",
                          counted(report.duplicates, "passage", "passages")));
  if (report.replaced > 0)
    out.write(
        fmt::format("replaced: {}\n", counted(report.replaced, "old passage", "old passages")));
  const DocumentCounts& input = report.input;
  if (input.empty + input.bad + report.rejected > 0)
    out.write(fmt::format("left out: {} empty, {} unreadable, {} rejected\n",
                          format_count(input.empty), format_count(input.bad),
                          format_count(report.rejected)));
  if (input.replaced_utf8 > 0)
    out.write(fmt::format(
        "replaced by U+FFFD: {}\n",
        counted(input.replaced_utf8, "invalid UTF-8 sequence", "invalid UTF-8 sequences")));
  out.write(fmt::format("bank {}: {}, {}, {} on disk\n", bank.path.string(),
                        counted(bank.documents, "document", "documents"),
                        counted(bank.chunks, "chunk", "chunks"), format_bytes(bank.disk_bytes)));
}

BankOptions bank_options(const std::string& content) {
  return {content == "f32"    ? ContentType::f32
          : content == "bf16" ? ContentType::bf16
          : content == "int8" ? ContentType::int8
                              : ContentType::automatic};
}

}  // namespace

Result<Shard> parse_shard(const std::string& text, uint32_t first_number) {
  Shard shard;
  shard.first_number = first_number;
  if (text.empty()) return shard;
  const char* const end = text.data() + text.size();
  const auto [slash, bad_index] = std::from_chars(text.data(), end, shard.index);
  if (bad_index == std::errc() && slash != end && *slash == '/') {
    const auto [rest, bad_count] = std::from_chars(slash + 1, end, shard.count);
    if (bad_count == std::errc() && rest == end && shard.index < shard.count) return shard;
  }
  return Error{Code::invalid_argument,
               fmt::format("--shard: '{}' is none; give I/N, from 0/N to the last, N-1/N", text)};
}

Result<ExitCode> run_encode(Session& session, const EncodeArguments& arguments) {
  Console& console = session.console;
  MSA_ASSIGN(const Shard shard, parse_shard(arguments.shard, arguments.first_number));
  MSA_ASSIGN(const std::filesystem::path folder, bank_folder(arguments.bank));
  Problems problems(console, session.global.verbose > 0);
  const auto on_problem = [&](const DocumentProblem& problem) { problems.add(problem); };

  // The cheap check first: a mistyped path should not wait for the model.
  MSA_TRY(model_folder(arguments.model.folder));
  if (arguments.existing_bank) {
    MSA_ASSIGN([[maybe_unused]] const Bank there, Bank::open(folder));
  }
  ReaderOptions reading;
  reading.on_problem = on_problem;
  MSA_ASSIGN(const std::unique_ptr<DocumentSource> source,
             open_documents({arguments.paths.begin(), arguments.paths.end()}, reading));
  MSA_ASSIGN(const Model model, open_model(session, arguments.model));
  MSA_ASSIGN(Bank bank, Bank::open_or_create(folder, model, bank_options(arguments.content)));
  note_random_weights(session, model);

  StopOnSignal stop([&] {
    console.note("stopping after the documents at hand are committed; Ctrl-C again stops at once");
  });
  EncodeOptions options = arguments.options;
  options.segment_bytes = arguments.segment_mebibytes << 20;
  options.on_problem = on_problem;
  Result<EncodeReport> outcome = [&] {
    Progress progress(console);
    return encode_shard(
        model, bank, *source, shard, options,
        [&](const EncodeProgress& now) { progress.update([&] { return describe(now); }); },
        stop.token());
  }();
  problems.finish();
  if (!outcome) return std::move(outcome).error();
  const EncodeReport& report = *outcome;
  MSA_ASSIGN(const BankInfo info, bank.info());
  if (arguments.json) {
    Json json = to_json(report);
    json["problems"] = problems.json();
    json["bank"] = to_json(info);
    session.out.write(dump(json) + "\n");
  } else {
    print_report(session, report, info);
  }
  if (report.stopped)
    return Error{Code::cancelled,
                 fmt::format("{}: stopped after {}, which are committed to {}; run the same "
                             "command again to go on",
                             arguments.command, counted(report.passages, "passage", "passages"),
                             folder.string())};
  const uint64_t bad = report.input.bad + report.rejected;
  const bool nothing_good =
      report.passages == 0 && report.already_there == 0 && report.duplicates == 0;
  if (bad > 0 && (arguments.strict || nothing_good)) {
    session.out.flush();
    console.error(fmt::format("{}: {} could not be encoded{}; the warnings above say why",
                              arguments.command, counted(bad, "document", "documents"),
                              nothing_good ? ", and there was no other" : ""));
    return ExitCode::rejected_input;
  }
  return ExitCode::ok;
}

CLI::Option* add_segment_flag(CLI::App& command, uint64_t& mebibytes, const char* description) {
  return command.add_option("--segment-mib", mebibytes, description)
      ->type_name("N")
      ->check(whole_number(1, 1 << 20))
      ->capture_default_str();
}

void add_encode_options(CLI::App& command, EncodeArguments& arguments) {
  command
      .add_option("PATH", arguments.paths,
                  "Files (.txt .md .json .jsonl, also .gz or .zst), folders, or - for standard "
                  "input")
      ->required();
  add_bank_flag(command, arguments.bank);
  add_model_flags(command, arguments.model);
  command
      .add_option("--passage-tokens", arguments.options.passage_tokens,
                  "Longer texts are split into passages of at most so many tokens")
      ->type_name("N")
      ->check(whole_number(16, 1'000'000))
      ->capture_default_str();
  command.add_option("--batch-tokens", arguments.options.batch_tokens, "Tokens encoded together")
      ->type_name("N")
      ->check(whole_number(1, 1'000'000))
      ->capture_default_str();
  command
      .add_option("--content", arguments.content,
                  "Store pooled keys and values as f32, bf16 or int8; auto: as the bank does, in a "
                  "new one in the model's precision")
      ->type_name("NAME")
      ->check(one_of({"auto", "f32", "bf16", "int8"}))
      ->capture_default_str();
  add_segment_flag(command, arguments.segment_mebibytes,
                   "Commit after so many MiB of encoded documents");
  command.add_flag("--strict", arguments.strict, "Exit with 7 if any document was bad");
  add_json_flag(command, arguments.json);
}

void add_encode(CLI::App& app, Command& chosen) {
  auto arguments = std::make_shared<EncodeArguments>();
  CLI::App& command = *app.add_subcommand("encode", "Encode documents into a memory bank");
  add_encode_options(command, *arguments);
  command
      .add_option("--shard", arguments->shard,
                  "Only every N-th document, from the I-th on (0/4 to 3/4), with numbers that no "
                  "other shard of this input has")
      ->type_name("I/N");
  command
      .add_option("--first-number", arguments->first_number,
                  "Number the documents from N on, as a bank needs them that they are attached to")
      ->type_name("N")
      ->check(whole_number(0, UINT32_MAX - 1))
      ->capture_default_str();
  command.footer(
      "A document that is in the bank already (same id, same text) is passed over: run the same\n"
      "command again to go on after a stop. Bad documents are reported and left out; the exit "
      "code\n"
      "is 7 if none was good, or with --strict if any was bad.\n\n"
      "Examples:\n"
      "  msa encode notes/ report.md --bank memory --model models/MSA-4B\n"
      "  msa encode corpus.jsonl.zst -b memory -m models/MSA-4B --passage-tokens 256\n"
      "  msa encode corpus/ -b memory -m models/MSA-4B --content int8\n"
      "  pandoc book.epub -t plain | msa encode - -b memory -m models/MSA-4B\n"
      "  msa encode corpus/ --shard 2/8 -b part-2 -m models/MSA-4B   # then: msa memory attach\n");
  command.callback([&chosen, arguments] {
    chosen = [arguments](Session& session) { return run_encode(session, *arguments); };
  });
}

}  // namespace msa::cli
