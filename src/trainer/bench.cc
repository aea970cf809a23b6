#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "text/tokenizer.h"
#include "train/loop/recipe.h"
#include "train/loop/speed.h"
#include "trainer/command.h"
#include "trainer/format.h"

namespace msa::trainer {
namespace {

struct BenchFlags {
  std::string recipe, dtype;
  train::SpeedOptions options;
  bool json = false, tokens_given = false;
};

// About ten million parameters.
ModelConfig default_shape() {
  ModelConfig shape;
  shape.layers = 8;
  shape.hidden = 256;
  shape.feed_forward = 1024;
  shape.query_heads = shape.kv_heads = 4;
  shape.head_dim = 64;
  shape.vocabulary = 4096;
  shape.max_positions = 32768;
  shape.rope_theta = 1e6;
  shape.tied_embeddings = true;
  shape.msa.router_layers = {4, 5, 6, 7};
  return shape;
}

Result<ExitCode> bench(BenchFlags flags, Console& console) {
  ModelConfig shape = default_shape();
  if (!flags.recipe.empty()) {
    MSA_ASSIGN(const train::Recipe recipe, train::read_recipe(flags.recipe));
    if (recipe.shape) {
      shape = *recipe.shape;
      MSA_ASSIGN(const auto tokenizer, Tokenizer::load(recipe.tokenizer));
      if (shape.vocabulary == 0) shape.vocabulary = tokenizer->vocabulary_size();
    } else {
      MSA_ASSIGN(shape, read_config(recipe.init / "config.json"));
    }
    flags.options.compute = recipe.compute;
    flags.options.checkpoint_activations = recipe.phases.back().checkpoint_activations;
    flags.options.top_k = recipe.phases.back().top_k.back();
    if (!flags.tokens_given) flags.options.tokens = recipe.phases.back().batch.tokens;
  }
  if (!flags.dtype.empty()) flags.options.compute = flags.dtype == "f32" ? DType::f32 : DType::bf16;
  MSA_ASSIGN(const train::SpeedReport report, train::measure_speed(shape, flags.options));
  if (flags.json) {
    const nlohmann::ordered_json json = {{"parameters", report.parameters},
                                         {"tokens_per_step", report.tokens},
                                         {"seconds_per_step", report.seconds},
                                         {"mean_seconds_per_step", report.mean_seconds},
                                         {"optimizer_seconds", report.optimizer_seconds},
                                         {"tokens_per_second", report.tokens_per_second()},
                                         {"product_operations_per_step", report.product_operations},
                                         {"product_operations_per_second", report.product_rate},
                                         {"share_of_product_rate", report.product_share()},
                                         {"peak_resident_bytes", report.peak_bytes}};
    console.out(json.dump(2) + "\n");
    return ExitCode::ok;
  }
  console.out(fmt::format(
      "{} parameters, {} tokens per step, {}\n"
      "{:.0f} tokens/s: {:.3f} s per step (mean {:.3f} s), of which the optimizer {:.3f} s\n"
      "products with weights: {:.1f} GFLOP per step, {:.1f}% of the {:.0f} GFLOP/s that one large "
      "product reaches here\n"
      "peak resident memory: {}\n",
      count_text(static_cast<double>(report.parameters)), report.tokens,
      flags.options.compute == DType::f32 ? "float32" : "bfloat16", report.tokens_per_second(),
      report.seconds, report.mean_seconds, report.optimizer_seconds,
      report.product_operations / 1e9, 100 * report.product_share(), report.product_rate / 1e9,
      bytes_text(report.peak_bytes)));
  return ExitCode::ok;
}

}  // namespace

void add_bench(CLI::App& app, Command& chosen) {
  CLI::App* command = app.add_subcommand("bench", "Measure the speed of training steps");
  auto flags = std::make_shared<BenchFlags>();
  command->add_option("--recipe", flags->recipe, "The model of this recipe [one of 10M parameters]")
      ->type_name("RECIPE.json");
  CLI::Option* tokens =
      command->add_option("--tokens", flags->options.tokens, "Tokens per step [the recipe's, 8192]")
          ->type_name("N")
          ->check(CLI::Range(64, 1 << 24));
  command->add_option("--document-tokens", flags->options.document_tokens, "Tokens per document")
      ->type_name("N")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--steps", flags->options.steps, "Steps to measure")
      ->type_name("N")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command->add_option("--dtype", flags->dtype, "bf16 or f32 [the recipe's, bf16]")
      ->check(CLI::IsMember({"bf16", "f32"}));
  command->add_option("--threads", flags->options.threads, "Threads; 0: one per core")
      ->type_name("N")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
  command->add_option("--device", flags->options.device, "cpu, cuda or cuda:N")
      ->type_name("NAME")
      ->capture_default_str();
  command->add_flag("--json", flags->json, "Print as JSON");
  command->callback([flags, tokens, &chosen] {
    flags->tokens_given = tokens->count() > 0;
    chosen = [flags](Console& console) { return bench(*flags, console); };
  });
}

}  // namespace msa::trainer
