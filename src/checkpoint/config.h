// A model's config.json and generation_config.json, validated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "msa/result.h"

namespace msa {

enum class HeadReduce { mean, max };         // over query heads (head_reduce_method)
enum class QueryReduce { max, mean, last };  // over routing tokens (query_reduce_method)
enum class ChunkReduce { max, mean };        // over a document's chunks (chunk_reduce_method)

std::string_view name_of(HeadReduce reduce);
std::string_view name_of(QueryReduce reduce);
std::string_view name_of(ChunkReduce reduce);

// `msa_config`: what makes a Qwen3 backbone a Memory Sparse Attention model.
struct MsaConfig {
  std::vector<int> router_layers;  // ascending, without repeats ("all" is spelt out)
  size_t top_k = 16;               // doc_top_k, else top_k_docs, else 16
  size_t chunk_size = 64;          // P: pooling_kernel_size
  bool decouple_router = true;
  std::string aux_loss_method = "INFONCE";
  HeadReduce head_reduce = HeadReduce::mean;
  QueryReduce query_reduce = QueryReduce::max;
  ChunkReduce chunk_reduce = ChunkReduce::max;
  // Later rounds of a question choose among the documents not handed over yet. Not in the published
  // method: its checkpoints do without.
  bool skip_handed_over = false;
  double infonce_temperature = 0.1;
  double lm_loss_weight = 1.0, aux_loss_weight = 0.1;  // training only
  double rec_loss_weight = 0.0, ans_loss_weight = 1.0;

  bool is_router_layer(size_t layer) const;
  // The published inference code normalises only for this one method name.
  bool cosine_by_default() const { return aux_loss_method == "INFONCE"; }
};

struct ModelConfig {
  size_t layers = 0;       // L
  size_t query_heads = 0;  // H
  size_t kv_heads = 0;     // G; divides H
  size_t head_dim = 0;     // D; even
  size_t hidden = 0;       // d
  size_t feed_forward = 0;
  size_t vocabulary = 0;
  size_t max_positions = 0;
  float rms_norm_eps = 1e-6f;
  double rope_theta = 0;
  bool tied_embeddings = false;
  MsaConfig msa;
  std::string note;  // "msa_cpp_note": free text that this project's tools write

  size_t query_width() const { return query_heads * head_dim; }  // H*D
  size_t kv_width() const { return kv_heads * head_dim; }        // G*D
};

// Reads and checks a config.json: `model_type` must be "msa", every size positive and within sane
// bounds, heads divisible, router layers in range, no quantisation, no attention bias, activation
// silu, no rope scaling. Errors name the file and the key.
Result<ModelConfig> read_config(const std::filesystem::path& file);

// The same for a plain Qwen3 model: `model_type` must be "qwen3". What comes back has no router
// layers, and the defaults for the rest of `msa`.
Result<ModelConfig> read_qwen3_config(const std::filesystem::path& file);

// The JSON text that read_config() reads back as `config`.
std::string write_config(const ModelConfig& config, std::string_view torch_dtype);

struct GenerationConfig {
  std::vector<int64_t> eos_token_ids;  // may be empty
  std::optional<double> temperature, top_p;
};
// The folder's generation_config.json; defaults where there is none.
Result<GenerationConfig> read_generation_config(const std::filesystem::path& folder);

}  // namespace msa
