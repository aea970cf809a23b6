#include "engine/model_handle.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/hash.h"
#include "engine/guard.h"
#include "text/prompt.h"

namespace msa {
namespace {

constexpr std::string_view kRandomNote = "random weights";

LogLevel level_of(Severity severity) {
  return static_cast<LogLevel>(severity);
}

Runtime make_runtime(const ModelOptions& options) {
  Runtime runtime;
  runtime.threads = options.threads;
  runtime.seed = options.seed;
  if (options.log)
    runtime.log = Logger(
        [sink = options.log](LogLevel level, std::string_view message) {
          sink(static_cast<Severity>(level), message);
        },
        level_of(Severity::debug));
  return runtime;
}

Result<std::shared_ptr<const Model::Impl>> open_model(const std::filesystem::path& folder,
                                                      const ModelOptions& options) {
  if (options.threads < 0)
    return Error{Code::invalid_argument,
                 fmt::format("threads: {} is negative; use 0 for one per core", options.threads)};
  auto impl = std::make_shared<Model::Impl>();
  impl->options = options;
  impl->runtime = make_runtime(options);

  MSA_ASSIGN(Checkpoint opened, Checkpoint::open(folder));
  const auto checkpoint = std::make_shared<const Checkpoint>(std::move(opened));
  const ModelConfig& config = checkpoint->config();
  MSA_ASSIGN(impl->tokenizer, Tokenizer::load(folder / "tokenizer.json"));
  if (impl->tokenizer->vocabulary_size() > config.vocabulary)
    return Error{Code::mismatch,
                 fmt::format("{}: the tokenizer has {} entries, the model's vocabulary {}; use the "
                             "tokenizer that came with the model",
                             (folder / "tokenizer.json").string(),
                             impl->tokenizer->vocabulary_size(), config.vocabulary)};
  MSA_TRY(check_prompt_tokens(*impl->tokenizer));
  MSA_ASSIGN(const GenerationConfig generation, read_generation_config(folder));
  impl->end_tokens.push_back(impl->tokenizer->find(kImEnd).value());
  for (const int64_t id : generation.eos_token_ids)
    if (id >= 0 && static_cast<uint64_t>(id) < config.vocabulary)
      impl->end_tokens.push_back(static_cast<TokenId>(id));

  MSA_ASSIGN(impl->backend, make_cpu_backend(impl->runtime));
  DType compute = checkpoint->dtype() == DType::f32 ? DType::f32 : DType::bf16;
  if (options.precision == Precision::f32) compute = DType::f32;
  if (options.precision == Precision::bf16) compute = DType::bf16;
  const bool cosine = options.similarity == Similarity::automatic
                          ? config.msa.cosine_by_default()
                          : options.similarity == Similarity::cosine;
  // Before loading, which gives back the pages of the file that this touches.
  impl->fingerprint = checkpoint->fingerprint();
  MSA_ASSIGN(impl->weights,
             load_weights(impl->runtime, *impl->backend, checkpoint, compute, cosine));

  Encoder encoder(*impl->backend, impl->weights);
  MSA_ASSIGN(PrefixKv prefix, encoder.encode_prefix(prefix_tokens(*impl->tokenizer)));
  impl->prefix = std::make_shared<const PrefixKv>(std::move(prefix));
  return std::shared_ptr<const Model::Impl>(std::move(impl));
}

}  // namespace

BankManifest Model::Impl::manifest() const {
  BankManifest manifest;
  manifest.router_layers = config().msa.router_layers;
  manifest.kv_heads = config().kv_heads;
  manifest.head_dim = config().head_dim;
  manifest.chunk_size = config().msa.chunk_size;
  manifest.dtype = weights->compute;
  manifest.cosine = cosine();
  manifest.model_fingerprint = fingerprint;
  manifest.tokenizer_fingerprint = tokenizer->fingerprint();
  return manifest;
}

Result<void> Model::Impl::check_bank(const BankManifest& bank,
                                     const std::filesystem::path& folder) const {
  BankManifest wanted = manifest();
  // Content is converted to what the model computes in, and questions are compared as the bank's
  // keys were stored, unless somebody insists on the other way.
  wanted.dtype = bank.dtype;
  if (options.similarity == Similarity::automatic) wanted.cosine = bank.cosine;
  return check_manifest(bank, wanted, folder);
}

Result<Model> Model::open(const std::filesystem::path& folder, const ModelOptions& options) {
  return guarded("opening the model", [&]() -> Result<Model> {
    MSA_ASSIGN(auto impl, open_model(folder, options));
    return Model(std::move(impl));
  });
}

ModelInfo Model::info() const {
  const ModelConfig& config = impl_->config();
  const Checkpoint& checkpoint = *impl_->weights->checkpoint;
  ModelInfo info;
  info.path = checkpoint.folder();
  info.layers = config.layers;
  info.query_heads = config.query_heads;
  info.kv_heads = config.kv_heads;
  info.head_dim = config.head_dim;
  info.hidden = config.hidden;
  info.feed_forward = config.feed_forward;
  info.vocabulary = config.vocabulary;
  info.max_positions = config.max_positions;
  info.router_layers = config.msa.router_layers;
  info.chunk_size = config.msa.chunk_size;
  info.top_k = config.msa.top_k;
  info.similarity = impl_->cosine() ? "cosine" : "dot";
  info.head_reduce = name_of(config.msa.head_reduce);
  info.query_reduce = name_of(config.msa.query_reduce);
  info.chunk_reduce = name_of(config.msa.chunk_reduce);
  info.decoupled_router = config.msa.decouple_router;
  info.skip_handed_over = config.msa.skip_handed_over;
  info.tied_embeddings = config.tied_embeddings;
  info.file_dtype = name_of(checkpoint.dtype());
  info.precision = impl_->weights->compute == DType::f32 ? "float32" : "bf16";
  info.parameters = checkpoint.parameters();
  info.weight_bytes = impl_->weights->packed_bytes();
  info.chunk_bytes = impl_->manifest().segment_shape().bytes_per_chunk();
  info.fingerprint = to_hex(impl_->fingerprint);
  info.note = config.note;
  info.random_weights = config.note.starts_with(kRandomNote);
  info.backend = impl_->backend->describe();
  return info;
}

std::vector<int32_t> Model::tokenize(std::string_view text) const {
  return impl_->tokenizer->encode(text);
}

std::string Model::detokenize(std::span<const int32_t> tokens) const {
  return impl_->tokenizer->decode(tokens);
}

struct TextTokenizer::Impl {
  std::shared_ptr<const Tokenizer> tokenizer;
};

Result<TextTokenizer> TextTokenizer::open(const std::filesystem::path& file) {
  return guarded("opening the tokenizer", [&]() -> Result<TextTokenizer> {
    MSA_ASSIGN(auto tokenizer, Tokenizer::load(file));
    return TextTokenizer(std::make_shared<const Impl>(Impl{std::move(tokenizer)}));
  });
}

std::vector<int32_t> TextTokenizer::tokenize(std::string_view text) const {
  return impl_->tokenizer->encode(text);
}

std::string TextTokenizer::detokenize(std::span<const int32_t> tokens) const {
  return impl_->tokenizer->decode(tokens);
}

size_t TextTokenizer::vocabulary_size() const {
  return impl_->tokenizer->vocabulary_size();
}

}  // namespace msa
