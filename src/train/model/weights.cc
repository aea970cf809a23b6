#include "train/model/weights.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>
#include <span>

#include "base/hash.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/config_text.h"
#include "checkpoint/normal_stream.h"

namespace msa::train {
namespace {

using torch::Tensor;

constexpr float kHeadShare = 0.02f;  // of the embeddings' size
constexpr std::string_view kRouterQ = ".self_attn.router_q_proj.0.weight";
constexpr std::string_view kRouterK = ".self_attn.router_k_proj.0.weight";

std::vector<int64_t> extents(const std::vector<size_t>& shape) {
  return {shape.begin(), shape.end()};
}

// Normal numbers that depend on seed and name only.
Tensor normal(const ExpectedTensor& tensor, uint64_t seed, float deviation) {
  Tensor values = torch::empty(extents(tensor.shape), torch::kFloat32);
  const std::span<float> out(values.data_ptr<float>(), static_cast<size_t>(values.numel()));
  const uint64_t stream = hash64(tensor.name) ^ seed * 0x9e3779b97f4a7c15u;
  constexpr size_t kBlock = 16384;  // numbers of one random stream
  for (size_t begin = 0; begin < out.size(); begin += kBlock)
    fill_normal(stream, begin / kBlock, out.subspan(begin, std::min(kBlock, out.size() - begin)));
  return values.mul_(deviation);
}

// Standard deviation that a matrix starts with: 1/sqrt(inputs), so that sizes are kept from layer
// to layer whatever the width. Two exceptions. Each layer adds to the residual stream twice, by
// less the more layers there are. And embeddings that are no output matrix as well start at 1,
// large against what the first steps of training add everywhere: that common part would make all
// texts look alike to the router, which then never starts to learn.
float deviation(const ExpectedTensor& tensor, const ModelConfig& config) {
  if (tensor.name == "model.embed_tokens.weight" && !config.tied_embeddings) return 1;
  const float kept = 1 / std::sqrt(static_cast<float>(tensor.shape[1]));
  const bool adds_to_residual =
      tensor.name.ends_with(".o_proj.weight") || tensor.name.ends_with(".down_proj.weight");
  return adds_to_residual ? kept / std::sqrt(2 * static_cast<float>(config.layers)) : kept;
}

// Each group's rows once per query head of the group: [G * D, d] -> [H * D, d]. The two maps of a
// router must agree about what is similar, and this way they start out doing so.
Tensor repeated_per_query_head(const Tensor& keys, const ModelConfig& config) {
  const auto groups = static_cast<int64_t>(config.kv_heads);
  return keys.view({groups, -1, keys.size(1)})
      .repeat_interleave(static_cast<int64_t>(config.query_heads) / groups, 0)
      .view({-1, keys.size(1)})
      .clone();
}

// The values as float32; any dtype that a checkpoint may have.
Tensor as_float(const TensorView& view) {
  // The mapped bytes need not be aligned, so they are copied before they are looked at.
  const auto type = view.dtype == DType::f32   ? torch::kFloat32
                    : view.dtype == DType::f16 ? torch::kFloat16
                                               : torch::kBFloat16;
  const Tensor raw = torch::empty(extents(view.shape), type);
  std::memcpy(raw.data_ptr(), view.bytes.data(), view.bytes.size());
  return raw.to(torch::kFloat32);
}

}  // namespace

void Parameters::add(std::string name, Tensor values) {
  places_.emplace(name, list_.size());
  list_.emplace_back(std::move(name), values.set_requires_grad(true));
}

const Tensor& Parameters::at(std::string_view name) const {
  const auto place = places_.find(name);
  assert(place != places_.end() && "not a tensor of this model");
  return list_[place->second].second;
}

void Parameters::to(torch::Device device) {
  torch::NoGradGuard no_gradient;
  // The tensors keep their identity, so that an optimiser that knows them goes on knowing them.
  for (auto& [name, tensor] : list_) tensor.set_data(tensor.to(device));
}

Result<Parameters> Parameters::random(const ModelConfig& config, uint64_t seed) {
  // What could not be read back is not built.
  Result<ModelConfig> checked = parse_config(write_config(config, "float32"), "model shape");
  if (!checked) return Error{Code::invalid_argument, std::move(checked).error().message};
  Parameters parameters;
  for (const ExpectedTensor& tensor : expected_tensors(config)) {
    if (tensor.shape.size() == 1)  // only norms are vectors
      parameters.add(tensor.name, torch::ones(extents(tensor.shape), torch::kFloat32));
    else
      parameters.add(tensor.name, normal(tensor, seed, deviation(tensor, config)));
  }
  torch::NoGradGuard no_gradient;
  // An output matrix of its own starts out aligned with the embeddings, as a shared one is: copying
  // a token then needs no map between the two that would have to be learned entry by entry.
  if (!config.tied_embeddings)
    parameters.list_[parameters.places_.at("lm_head.weight")].second.copy_(
        parameters.at("model.embed_tokens.weight") * kHeadShare);
  for (auto& [name, tensor] : parameters.list_)
    if (name.ends_with(kRouterQ)) {
      const std::string layer = name.substr(0, name.size() - kRouterQ.size());
      tensor.copy_(repeated_per_query_head(parameters.at(layer + std::string(kRouterK)), config));
    }
  return parameters;
}

Result<std::pair<Parameters, ModelConfig>> Parameters::read(const std::filesystem::path& folder) {
  MSA_ASSIGN(const Checkpoint checkpoint, Checkpoint::open(folder));
  Parameters parameters;
  for (const ExpectedTensor& tensor : expected_tensors(checkpoint.config())) {
    MSA_TRY(checkpoint.check_finite(tensor.name));
    parameters.add(tensor.name, as_float(checkpoint.tensor(tensor.name)));
    checkpoint.drop(tensor.name);
  }
  return std::pair{std::move(parameters), checkpoint.config()};
}

Result<std::pair<Parameters, ModelConfig>> Parameters::with_layers(
    const ModelConfig& config, std::span<const size_t> places) const {
  if (!std::is_sorted(places.begin(), places.end()) ||
      (!places.empty() && places.back() > config.layers))
    return Error{Code::invalid_argument,
                 fmt::format("new layers: their places do not ascend from 0 to {}, the number of "
                             "layers; correct them",
                             config.layers)};
  struct Source {
    size_t layer;
    bool copied;
  };
  std::vector<Source> sources;  // of each layer of the deeper model
  ModelConfig deeper = config;
  deeper.msa.router_layers.clear();
  auto place = places.begin();
  for (size_t i = 0; i <= config.layers; ++i) {
    for (; place != places.end() && *place == i; ++place)
      sources.push_back({i > 0 ? i - 1 : 0, true});
    if (i == config.layers) break;
    if (config.msa.is_router_layer(i))
      deeper.msa.router_layers.push_back(static_cast<int>(sources.size()));
    sources.push_back({i, false});
  }
  deeper.layers = sources.size();
  // What could not be read back is not built.
  Result<ModelConfig> checked = parse_config(write_config(deeper, "float32"), "new layers");
  if (!checked) return Error{Code::invalid_argument, std::move(checked).error().message};

  const torch::NoGradGuard no_gradient;
  std::map<std::string, std::pair<std::string, bool>, std::less<>> from;  // name, whether copied
  for (size_t i = 0; i < sources.size(); ++i) {
    const std::string before = fmt::format("model.layers.{}.", sources[i].layer);
    for (const auto& [name, tensor] : list_)
      if (name.starts_with(before))
        from[fmt::format("model.layers.{}.{}", i, name.substr(before.size()))] = {
            name, sources[i].copied};
  }
  Parameters parameters;
  for (const ExpectedTensor& tensor : expected_tensors(deeper)) {
    const auto known = from.find(tensor.name);
    if (known == from.end()) {
      parameters.add(tensor.name, at(tensor.name));
      continue;
    }
    const auto& [name, copied] = known->second;
    const bool adds_to_residual =
        name.ends_with(".o_proj.weight") || name.ends_with(".down_proj.weight");
    const Tensor values = at(name);
    parameters.add(tensor.name, !copied            ? values
                                : adds_to_residual ? torch::zeros_like(values.detach())
                                                   : values.detach().clone());
  }
  return std::pair{std::move(parameters), std::move(deeper)};
}

Result<std::pair<Parameters, ModelConfig>> Parameters::with_routers(
    const ModelConfig& config, std::span<const size_t> layers) const {
  ModelConfig fewer = config;
  fewer.msa.router_layers.assign(layers.begin(), layers.end());
  for (const size_t layer : layers)
    if (!config.msa.is_router_layer(layer))
      return Error{Code::invalid_argument,
                   fmt::format("router layers: {} is not one of the model's, which are {}; choose "
                               "some of these",
                               layer, fmt::join(config.msa.router_layers, ", "))};
  // What could not be read back is not built.
  Result<ModelConfig> checked = parse_config(write_config(fewer, "float32"), "router layers");
  if (!checked) return Error{Code::invalid_argument, std::move(checked).error().message};
  Parameters parameters;
  for (const ExpectedTensor& tensor : expected_tensors(fewer))
    parameters.add(tensor.name, at(tensor.name));
  return std::pair{std::move(parameters), std::move(fewer)};
}

StepWeights step_weights(const Parameters& parameters, const ModelConfig& config,
                         torch::Dtype compute) {
  StepWeights weights;
  for (size_t i = 0; i < config.layers; ++i) {
    const auto at = [&](std::string_view name) {
      return parameters.at(fmt::format("model.layers.{}.{}.weight", i, name));
    };
    LayerWeights layer;
    layer.input_norm = at("input_layernorm");
    layer.post_norm = at("post_attention_layernorm");
    layer.q_norm = at("self_attn.q_norm");
    layer.k_norm = at("self_attn.k_norm");
    layer.qkv =
        torch::cat({at("self_attn.q_proj"), at("self_attn.k_proj"), at("self_attn.v_proj")}, 0)
            .to(compute);
    layer.o = at("self_attn.o_proj").to(compute);
    layer.gate_up = torch::cat({at("mlp.gate_proj"), at("mlp.up_proj")}, 0).to(compute);
    layer.down = at("mlp.down_proj").to(compute);
    if (config.msa.decouple_router && config.msa.is_router_layer(i)) {
      layer.router_q = at("self_attn.router_q_proj.0");
      layer.router_k = at("self_attn.router_k_proj.0");
    }
    weights.layers.push_back(std::move(layer));
  }
  weights.embeddings = parameters.at("model.embed_tokens.weight");
  weights.norm = parameters.at("model.norm.weight");
  weights.head = config.tied_embeddings ? weights.embeddings : parameters.at("lm_head.weight");
  return weights;
}

}  // namespace msa::train
