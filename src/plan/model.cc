#include "plan/model.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <system_error>

#include "checkpoint/checkpoint.h"
#include "checkpoint/config.h"

namespace msa::plan {
namespace {

constexpr std::string_view kMsa4b = "msa-4b";

ModelConfig msa_4b() {
  ModelConfig config;
  config.layers = 36;
  config.query_heads = 32;
  config.kv_heads = 8;
  config.head_dim = 128;
  config.hidden = 2560;
  config.feed_forward = 9728;
  config.vocabulary = 151936;
  config.tied_embeddings = true;
  for (int layer = 18; layer < 36; ++layer) config.msa.router_layers.push_back(layer);
  return config;
}

PlanModel plan_model(std::string name, const ModelConfig& config) {
  PlanModel model;
  model.name = std::move(name);
  model.layers = config.layers;
  model.router_layers = config.msa.router_layers.size();
  model.query_heads = config.query_heads;
  model.kv_heads = config.kv_heads;
  model.head_dim = config.head_dim;
  model.chunk_size = config.msa.chunk_size;
  model.top_k = config.msa.top_k;
  model.folds = config.msa.head_reduce == HeadReduce::mean;
  // The bounds of read_config() keep these sums and products below 2^61.
  for (const ExpectedTensor& tensor : expected_tensors(config)) {
    uint64_t count = 1;
    for (const size_t size : tensor.shape) count *= size;
    model.parameters += count;
    if (tensor.name.starts_with("model.layers.")) model.layer_parameters += count;
  }
  return model;
}

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

}  // namespace

std::vector<std::string> built_in_models() {
  return {std::string(kMsa4b)};
}

Result<PlanModel> read_plan_model(const std::string& model) {
  std::error_code ignored;
  const std::filesystem::path path = model;
  const bool folder = std::filesystem::is_directory(path, ignored);
  if (!folder && lower(model) == kMsa4b) return plan_model("MSA-4B (built-in shape)", msa_4b());
  if (!folder && !std::filesystem::exists(path, ignored))
    return Error{Code::not_found,
                 fmt::format("{}: neither a model folder nor the name of a built-in shape; give a "
                             "folder with a config.json, or {}",
                             model, fmt::join(built_in_models(), ", "))};
  MSA_ASSIGN(const ModelConfig config, read_config(folder ? path / "config.json" : path));
  return plan_model(model, config);
}

}  // namespace msa::plan
