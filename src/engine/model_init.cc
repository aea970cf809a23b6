// Random checkpoints of a named or given shape.

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/files.h"
#include "checkpoint/checkpoint.h"
#include "engine/guard.h"
#include "msa/msa.h"
#include "text/prompt.h"
#include "text/tokenizer.h"

namespace msa {
namespace {

constexpr size_t kQwenVocabulary = 151936;
constexpr size_t kMaxPositions = 40960;
constexpr size_t kTokenizerBytes = 256u << 20;

// Shapes of the Qwen3 family; the last is MSA-4B's.
ModelShape shape(std::string name, size_t layers, size_t hidden, size_t feed_forward, size_t heads,
                 size_t kv_heads, size_t head_dim, size_t vocabulary) {
  ModelShape s;
  s.name = std::move(name);
  s.layers = layers;
  s.hidden = hidden;
  s.feed_forward = feed_forward;
  s.query_heads = heads;
  s.kv_heads = kv_heads;
  s.head_dim = head_dim;
  s.vocabulary = vocabulary;
  return s;
}

ModelConfig config_of(const ModelShape& s, size_t vocabulary, uint64_t seed) {
  ModelConfig config;
  config.layers = s.layers;
  config.query_heads = s.query_heads;
  config.kv_heads = s.kv_heads;
  config.head_dim = s.head_dim;
  config.hidden = s.hidden;
  config.feed_forward = s.feed_forward;
  config.vocabulary = vocabulary;
  config.max_positions = kMaxPositions;
  config.rope_theta = s.rope_theta;
  config.tied_embeddings = s.tied_embeddings;
  config.msa.top_k = s.top_k;
  config.msa.chunk_size = s.chunk_size;
  config.msa.decouple_router = s.decoupled_router;
  config.msa.router_layers = s.router_layers;
  if (s.router_layers.empty()) {
    config.msa.router_layers.resize(s.layers - s.layers / 2);
    std::iota(config.msa.router_layers.begin(), config.msa.router_layers.end(),
              static_cast<int>(s.layers / 2));
  }
  config.note = fmt::format("random weights (seed {}): nothing was trained", seed);
  return config;
}

Result<void> write_model(const std::filesystem::path& folder, const ModelShape& s,
                         const std::filesystem::path& tokenizer_file, uint64_t seed) {
  if (s.layers == 0 || s.hidden == 0 || s.feed_forward == 0 || s.query_heads == 0 ||
      s.kv_heads == 0 || s.head_dim == 0)
    return Error{Code::invalid_argument,
                 fmt::format("{}: a shape needs layers, hidden size, feed-forward size, query "
                             "heads, key/value heads and head size; name one of the known shapes "
                             "or give them all",
                             folder.string())};
  MSA_ASSIGN(const auto tokenizer, Tokenizer::load(tokenizer_file));
  MSA_TRY(check_prompt_tokens(*tokenizer));
  const size_t needed = tokenizer->vocabulary_size();
  const size_t vocabulary = s.vocabulary != 0 ? s.vocabulary : (needed + 63) / 64 * 64;
  if (needed > vocabulary)
    return Error{Code::mismatch,
                 fmt::format("{}: the tokenizer has {} entries, more than the vocabulary of {}; "
                             "ask for a larger vocabulary",
                             tokenizer_file.string(), needed, vocabulary)};
  std::error_code ignored;
  if (std::filesystem::exists(folder / "config.json", ignored))
    return Error{Code::invalid_argument,
                 fmt::format("{}: holds a model already; choose another folder", folder.string())};
  MSA_TRY(make_folder(folder));
  MSA_ASSIGN(const std::string json, read_file(tokenizer_file, kTokenizerBytes));
  MSA_ASSIGN(AtomicFileWriter copy, AtomicFileWriter::create(folder / "tokenizer.json"));
  MSA_TRY(copy.write(std::as_bytes(std::span(json))));
  MSA_TRY(copy.commit());
  const DType dtype = s.precision == Precision::f32 ? DType::f32 : DType::bf16;
  return write_random_checkpoint(folder, config_of(s, vocabulary, seed), dtype, seed);
}

}  // namespace

std::vector<ModelShape> known_shapes() {
  return {shape("tiny", 4, 256, 768, 4, 2, 64, 0),
          shape("0.6b", 28, 1024, 3072, 16, 8, 128, kQwenVocabulary),
          shape("1.7b", 28, 2048, 6144, 16, 8, 128, kQwenVocabulary),
          shape("4b", 36, 2560, 9728, 32, 8, 128, kQwenVocabulary)};
}

Result<void> init_model(const std::filesystem::path& folder, const ModelShape& shape,
                        const std::filesystem::path& tokenizer_file, uint64_t seed) {
  return guarded("writing the model",
                 [&] { return write_model(folder, shape, tokenizer_file, seed); });
}

}  // namespace msa
