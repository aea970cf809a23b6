// What a bank is bound to, as JSON and in words.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/hash.h"
#include "memory/bank.h"

namespace msa {
namespace {

using nlohmann::json;

// Far above any model, far below where a product of two would wrap.
constexpr uint64_t kMaxLayers = 1u << 16;
constexpr uint64_t kMaxSize = 1u << 20;

std::optional<uint64_t> parse_hex(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc() || end != text.data() + text.size() || to_hex(value) != text)
    return std::nullopt;
  return value;
}

// Takes fields out of the object and remembers the first that is missing or wrong.
class Fields {
 public:
  explicit Fields(const json& object) : object_(object) {}

  size_t size(const char* key) {
    const json* value = find(key);
    if (value == nullptr) return 0;
    if (value->is_number_unsigned())
      if (const auto n = value->get<uint64_t>(); n >= 1 && n <= kMaxSize)
        return static_cast<size_t>(n);
    fail(key, fmt::format("is not a number from 1 to {}", kMaxSize));
    return 0;
  }
  uint64_t fingerprint(const char* key) {
    const json* value = find(key);
    if (value == nullptr) return 0;
    if (value->is_string())
      if (const auto n = parse_hex(value->get_ref<const std::string&>())) return *n;
    fail(key, "is not sixteen hexadecimal digits");
    return 0;
  }
  // The index of the field's text among `choices`.
  size_t choice(const char* key, std::initializer_list<std::string_view> choices) {
    const json* value = find(key);
    if (value == nullptr) return 0;
    if (value->is_string()) {
      size_t i = 0;
      for (const std::string_view choice : choices) {
        if (value->get_ref<const std::string&>() == choice) return i;
        ++i;
      }
    }
    fail(key, fmt::format("is none of {}", fmt::join(choices, ", ")));
    return 0;
  }
  std::vector<int> layers(const char* key) {
    std::vector<int> layers;
    const json* value = find(key);
    if (value == nullptr) return layers;
    if (value->is_array() && !value->empty() && value->size() <= kMaxLayers) {
      for (const json& layer : *value) {
        if (!layer.is_number_unsigned() || layer.get<uint64_t>() >= kMaxLayers) break;
        const auto index = static_cast<int>(layer.get<uint64_t>());
        if (!layers.empty() && layers.back() >= index) break;
        layers.push_back(index);
      }
      if (layers.size() == value->size()) return layers;
    }
    fail(key, "is not an ascending list of layers");
    return {};
  }

  const std::string& problem() const { return problem_; }

 private:
  const json* find(const char* key) {
    const auto field = object_.find(key);
    if (field != object_.end()) return &*field;
    fail(key, "is missing");
    return nullptr;
  }
  void fail(const char* key, std::string_view why) {
    if (problem_.empty()) problem_ = fmt::format("\"{}\" {}", key, why);
  }

  const json& object_;
  std::string problem_;
};

constexpr const char* kContentKey = "content";
constexpr std::string_view kInt8 = "int8";

std::string_view similarity_name(bool cosine) {
  return cosine ? "cosine" : "dot";
}

}  // namespace

std::string to_json(const BankManifest& manifest) {
  json object = {
      {"router_layers", manifest.router_layers},
      {"kv_heads", manifest.kv_heads},
      {"head_dim", manifest.head_dim},
      {"chunk_size", manifest.chunk_size},
      {"dtype", name_of(manifest.dtype)},
      {"similarity", similarity_name(manifest.cosine)},
      {"model_fingerprint", to_hex(manifest.model_fingerprint)},
      {"tokenizer_fingerprint", to_hex(manifest.tokenizer_fingerprint)},
  };
  // Without it, content is as `dtype` says: banks that have it so are as they always were.
  if (manifest.content == ContentFormat::int8) object[kContentKey] = kInt8;
  return object.dump();
}

Result<BankManifest> parse_manifest(std::string_view text, const std::filesystem::path& bank) {
  const auto corrupt = [&](std::string_view why) {
    return Error{Code::corrupt,
                 fmt::format("{}: the bank's manifest: {}; restore the bank from a copy, or encode "
                             "into a new one",
                             bank.string(), why)};
  };
  const json object = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return corrupt("is not a JSON object");
  Fields fields(object);
  BankManifest manifest;
  manifest.router_layers = fields.layers("router_layers");
  manifest.kv_heads = fields.size("kv_heads");
  manifest.head_dim = fields.size("head_dim");
  manifest.chunk_size = fields.size("chunk_size");
  manifest.dtype = fields.choice("dtype", {name_of(DType::f32), name_of(DType::bf16)}) == 0
                       ? DType::f32
                       : DType::bf16;
  manifest.cosine =
      fields.choice("similarity", {similarity_name(true), similarity_name(false)}) == 0;
  if (object.contains(kContentKey)) {
    fields.choice(kContentKey, {kInt8});
    manifest.content = ContentFormat::int8;
  }
  manifest.model_fingerprint = fields.fingerprint("model_fingerprint");
  manifest.tokenizer_fingerprint = fields.fingerprint("tokenizer_fingerprint");
  if (!fields.problem().empty()) return corrupt(fields.problem());
  return manifest;
}

Result<void> check_manifest(const BankManifest& bank, const BankManifest& wanted,
                            const std::filesystem::path& folder) {
  const auto differs = [&](std::string_view how) {
    return Error{Code::mismatch, fmt::format("{}: {}", folder.string(), how)};
  };
  // The most telling difference first: another model brings most of the others with it.
  if (bank.model_fingerprint != wanted.model_fingerprint)
    return differs(
        fmt::format("was made with another model (fingerprint {}, this model is {}); use "
                    "that model, or a new bank folder",
                    to_hex(bank.model_fingerprint), to_hex(wanted.model_fingerprint)));
  if (bank.tokenizer_fingerprint != wanted.tokenizer_fingerprint)
    return differs(
        fmt::format("was made with another tokenizer (fingerprint {}, this one is {}); "
                    "use that tokenizer, or a new bank folder",
                    to_hex(bank.tokenizer_fingerprint), to_hex(wanted.tokenizer_fingerprint)));
  if (bank.router_layers != wanted.router_layers)
    return differs(
        fmt::format("has router layers {}, this model has {}; use that model, or a new "
                    "bank folder",
                    fmt::join(bank.router_layers, ","), fmt::join(wanted.router_layers, ",")));
  if (bank.kv_heads != wanted.kv_heads || bank.head_dim != wanted.head_dim)
    return differs(
        fmt::format("has {} key/value heads of size {}, this model has {} of size {}; "
                    "use that model, or a new bank folder",
                    bank.kv_heads, bank.head_dim, wanted.kv_heads, wanted.head_dim));
  if (bank.chunk_size != wanted.chunk_size)
    return differs(
        fmt::format("has chunks of {} tokens, this model makes chunks of {}; use the "
                    "same chunk size, or a new bank folder",
                    bank.chunk_size, wanted.chunk_size));
  if (bank.cosine != wanted.cosine)
    return differs(
        fmt::format("holds routing keys for {} similarity, not for {}; ask for {} "
                    "similarity, or use a new bank folder",
                    similarity_name(bank.cosine), similarity_name(wanted.cosine),
                    similarity_name(bank.cosine)));
  if (bank.dtype != wanted.dtype)
    return differs(
        fmt::format("stores {}, this model computes in {}; ask for the bank's "
                    "precision, or use a new bank folder",
                    name_of(bank.dtype), name_of(wanted.dtype)));
  return {};
}

}  // namespace msa
