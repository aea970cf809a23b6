#include "cli/options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <system_error>

#include "cli/format.h"
#include "plan/quantity.h"

namespace msa::cli {
namespace {

constexpr int kMaxLayers = 1 << 16;

template <class T>
bool parse_whole(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

CLI::Validator whole_number(uint64_t least, uint64_t most) {
  return CLI::Validator(
      [least, most](std::string& text) -> std::string {
        uint64_t value = 0;
        if (parse_whole(text, value) && value >= least && value <= most) return {};
        return fmt::format("'{}' is not a whole number from {} to {}", text, least, most);
      },
      "", "");
}

CLI::Validator real_number(double least, double most, bool least_allowed) {
  return CLI::Validator(
      [=](std::string& text) -> std::string {
        // strtod rather than from_chars: the standard libraries this builds with lack the latter
        // for floating point or have it only since recently. The program keeps LC_NUMERIC at "C".
        char* end = nullptr;
        const double value = std::strtod(text.c_str(), &end);
        const bool number = !text.empty() && *end == '\0' && std::isfinite(value);
        if (number && (least_allowed ? value >= least : value > least) && value <= most) return {};
        return fmt::format("'{}' is not a number {} {} and up to {}", text,
                           least_allowed ? "from" : "above", least, most);
      },
      "", "");
}

CLI::Validator one_of(std::vector<std::string> names) {
  return CLI::Validator(
      [names = std::move(names)](std::string& text) -> std::string {
        if (std::find(names.begin(), names.end(), text) != names.end()) return {};
        return fmt::format("'{}' is not one of {}", text, fmt::join(names, ", "));
      },
      "", "");
}

void add_model_flags(CLI::App& command, ModelFlags& flags) {
  command.add_option("-m,--model", flags.folder, "Model folder (a Hugging Face checkpoint)")
      ->type_name("FOLDER")
      ->envname("MSA_MODEL");
  command.add_option("--precision", flags.precision, "Compute in auto, f32 or bf16")
      ->type_name("NAME")
      ->check(one_of({"auto", "f32", "bf16"}))
      ->capture_default_str();
  command.add_option("--similarity", flags.similarity, "Compare questions by auto, cosine or dot")
      ->type_name("NAME")
      ->check(one_of({"auto", "cosine", "dot"}))
      ->capture_default_str();
}

Result<std::filesystem::path> model_folder(const std::string& folder) {
  if (folder.empty())
    return Error{Code::invalid_argument, "no model given; pass --model FOLDER or set MSA_MODEL"};
  return std::filesystem::path(folder);
}

Result<Model> open_model(Session& session, const ModelFlags& flags) {
  MSA_ASSIGN(const std::filesystem::path folder, model_folder(flags.folder));
  ModelOptions options;
  options.precision = flags.precision == "f32"    ? Precision::f32
                      : flags.precision == "bf16" ? Precision::bf16
                                                  : Precision::automatic;
  options.similarity = flags.similarity == "cosine" ? Similarity::cosine
                       : flags.similarity == "dot"  ? Similarity::dot
                                                    : Similarity::automatic;
  options.threads = session.global.threads;
  options.seed = session.global.seed.value_or(0);
  const Severity least = session.global.verbose >= 2   ? Severity::debug
                         : session.global.verbose == 1 ? Severity::info
                                                       : Severity::warning;
  options.log = [&console = session.console, least](Severity severity, std::string_view message) {
    if (severity < least) return;
    if (severity >= Severity::warning)
      console.warning(message);
    else
      console.line(message);
  };
  return Model::open(folder, options);
}

void note_random_weights(Session& session, const Model& model) {
  if (model.info().random_weights)
    session.console.note(
        "this model's weights are random, it was never trained: routes and answers mean nothing");
}

void add_bank_flag(CLI::App& command, std::string& folder) {
  command.add_option("-b,--bank", folder, "Memory bank folder")
      ->type_name("FOLDER")
      ->envname("MSA_BANK");
}

Result<std::filesystem::path> bank_folder(const std::string& folder) {
  if (folder.empty())
    return Error{Code::invalid_argument,
                 "no memory bank given; pass --bank FOLDER or set MSA_BANK"};
  return std::filesystem::path(folder);
}

void add_engine_flags(CLI::App& command, EngineFlags& flags) {
  command
      .add_option("--keys", flags.keys,
                  "Hold routing keys as bf16 (as the bank has them), int8 or int4; auto: what fits")
      ->type_name("NAME")
      ->check(one_of({"auto", "bf16", "int8", "int4"}))
      ->capture_default_str();
  command
      .add_option("--content-tier", flags.content,
                  "Pooled keys and values: mapped from the disk, or held in memory")
      ->type_name("NAME")
      ->check(one_of({"mapped", "held"}))
      ->capture_default_str();
  command
      .add_option("--memory-limit", flags.memory_limit,
                  "Memory the program may take, for example 16G [what the machine has]")
      ->type_name("SIZE");
  command
      .add_option("--routing", flags.routing,
                  "exact: compare questions with all chunks; approximate: with those that the "
                  "bank's index finds (msa memory index)")
      ->type_name("NAME")
      ->check(one_of({"exact", "approximate"}))
      ->capture_default_str();
}

Result<EngineOptions> EngineFlags::resolved() const {
  EngineOptions options;
  options.keys = keys == "bf16"   ? KeyTier::full
                 : keys == "int8" ? KeyTier::int8
                 : keys == "int4" ? KeyTier::int4
                                  : KeyTier::automatic;
  options.content = content == "held" ? ContentTier::held : ContentTier::mapped;
  options.routing = routing == "approximate" ? RoutingMode::approximate : RoutingMode::exact;
  if (!memory_limit.empty()) {
    MSA_ASSIGN(options.memory_limit, plan::parse_bytes(memory_limit, "--memory-limit"));
  }
  return options;
}

void note_tiers(Session& session, const Engine& engine) {
  if (session.global.verbose == 0) return;
  const EngineInfo info = engine.info();
  session.console.line(
      fmt::format("routing keys: {} as {}", format_bytes(info.key_bytes), info.keys));
  session.console.line(info.content == ContentTier::held
                           ? fmt::format("pooled keys and values: {}, held in memory",
                                         format_bytes(info.content_bytes))
                           : "pooled keys and values: mapped");
  if (info.index_bytes > 0)
    session.console.line(fmt::format("index: {}, mapped", format_bytes(info.index_bytes)));
}

void add_top_k_flag(CLI::App& command, size_t& top_k) {
  command.add_option("--top-k", top_k, "Documents per router layer [the model's]")
      ->type_name("N")
      ->check(whole_number(1, 100'000));
}

void add_skip_handed_over_flag(CLI::App& command, std::string& skip) {
  command
      .add_option("--skip-handed-over", skip,
                  "on: later rounds route to documents not handed over yet [the model's]")
      ->type_name("on|off")
      ->check(one_of({"on", "off"}));
}

std::optional<bool> skip_handed_over(std::string_view skip) {
  if (skip.empty()) return std::nullopt;
  return skip == "on";
}

void add_json_flag(CLI::App& command, bool& json) {
  command.add_flag("--json", json, "Print the result as JSON (docs/cli.md)");
}

void add_ask_flags(CLI::App& command, AskFlags& flags) {
  AskOptions& o = flags.options;
  add_top_k_flag(command, o.top_k);
  command
      .add_option("--retrieval", flags.retrieval,
                  "interleave: the model asks for documents; router: it is given the best routed")
      ->type_name("NAME")
      ->check(one_of({"interleave", "router"}))
      ->capture_default_str();
  command
      .add_option("--router-documents", o.router_documents,
                  "Documents --retrieval router hands over")
      ->type_name("N")
      ->check(whole_number(1, 10'000))
      ->capture_default_str();
  command.add_flag("--no-constrain-numbers", flags.no_constrain_numbers,
                   "Let the model write numbers of documents that were not routed to");
  command.add_flag("--no-original-text", flags.no_original_text,
                   "Answer from the encoded memory alone, hand over no text");
  add_skip_handed_over_flag(command, flags.skip_handed_over);
  command.add_option("--max-rounds", o.max_rounds, "Rounds of retrieval")
      ->type_name("N")
      ->check(whole_number(1, 1000))
      ->capture_default_str();
  command.add_option("--max-tokens", o.max_tokens, "Generated tokens, all rounds and the answer")
      ->type_name("N")
      ->check(whole_number(1, 1'000'000))
      ->capture_default_str();
  command.add_option("--temperature", o.temperature, "0: always the likeliest token")
      ->type_name("X")
      ->check(real_number(0, 100))
      ->capture_default_str();
  command.add_option("--top-p", o.top_p, "Sample from the likeliest tokens of this probability")
      ->type_name("X")
      ->check(real_number(0, 1, false))
      ->capture_default_str();
}

AskOptions AskFlags::resolved(const GlobalOptions& global) const {
  AskOptions result = options;
  result.retrieval = retrieval == "router" ? Retrieval::router : Retrieval::interleave;
  result.constrain_numbers = !no_constrain_numbers;
  result.original_text = !no_original_text;
  result.skip_handed_over = cli::skip_handed_over(skip_handed_over);
  result.seed = global.seed;
  return result;
}

Result<std::vector<int>> parse_layers(std::string_view text) {
  std::vector<int> layers;
  while (true) {
    const size_t comma = text.find(',');
    const std::string_view part = text.substr(0, comma);
    const size_t dash = part.find('-');
    int first = 0, last = 0;
    const bool numbers = parse_whole(part.substr(0, dash), first) &&
                         parse_whole(dash == part.npos ? part : part.substr(dash + 1), last);
    if (!numbers || first < 0 || last < first || last >= kMaxLayers)
      return Error{Code::invalid_argument,
                   fmt::format("--router-layers: '{}' is neither a layer nor a range of layers; "
                               "write for example 2,3 or 18-35",
                               part)};
    for (int layer = first; layer <= last; ++layer) layers.push_back(layer);
    if (comma == std::string_view::npos) return layers;
    text.remove_prefix(comma + 1);
  }
}

Result<std::string> read_standard_input(size_t limit) {
  std::string text;
  char buffer[1 << 16];
  while (true) {
    const ssize_t got = ::read(STDIN_FILENO, buffer, sizeof buffer);
    if (got == 0) return text;
    if (got < 0) {
      if (errno == EINTR) continue;
      return Error{Code::io, fmt::format("standard input: cannot be read: {}",
                                         std::generic_category().message(errno))};
    }
    if (static_cast<size_t>(got) > limit - text.size())
      return Error{Code::invalid_argument,
                   fmt::format("standard input: longer than {} bytes; give it in parts", limit)};
    text.append(buffer, static_cast<size_t>(got));
  }
}

}  // namespace msa::cli
