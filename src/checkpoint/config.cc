#include "checkpoint/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>
#include <utility>

#include "base/files.h"
#include "checkpoint/config_text.h"
#include "checkpoint/json_file.h"

namespace msa {
namespace {

using nlohmann::json;

constexpr size_t kMaxFileBytes = 4u << 20;
constexpr size_t kMaxLayers = 1024;
constexpr size_t kMaxHeads = 4096;
constexpr size_t kMaxHeadDim = 1024;
constexpr size_t kMaxHidden = 1u << 20;
constexpr size_t kMaxFeedForward = 1u << 22;
constexpr size_t kMaxVocabulary = 1u << 24;
constexpr size_t kMaxPositions = 1u << 30;
constexpr size_t kMaxChunk = 65536;
constexpr size_t kMaxTopK = 65536;

// What Qwen3 means when its config.json is silent.
constexpr size_t kQwen3Positions = 32768;
constexpr double kQwen3Epsilon = 1e-6;

// One JSON object of a file, read key by key. A key whose value is null counts as absent, as in the
// Python library that writes these files.
class Section {
 public:
  Section(const std::filesystem::path& file, std::string prefix, const json& object)
      : file_(file), prefix_(std::move(prefix)), object_(object) {}

  const json* find(std::string_view key) const {
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }
  // A key that is there, be it null.
  bool mentions(std::string_view key) const { return object_.contains(key); }

  Error error(Code code, std::string_view key, std::string_view what) const {
    return {code, fmt::format(
                      "{}: \"{}{}\" {}; {}", file_.string(), prefix_, key, what,
                      code == Code::corrupt ? "correct the value" : "use a checkpoint without it")};
  }
  Error wrong(std::string_view key, const json& value, std::string_view expected) const {
    return error(Code::corrupt, key, fmt::format("is {}, not {}", printable_json(value), expected));
  }

  // A whole number in [least, most]; `fallback` if absent, an error if there is none.
  Result<size_t> size(std::string_view key, size_t least, size_t most,
                      std::optional<size_t> fallback = {}) const {
    const json* value = find(key);
    if (!value && fallback) return *fallback;
    if (!value) return missing(key);
    // A negative number is of another kind in the JSON library than an unsigned one.
    if (value->is_number_unsigned()) {
      const uint64_t number = value->get<uint64_t>();
      if (number >= least && number <= most) return static_cast<size_t>(number);
    }
    return wrong(key, *value, fmt::format("a whole number from {} to {}", least, most));
  }

  // A number in [least, most].
  Result<double> real(std::string_view key, double least, double most,
                      std::optional<double> fallback = {}) const {
    const json* value = find(key);
    if (!value && fallback) return *fallback;
    if (!value) return missing(key);
    if (value->is_number()) {
      const double number = value->get<double>();
      if (number >= least && number <= most) return number;
    }
    return wrong(key, *value, fmt::format("a number from {} to {}", least, most));
  }

  Result<bool> flag(std::string_view key, bool fallback) const {
    const json* value = find(key);
    if (!value) return fallback;
    if (!value->is_boolean()) return wrong(key, *value, "true or false");
    return value->get<bool>();
  }

  Result<std::string> text(std::string_view key, std::string_view fallback) const {
    const json* value = find(key);
    if (!value) return std::string(fallback);
    if (!value->is_string()) return wrong(key, *value, "a text");
    return value->get<std::string>();
  }

  // The value among `all` that the key names.
  template <class T>
  Result<T> choice(std::string_view key, std::initializer_list<T> all, T fallback) const {
    const json* value = find(key);
    if (!value) return fallback;
    std::string allowed;
    for (const T one : all) {
      if (value->is_string() && value->get_ref<const std::string&>() == name_of(one)) return one;
      allowed += fmt::format("{}\"{}\"", allowed.empty() ? "" : " or ", name_of(one));
    }
    return wrong(key, *value, allowed);
  }

 private:
  Error missing(std::string_view key) const { return error(Code::corrupt, key, "is missing"); }

  const std::filesystem::path& file_;
  std::string prefix_;
  const json& object_;
};

// "all", "18,19", [18, 19] or 18, as ascending layer numbers.
Result<std::vector<int>> read_router_layers(const Section& msa, size_t layers) {
  constexpr std::string_view kKey = "router_layer_idx";
  const json* value = msa.find(kKey);
  const auto none = [&] {
    return msa.error(Code::corrupt, kKey,
                     "names no router layer, so nothing could be looked up in a memory");
  };
  if (!value) return none();
  const std::string expected =
      fmt::format("\"all\" or layer numbers from 0 to {}, such as \"{}\"", layers - 1, layers - 1);

  std::vector<int> chosen;
  const auto add = [&](uint64_t layer) {
    if (layer < layers) chosen.push_back(static_cast<int>(layer));
    return layer < layers;
  };
  if (value->is_string()) {
    std::string_view rest = value->get_ref<const std::string&>();
    const auto skip_blanks = [&] {
      rest.remove_prefix(std::min(rest.find_first_not_of(" \t\n\r"), rest.size()));
    };
    skip_blanks();
    if (rest == "all")
      for (size_t layer = 0; layer < layers; ++layer) chosen.push_back(static_cast<int>(layer));
    else
      while (!rest.empty()) {
        uint64_t layer = 0;
        const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), layer);
        if (error != std::errc{} || !add(layer)) return msa.wrong(kKey, *value, expected);
        rest.remove_prefix(static_cast<size_t>(end - rest.data()));
        skip_blanks();
        if (rest.empty()) break;
        const bool comma = rest.front() == ',';
        rest.remove_prefix(1);
        skip_blanks();
        if (!comma || rest.empty()) return msa.wrong(kKey, *value, expected);
      }
  } else {
    const json list = value->is_array() ? *value : json::array({*value});
    for (const json& entry : list)
      if (!entry.is_number_unsigned() || !add(entry.get<uint64_t>()))
        return msa.wrong(kKey, *value, expected);
  }
  if (chosen.empty()) return none();
  std::sort(chosen.begin(), chosen.end());
  if (std::adjacent_find(chosen.begin(), chosen.end()) != chosen.end())
    return msa.wrong(kKey, *value, "a list without repeats");
  return chosen;
}

// The two spellings of the language-model loss weight; the misspelt one is the published one.
Result<double> read_lm_loss_weight(const Section& msa, double most) {
  MSA_ASSIGN(const double fixed, msa.real("lmloss_weight", 0, most, MsaConfig{}.lm_loss_weight));
  MSA_ASSIGN(const double published, msa.real("lmloss_weigth", 0, most, fixed));
  if (msa.find("lmloss_weight") && published != fixed)
    return msa.error(Code::corrupt, "lmloss_weight", "contradicts \"lmloss_weigth\"");
  return published;
}

Result<MsaConfig> read_msa(const Section& msa, size_t layers) {
  constexpr double kMostWeight = 1e6;
  MsaConfig config;
  MSA_ASSIGN(config.router_layers, read_router_layers(msa, layers));
  MSA_ASSIGN(const size_t training_top_k, msa.size("top_k_docs", 1, kMaxTopK, config.top_k));
  MSA_ASSIGN(config.top_k, msa.size("doc_top_k", 1, kMaxTopK, training_top_k));
  MSA_ASSIGN(config.chunk_size, msa.size("pooling_kernel_size", 1, kMaxChunk, config.chunk_size));
  MSA_ASSIGN(config.decouple_router, msa.flag("decouple_router", config.decouple_router));
  // A null is a value like any other here: not the one name that means cosine.
  MSA_ASSIGN(config.aux_loss_method,
             msa.text("aux_loss_method",
                      msa.mentions("aux_loss_method") ? std::string() : config.aux_loss_method));
  MSA_ASSIGN(
      config.head_reduce,
      msa.choice("head_reduce_method", {HeadReduce::mean, HeadReduce::max}, config.head_reduce));
  MSA_ASSIGN(
      config.query_reduce,
      msa.choice("query_reduce_method", {QueryReduce::max, QueryReduce::mean, QueryReduce::last},
                 config.query_reduce));
  MSA_ASSIGN(config.chunk_reduce,
             msa.choice("chunk_reduce_method", {ChunkReduce::max, ChunkReduce::mean},
                        config.chunk_reduce));
  MSA_ASSIGN(config.skip_handed_over, msa.flag("skip_handed_over_docs", config.skip_handed_over));
  MSA_ASSIGN(config.infonce_temperature,
             msa.real("infonce_loss_temp", 1e-6, 1e6, config.infonce_temperature));
  MSA_ASSIGN(config.lm_loss_weight, read_lm_loss_weight(msa, kMostWeight));
  MSA_ASSIGN(config.aux_loss_weight,
             msa.real("auxloss_weight", 0, kMostWeight, config.aux_loss_weight));
  MSA_ASSIGN(config.rec_loss_weight,
             msa.real("recloss_weight", 0, kMostWeight, config.rec_loss_weight));
  MSA_ASSIGN(config.ans_loss_weight,
             msa.real("ansloss_weight", 0, kMostWeight, config.ans_loss_weight));

  MSA_ASSIGN(const std::string pooling, msa.text("decouple_pooling_mode", "mean"));
  if (pooling != "mean")
    return msa.error(Code::unsupported, "decouple_pooling_mode",
                     fmt::format("is \"{}\", only \"mean\" is implemented", printable(pooling)));
  MSA_ASSIGN(const bool own_positions, msa.flag("rewrite_position", true));
  if (!own_positions)
    return msa.error(Code::unsupported, "rewrite_position",
                     "is false, but documents are always counted from position 0");
  return config;
}

// The rotary base; newer files keep it in an object of its own. Scaled rotary embeddings of any
// kind are refused.
Result<double> read_rope_theta(const std::filesystem::path& file, const json& root,
                               const Section& model) {
  constexpr double kLeast = 1, kMost = 1e15;
  std::optional<double> theta;
  if (model.find("rope_theta")) {
    MSA_ASSIGN(theta, model.real("rope_theta", kLeast, kMost));
  }
  for (const std::string key : {"rope_parameters", "rope_scaling"}) {
    const json* object = model.find(key);
    if (!object) continue;
    if (!object->is_object()) return model.wrong(key, *object, "an object");
    const Section rope(file, key + ".", root.at(key));
    for (const std::string_view kind_key : {"rope_type", "type"}) {
      MSA_ASSIGN(const std::string kind, rope.text(kind_key, "default"));
      if (kind != "default")
        return rope.error(
            Code::unsupported, kind_key,
            fmt::format("is \"{}\", only \"default\" is implemented", printable(kind)));
    }
    MSA_ASSIGN(const double part, rope.real("partial_rotary_factor", 0, 1, 1.0));
    if (part != 1)
      return rope.error(Code::unsupported, "partial_rotary_factor",
                        "is not 1, but all dimensions of a head are rotated");
    if (!rope.find("rope_theta")) continue;
    MSA_ASSIGN(const double nested, rope.real("rope_theta", kLeast, kMost));
    if (theta && *theta != nested)
      return rope.error(Code::corrupt, "rope_theta",
                        fmt::format("is {}, another place of the file says {}", nested, *theta));
    theta = nested;
  }
  if (!theta) return model.real("rope_theta", kLeast, kMost);  // says that it is missing
  return *theta;
}

// Refuses what the model's code would do and this engine does not.
Result<void> refuse_unsupported(const Section& model) {
  MSA_ASSIGN(const std::string activation, model.text("hidden_act", "silu"));
  if (activation != "silu")
    return model.error(
        Code::unsupported, "hidden_act",
        fmt::format("is \"{}\", only \"silu\" is implemented", printable(activation)));
  MSA_ASSIGN(const bool bias, model.flag("attention_bias", false));
  if (bias)
    return model.error(Code::unsupported, "attention_bias",
                       "is true, but projections with a bias are not implemented");
  if (model.find("quantization_config"))
    return model.error(Code::unsupported, "quantization_config",
                       "is there, but only F32, F16 and BF16 weights are read");
  MSA_ASSIGN(const bool sliding, model.flag("use_sliding_window", false));
  if (sliding)
    return model.error(Code::unsupported, "use_sliding_window",
                       "is true, but attention always sees the whole context");
  if (const json* types = model.find("layer_types")) {
    if (!types->is_array()) return model.wrong("layer_types", *types, "a list");
    for (const json& type : *types)
      if (type != "full_attention")
        return model.error(
            Code::unsupported, "layer_types",
            fmt::format("holds {}, only \"full_attention\" is implemented", printable_json(type)));
  }
  return {};
}

// The id or ids of "eos_token_id".
Result<std::vector<int64_t>> read_eos(const Section& section) {
  std::vector<int64_t> ids;
  const json* value = section.find("eos_token_id");
  if (!value) return ids;
  const json list = value->is_array() ? *value : json::array({*value});
  for (const json& id : list) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= kMaxVocabulary)
      return section.wrong(
          "eos_token_id", *value,
          fmt::format("a token number below {} or a list of such", kMaxVocabulary));
    ids.push_back(id.get<int64_t>());
  }
  return ids;
}

// What a Qwen3 model and one with a router have in common.
Result<ModelConfig> read_backbone(const std::filesystem::path& file, const json& root,
                                  const Section& model) {
  MSA_TRY(refuse_unsupported(model));

  ModelConfig config;
  MSA_ASSIGN(config.layers, model.size("num_hidden_layers", 1, kMaxLayers));
  MSA_ASSIGN(config.hidden, model.size("hidden_size", 1, kMaxHidden));
  MSA_ASSIGN(config.feed_forward, model.size("intermediate_size", 1, kMaxFeedForward));
  MSA_ASSIGN(config.vocabulary, model.size("vocab_size", 1, kMaxVocabulary));
  MSA_ASSIGN(config.query_heads, model.size("num_attention_heads", 1, kMaxHeads));
  MSA_ASSIGN(config.kv_heads, model.size("num_key_value_heads", 1, kMaxHeads));
  MSA_ASSIGN(config.head_dim,
             model.size("head_dim", 2, kMaxHeadDim, config.hidden / config.query_heads));
  MSA_ASSIGN(config.max_positions,
             model.size("max_position_embeddings", 1, kMaxPositions, kQwen3Positions));
  if (config.query_heads % config.kv_heads != 0)
    return model.error(Code::corrupt, "num_attention_heads",
                       fmt::format("is {}, not a multiple of \"num_key_value_heads\" {}",
                                   config.query_heads, config.kv_heads));
  if (!model.find("head_dim") &&
      (config.hidden % config.query_heads != 0 || config.head_dim > kMaxHeadDim))
    return model.error(Code::corrupt, "head_dim",
                       fmt::format("is missing and \"hidden_size\" {} over \"num_attention_heads\" "
                                   "{} does not give it",
                                   config.hidden, config.query_heads));
  if (config.head_dim == 0 || config.head_dim % 2 != 0)
    return model.error(Code::corrupt, "head_dim",
                       fmt::format("is {}, not even: halves of a head are rotated against each "
                                   "other",
                                   config.head_dim));
  MSA_ASSIGN(const double epsilon, model.real("rms_norm_eps", 1e-30, 1, kQwen3Epsilon));
  config.rms_norm_eps = static_cast<float>(epsilon);
  MSA_ASSIGN(config.rope_theta, read_rope_theta(file, root, model));
  MSA_ASSIGN(config.tied_embeddings, model.flag("tie_word_embeddings", false));
  MSA_ASSIGN(config.note, model.text("msa_cpp_note", ""));
  return config;
}

Result<json> parse_object(std::string_view text, const std::filesystem::path& file) {
  MSA_ASSIGN(json root, parse_json(text, file));
  if (!root.is_object())
    return Error{Code::corrupt,
                 fmt::format("{}: is not a JSON object; download it again", file.string())};
  return root;
}

// The double that prints as the float does: 1e-06, not 9.999999974752427e-07.
double shortest(float value) {
  const std::string text = fmt::format("{}", value);
  double number = value;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

}  // namespace

std::string_view name_of(HeadReduce reduce) {
  return reduce == HeadReduce::mean ? "mean" : "max";
}

std::string_view name_of(QueryReduce reduce) {
  switch (reduce) {
    case QueryReduce::max: return "max";
    case QueryReduce::mean: return "mean";
    case QueryReduce::last: return "last";
  }
  return "?";
}

std::string_view name_of(ChunkReduce reduce) {
  return reduce == ChunkReduce::max ? "max" : "mean";
}

bool MsaConfig::is_router_layer(size_t layer) const {
  return layer <= kMaxLayers &&
         std::binary_search(router_layers.begin(), router_layers.end(), static_cast<int>(layer));
}

Result<ModelConfig> parse_config(std::string_view text, const std::filesystem::path& file) {
  MSA_ASSIGN(const json root, parse_object(text, file));
  const Section model(file, "", root);
  MSA_ASSIGN(const std::string type, model.text("model_type", ""));
  const json* msa = model.find("msa_config");
  if (!msa && (type == "qwen3" || type == "msa"))
    return Error{
        Code::unsupported,
        fmt::format("{}: has no \"msa_config\": this is a plain Qwen3 checkpoint without "
                    "a router; use one that was trained for Memory Sparse Attention, or convert "
                    "it (msa model convert)",
                    file.string())};
  if (type != "msa")
    return model.error(Code::unsupported, "model_type",
                       fmt::format("is \"{}\", not \"msa\"", printable(type)));
  if (!msa->is_object()) return model.wrong("msa_config", *msa, "an object");
  MSA_ASSIGN(ModelConfig config, read_backbone(file, root, model));
  MSA_ASSIGN(config.msa, read_msa(Section(file, "msa_config.", *msa), config.layers));
  return config;
}

Result<ModelConfig> parse_qwen3_config(std::string_view text, const std::filesystem::path& file) {
  MSA_ASSIGN(const json root, parse_object(text, file));
  const Section model(file, "", root);
  MSA_ASSIGN(const std::string type, model.text("model_type", ""));
  if (type == "msa" || model.find("msa_config"))
    return Error{Code::unsupported,
                 fmt::format("{}: is of a Memory Sparse Attention model, not of a plain Qwen3; use "
                             "it as it is",
                             file.string())};
  if (type != "qwen3")
    return model.error(Code::unsupported, "model_type",
                       fmt::format("is \"{}\", not \"qwen3\"", printable(type)));
  return read_backbone(file, root, model);
}

Result<ModelConfig> read_config(const std::filesystem::path& file) {
  MSA_ASSIGN(const std::string text, read_file(file, kMaxFileBytes));
  return parse_config(text, file);
}

Result<ModelConfig> read_qwen3_config(const std::filesystem::path& file) {
  MSA_ASSIGN(const std::string text, read_file(file, kMaxFileBytes));
  return parse_qwen3_config(text, file);
}

std::string write_config(const ModelConfig& config, std::string_view torch_dtype) {
  const MsaConfig& msa = config.msa;
  std::string routers;
  for (const int layer : msa.router_layers)
    routers += fmt::format("{}{}", routers.empty() ? "" : ",", layer);

  nlohmann::ordered_json root = {
      {"architectures", {"MSAForCausalLM"}},
      {"model_type", "msa"},
      {"torch_dtype", torch_dtype},
      {"hidden_act", "silu"},
      {"attention_bias", false},
      {"num_hidden_layers", config.layers},
      {"hidden_size", config.hidden},
      {"intermediate_size", config.feed_forward},
      {"num_attention_heads", config.query_heads},
      {"num_key_value_heads", config.kv_heads},
      {"head_dim", config.head_dim},
      {"vocab_size", config.vocabulary},
      {"max_position_embeddings", config.max_positions},
      {"rms_norm_eps", shortest(config.rms_norm_eps)},
      {"rope_theta", config.rope_theta},
      {"tie_word_embeddings", config.tied_embeddings},
  };
  root["msa_config"] = {
      {"router_layer_idx", routers},
      {"top_k_docs", msa.top_k},
      {"pooling_kernel_size", msa.chunk_size},
      {"decouple_router", msa.decouple_router},
      {"decouple_pooling_mode", "mean"},
      {"rewrite_position", true},
      {"aux_loss_method", msa.aux_loss_method},
      {"head_reduce_method", name_of(msa.head_reduce)},
      {"query_reduce_method", name_of(msa.query_reduce)},
      {"chunk_reduce_method", name_of(msa.chunk_reduce)},
      {"infonce_loss_temp", msa.infonce_temperature},
      {"lmloss_weigth", msa.lm_loss_weight},
      {"auxloss_weight", msa.aux_loss_weight},
      {"recloss_weight", msa.rec_loss_weight},
      {"ansloss_weight", msa.ans_loss_weight},
  };
  // Other programs do not know it, so it stands only where it says something.
  if (msa.skip_handed_over) root["msa_config"]["skip_handed_over_docs"] = true;
  if (!config.note.empty()) root["msa_cpp_note"] = config.note;
  return root.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

Result<GenerationConfig> read_generation_config(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "generation_config.json";
  Result<json> root = read_json_file(file, kMaxFileBytes);
  if (!root && root.error().code == Code::not_found) return GenerationConfig{};
  if (!root) return std::move(root).error();
  if (!root->is_object())
    return Error{Code::corrupt, fmt::format("{}: is not a JSON object; download it again or remove "
                                            "it",
                                            file.string())};
  const Section section(file, "", *root);
  GenerationConfig config;
  MSA_ASSIGN(config.eos_token_ids, read_eos(section));
  if (section.find("temperature")) {
    MSA_ASSIGN(config.temperature, section.real("temperature", 0, 1000));
  }
  if (section.find("top_p")) {
    MSA_ASSIGN(config.top_p, section.real("top_p", 0, 1));
  }
  return config;
}

}  // namespace msa
