// msa model: what a checkpoint holds, new checkpoints with random weights, and converted ones.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>
#include <optional>

#include "cli/format.h"
#include "cli/json_output.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/signals.h"
#include "cli/suggest.h"

namespace msa::cli {
namespace {

struct InfoArguments {
  ModelFlags model;
  bool json = false;
};

struct InitArguments {
  std::string folder, shape, tokenizer, router_layers, dtype = "bf16";
  std::optional<size_t> layers, hidden, feed_forward, query_heads, kv_heads, head_dim, vocabulary,
      chunk_size, top_k;
  bool untied = false;
};

struct ConvertArguments {
  std::string source, folder, router = "random", router_layers = "upper-half";
  ConvertOptions options;
};

Result<ExitCode> run_info(Session& session, const InfoArguments& arguments) {
  MSA_ASSIGN(const Model model, open_model(session, arguments.model));
  const ModelInfo info = model.info();
  if (arguments.json) {
    session.out.write(dump(to_json(info)) + "\n");
    return ExitCode::ok;
  }
  const auto row = [&](const char* name, const std::string& value) {
    if (!value.empty()) session.out.write(fmt::format("{:<16} {}\n", name, value));
  };
  row("model", info.path.string());
  row("parameters", format_count(info.parameters));
  row("layers", std::to_string(info.layers));
  row("hidden", std::to_string(info.hidden));
  row("feed-forward", std::to_string(info.feed_forward));
  row("heads",
      fmt::format("{} query, {} key/value, of {}", info.query_heads, info.kv_heads, info.head_dim));
  row("vocabulary", fmt::format("{}{}", format_count(info.vocabulary),
                                info.tied_embeddings ? ", tied embeddings" : ""));
  row("positions", format_count(info.max_positions));
  row("router layers", fmt::format("{}{}", fmt::join(info.router_layers, ", "),
                                   info.decoupled_router ? "" : " (no projections of their own)"));
  row("chunk size", fmt::format("{} tokens", info.chunk_size));
  row("top k", fmt::format("{} documents", info.top_k));
  row("routing", fmt::format("{}; heads {}, question {}, chunks {}{}", info.similarity,
                             info.head_reduce, info.query_reduce, info.chunk_reduce,
                             info.skip_handed_over ? "; documents handed over are skipped" : ""));
  row("checkpoint", info.file_dtype);
  row("computed in",
      fmt::format("{}, {} in memory", info.precision, format_bytes(info.weight_bytes)));
  row("memory per chunk", format_bytes(info.chunk_bytes));
  row("backend", info.backend);
  row("fingerprint", info.fingerprint);
  row("note", info.random_weights && info.note.empty() ? "random weights" : info.note);
  return ExitCode::ok;
}

Result<ModelShape> base_shape(const std::string& name) {
  if (name.empty()) return ModelShape{};
  std::vector<std::string> names;
  for (const ModelShape& shape : known_shapes()) {
    if (shape.name == name) return shape;
    names.push_back(shape.name);
  }
  return Error{Code::invalid_argument,
               fmt::format("--shape: '{}' is not one of {}", name, fmt::join(names, ", "))};
}

// The known shape with what was given on the command line in its place.
Result<ModelShape> chosen_shape(const InitArguments& a) {
  MSA_ASSIGN(ModelShape shape, base_shape(a.shape));
  const std::tuple<const char*, const std::optional<size_t>&, size_t&> needed[] = {
      {"--layers", a.layers, shape.layers},
      {"--hidden", a.hidden, shape.hidden},
      {"--feed-forward", a.feed_forward, shape.feed_forward},
      {"--query-heads", a.query_heads, shape.query_heads},
      {"--kv-heads", a.kv_heads, shape.kv_heads},
      {"--head-dim", a.head_dim, shape.head_dim}};
  std::vector<std::string> missing;
  bool changed = false;
  for (const auto& [name, given, value] : needed) {
    if (given) value = *given, changed = true;
    if (value == 0) missing.push_back(name);
  }
  if (!missing.empty())
    return Error{Code::invalid_argument,
                 fmt::format("model init: {} missing; give --shape, or every size of the model",
                             fmt::join(missing, ", "))};
  if (changed) shape.name = "custom";
  shape.vocabulary = a.vocabulary.value_or(shape.vocabulary);
  shape.chunk_size = a.chunk_size.value_or(shape.chunk_size);
  shape.top_k = a.top_k.value_or(shape.top_k);
  if (a.untied) shape.tied_embeddings = false;
  if (a.layers && a.router_layers.empty()) shape.router_layers.clear();  // those of another depth
  if (a.router_layers == "all") {
    shape.router_layers.clear();
    for (size_t layer = 0; layer < shape.layers; ++layer)
      shape.router_layers.push_back(static_cast<int>(layer));
  } else if (!a.router_layers.empty()) {
    MSA_ASSIGN(shape.router_layers, parse_layers(a.router_layers));
  }
  shape.precision = a.dtype == "f32" ? Precision::f32 : Precision::bf16;
  return shape;
}

Result<ExitCode> run_init(Session& session, const InitArguments& arguments) {
  MSA_ASSIGN(const ModelShape shape, chosen_shape(arguments));
  std::filesystem::path tokenizer = arguments.tokenizer;
  std::error_code error;
  if (std::filesystem::is_directory(tokenizer, error)) tokenizer /= "tokenizer.json";
  MSA_TRY(init_model(arguments.folder, shape, tokenizer, session.global.seed.value_or(0)));
  session.console.line(
      fmt::format("{}: a {} model with random weights; train it, or use it to try "
                  "things out",
                  arguments.folder, shape.name));
  return ExitCode::ok;
}

void add_init(CLI::App& model, Command& chosen) {
  auto arguments = std::make_shared<InitArguments>();
  InitArguments& a = *arguments;
  CLI::App& command = *model.add_subcommand("init", "Make a checkpoint with random weights");
  command.add_option("FOLDER", a.folder, "Where to put it")->required();
  command.add_option("--tokenizer", a.tokenizer, "A tokenizer.json, or a folder that holds one")
      ->type_name("FILE")
      ->required();
  command.add_option("--shape", a.shape, "tiny, 0.6b, 1.7b or 4b; the options below change it")
      ->type_name("NAME");
  const auto size = [&](const char* name, std::optional<size_t>& value, uint64_t most,
                        const char* description) {
    command.add_option(name, value, description)->type_name("N")->check(whole_number(1, most));
  };
  size("--layers", a.layers, 1 << 12, "Layers");
  size("--hidden", a.hidden, 1 << 20, "Hidden size");
  size("--feed-forward", a.feed_forward, 1 << 22, "Feed-forward size");
  size("--query-heads", a.query_heads, 1 << 12, "Query heads, a multiple of --kv-heads");
  size("--kv-heads", a.kv_heads, 1 << 12, "Key/value heads");
  size("--head-dim", a.head_dim, 1 << 12, "Size of a head, even");
  size("--vocabulary", a.vocabulary, 1 << 24, "Tokens [the tokenizer's, rounded up to 64]");
  size("--chunk-size", a.chunk_size, 1 << 16, "Tokens averaged into one key [64]");
  size("--top-k", a.top_k, 100'000, "Documents per router layer [16]");
  command
      .add_option("--router-layers", a.router_layers,
                  "all, or for example 2,3 or 18-35 [upper half]")
      ->type_name("LIST");
  command.add_flag("--untied", a.untied, "An output matrix apart from the embeddings");
  command.add_option("--dtype", a.dtype, "Store as f32 or bf16")
      ->type_name("NAME")
      ->check(one_of({"f32", "bf16"}))
      ->capture_default_str();
  command.footer(
      "Examples:\n"
      "  msa model init models/tiny --shape tiny --tokenizer models/MSA-4B --seed 1\n"
      "  msa model init models/mine --layers 4 --hidden 128 --feed-forward 256 --query-heads 4 \\\n"
      "      --kv-heads 2 --head-dim 32 --router-layers 2-3 --dtype f32 --tokenizer "
      "tokenizer.json\n");
  command.callback([&chosen, arguments] {
    chosen = [arguments](Session& session) { return run_init(session, *arguments); };
  });
}

Result<ExitCode> run_convert(Session& session, const ConvertArguments& arguments) {
  ConvertOptions options = arguments.options;
  options.router = arguments.router == "copy" ? RouterStart::copy : RouterStart::random;
  options.seed = session.global.seed.value_or(0);
  if (arguments.router_layers != "upper-half") {
    MSA_ASSIGN(options.router_layers, parse_layers(arguments.router_layers));
  }
  StopOnSignal stop;
  Result<void> converted = [&] {
    Progress progress(session.console);
    return convert_model(
        arguments.source, arguments.folder, options,
        [&](uint64_t done, uint64_t all) {
          progress.update([&] {
            ProgressState state;
            state.doing = "converting";
            if (all > 0) state.fraction = static_cast<double>(done) / static_cast<double>(all);
            state.facts = {fmt::format("{} of {}", format_bytes(done), format_bytes(all))};
            return state;
          });
        },
        stop.token());
  }();
  MSA_TRY(std::move(converted));
  session.console.line(fmt::format(
      "{}: the model of {} with a router that is not trained; train it before it is asked",
      arguments.folder, arguments.source));
  return ExitCode::ok;
}

void add_convert(CLI::App& model, Command& chosen) {
  auto arguments = std::make_shared<ConvertArguments>();
  ConvertArguments& a = *arguments;
  CLI::App& command = *model.add_subcommand("convert", "Give a plain Qwen3 checkpoint a router");
  command.add_option("SOURCE", a.source, "Folder of the Qwen3 checkpoint")->required();
  command.add_option("FOLDER", a.folder, "Where to put the model; must not be there")->required();
  command
      .add_option("--router", a.router,
                  "Router projections begin as random numbers, or as a copy of q_proj and k_proj")
      ->type_name("NAME")
      ->check(one_of({"random", "copy"}))
      ->capture_default_str();
  command
      .add_option("--router-layers", a.router_layers, "upper-half, or for example 18,19 or 18-35")
      ->type_name("LIST")
      ->capture_default_str();
  command.add_option("--chunk-size", a.options.chunk_size, "Tokens averaged into one key")
      ->type_name("N")
      ->check(whole_number(1, 1 << 16))
      ->capture_default_str();
  command.add_option("--top-k", a.options.top_k, "Documents per router layer")
      ->type_name("N")
      ->check(whole_number(1, 1 << 16))
      ->capture_default_str();
  command.footer(
      "Weights, their dtypes, tokenizer and generation_config.json stay what they are.\n\n"
      "Examples:\n"
      "  msa model convert models/Qwen3-4B models/untrained-4B\n"
      "  msa model convert models/Qwen3-0.6B models/new --router copy --router-layers 14-27\n");
  command.callback([&chosen, arguments] {
    chosen = [arguments](Session& session) { return run_convert(session, *arguments); };
  });
}

}  // namespace

void add_model(CLI::App& app, Command& chosen) {
  CLI::App& model =
      *app.add_subcommand("model", "Look into a model, make a new one, or convert one");
  model.require_subcommand(1);
  model.footer(
      "Examples:\n"
      "  msa model info models/MSA-4B\n"
      "  msa model init models/tiny --shape tiny --tokenizer tokenizer.json\n"
      "  msa model convert models/Qwen3-4B models/untrained-4B\n");

  auto arguments = std::make_shared<InfoArguments>();
  CLI::App& info = *model.add_subcommand("info", "Shape, router, precision and fingerprint");
  add_model_flags(info, arguments->model);
  info.add_option("FOLDER", arguments->model.folder, "Model folder, instead of --model");
  add_json_flag(info, arguments->json);
  info.footer("Example:\n  msa model info models/MSA-4B --json\n");
  info.callback([&chosen, arguments] {
    chosen = [arguments](Session& session) { return run_info(session, *arguments); };
  });
  add_init(model, chosen);
  add_convert(model, chosen);
}

}  // namespace msa::cli
