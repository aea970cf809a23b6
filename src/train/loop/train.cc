#include "train/loop/train.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "train/loop/device.h"
#include "train/loop/run.h"
#include "train/loop/tensor_memory.h"

namespace msa::train {
namespace {

// The first difference that a user can name between what a recipe and a checkpoint say of a model,
// or nothing. What changes no weight counts too: the model that is trained has the checkpoint's.
std::string difference(const ModelConfig& wanted, const ModelConfig& there) {
  const auto named = [](const char* key, const auto& has, const auto& wants) {
    return fmt::format("\"{}\" {} where the recipe has {}", key, has, wants);
  };
  const std::pair<const char*, size_t ModelConfig::*> sizes[] = {
      {"layers", &ModelConfig::layers},
      {"hidden", &ModelConfig::hidden},
      {"feed_forward", &ModelConfig::feed_forward},
      {"query_heads", &ModelConfig::query_heads},
      {"kv_heads", &ModelConfig::kv_heads},
      {"head_dim", &ModelConfig::head_dim},
      {"vocabulary", &ModelConfig::vocabulary},
      {"max_positions", &ModelConfig::max_positions}};
  for (const auto& [name, size] : sizes)
    if (wanted.*size != there.*size) return named(name, there.*size, wanted.*size);
  if (wanted.rope_theta != there.rope_theta)
    return named("rope_theta", there.rope_theta, wanted.rope_theta);
  if (wanted.rms_norm_eps != there.rms_norm_eps)
    return named("rms_norm_eps", there.rms_norm_eps, wanted.rms_norm_eps);
  if (wanted.tied_embeddings != there.tied_embeddings) return "other \"tied_embeddings\"";
  const MsaConfig& ours = wanted.msa;
  const MsaConfig& theirs = there.msa;
  if (ours.router_layers != theirs.router_layers) return "other \"router_layers\"";
  if (ours.chunk_size != theirs.chunk_size)
    return named("chunk_size", theirs.chunk_size, ours.chunk_size);
  if (ours.top_k != theirs.top_k) return named("top_k", theirs.top_k, ours.top_k);
  if (ours.decouple_router != theirs.decouple_router)
    return named("decouple_router", theirs.decouple_router, ours.decouple_router);
  if (ours.head_reduce != theirs.head_reduce)
    return named("head_reduce", name_of(theirs.head_reduce), name_of(ours.head_reduce));
  if (ours.query_reduce != theirs.query_reduce)
    return named("query_reduce", name_of(theirs.query_reduce), name_of(ours.query_reduce));
  if (ours.chunk_reduce != theirs.chunk_reduce)
    return named("chunk_reduce", name_of(theirs.chunk_reduce), name_of(ours.chunk_reduce));
  if (ours.aux_loss_method != theirs.aux_loss_method)
    return named("aux_loss", theirs.aux_loss_method, ours.aux_loss_method);
  if (ours.infonce_temperature != theirs.infonce_temperature)
    return named("temperature", theirs.infonce_temperature, ours.infonce_temperature);
  if (ours.skip_handed_over != theirs.skip_handed_over)
    return named("skip_handed_over", theirs.skip_handed_over, ours.skip_handed_over);
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
                   fmt::format("{}: has {} ({}); correct the recipe, use another checkpoint, or "
                               "write \"model\": {{\"init\": …}} to take all from this one",
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
