#include "train/loop/train.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "train/loop/device.h"
#include "train/loop/run.h"
#include "train/loop/tensor_memory.h"

namespace msa::train {
namespace {

// The first difference of two shapes that a user can name, or nothing.
std::string difference(const ModelConfig& wanted, const ModelConfig& there) {
  const std::pair<const char*, size_t ModelConfig::*> sizes[] = {
      {"layers", &ModelConfig::layers},
      {"hidden", &ModelConfig::hidden},
      {"feed_forward", &ModelConfig::feed_forward},
      {"query_heads", &ModelConfig::query_heads},
      {"kv_heads", &ModelConfig::kv_heads},
      {"head_dim", &ModelConfig::head_dim},
      {"vocabulary", &ModelConfig::vocabulary}};
  for (const auto& [name, size] : sizes)
    if (wanted.*size != there.*size)
      return fmt::format("\"{}\" {} where the recipe says {}", name, there.*size, wanted.*size);
  if (wanted.tied_embeddings != there.tied_embeddings) return "other \"tied_embeddings\"";
  if (wanted.msa.router_layers != there.msa.router_layers) return "other \"router_layers\"";
  if (wanted.msa.chunk_size != there.msa.chunk_size)
    return fmt::format("\"chunk_size\" {} where the recipe says {}", there.msa.chunk_size,
                       wanted.msa.chunk_size);
  return {};
}

// The model that the recipe and the options ask for, and the fingerprint of its tokenizer.
Result<std::unique_ptr<Model>> make_model(const Recipe& recipe, const TrainOptions& options,
                                          const Tokenizer& tokenizer) {
  std::optional<ModelConfig> shape = recipe.shape;
  if (shape) {
    if (shape->vocabulary == 0) shape->vocabulary = tokenizer.vocabulary_size();
    if (shape->vocabulary < tokenizer.vocabulary_size())
      return Error{
          Code::invalid_argument,
          fmt::format("{}: \"model.vocabulary\" is {}, the tokenizer has {} tokens; leave "
                      "it out or raise it",
                      recipe.file.string(), shape->vocabulary, tokenizer.vocabulary_size())};
  }
  const std::filesystem::path& init = options.init.empty() ? recipe.init : options.init;
  if (init.empty()) return Model::create(*shape, recipe.seed);
  MSA_ASSIGN(std::unique_ptr<Model> model, Model::load(init));
  if (shape) {
    const std::string other = difference(*shape, model->config());
    if (!other.empty())
      return Error{Code::mismatch,
                   fmt::format("{}: has {} ({}); use a checkpoint of that shape or write "
                               "\"model\": {{\"init\": …}} in the recipe",
                               init.string(), other, recipe.file.string())};
  }
  if (model->config().vocabulary < tokenizer.vocabulary_size())
    return Error{Code::mismatch,
                 fmt::format("{}: has a vocabulary of {}, the tokenizer {} of {}; use the "
                             "checkpoint's own tokenizer",
                             init.string(), model->config().vocabulary, recipe.tokenizer.string(),
                             tokenizer.vocabulary_size())};
  return model;
}

}  // namespace

Result<TrainOutcome> train(const Recipe& recipe, const MakeBatcher& make_batcher,
                           const TrainOptions& options, TrainObserver& observer) {
  set_threads(options.threads);
  keep_tensor_memory();
  MSA_ASSIGN(const torch::Device device, parse_device(options.device));
  MSA_ASSIGN(const std::shared_ptr<const Tokenizer> tokenizer, Tokenizer::load(recipe.tokenizer));
  MSA_ASSIGN(const std::unique_ptr<Model> model, make_model(recipe, options, *tokenizer));
  try {
    model->to(device);
  } catch (const std::exception& error) {
    return Error{
        Code::no_space,
        fmt::format("device '{}': the model does not fit; use --device cpu", options.device)};
  }
  return run_training(*model, recipe, tokenizer->fingerprint(), make_batcher, options, observer);
}

}  // namespace msa::train
