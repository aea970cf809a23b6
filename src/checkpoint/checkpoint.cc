#include "checkpoint/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "base/hash.h"
#include "checkpoint/json_file.h"

namespace msa {
namespace {

constexpr std::string_view kEmbeddings = "model.embed_tokens.weight";
constexpr std::string_view kHead = "lm_head.weight";
constexpr size_t kMaxIndexBytes = 64u << 20;

// Whether the tensor is of use to training only, where the router's scores are scaled by it.
bool is_temperature(std::string_view name, const TensorView& tensor) {
  constexpr std::string_view kName = "temperature";
  if (!name.ends_with(kName) || tensor.shape.size() > 1 || tensor.count() != 1) return false;
  name.remove_suffix(kName.size());
  return name.empty() || name.ends_with('.');
}

bool is_there(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

// Which file of the folder holds which tensor, by the index of a checkpoint in several files.
using WeightMap = std::map<std::string, std::string>;

Result<WeightMap> read_index(const std::filesystem::path& index) {
  MSA_ASSIGN(const nlohmann::json root, read_json_file(index, kMaxIndexBytes));
  const auto corrupt = [&](const std::string& what) {
    return Error{Code::corrupt, fmt::format("{}: {}; download it again", index.string(), what)};
  };
  if (!root.is_object() || !root.contains("weight_map") || !root["weight_map"].is_object())
    return corrupt("has no object \"weight_map\"");
  WeightMap map;
  for (const auto& [name, file] : root["weight_map"].items()) {
    if (!file.is_string())
      return corrupt(fmt::format("tensor '{}' is not mapped to a file name", printable(name)));
    const std::string& shard = file.get_ref<const std::string&>();
    // Only files of this folder: an index from elsewhere must not make us read others.
    if (shard.empty() || shard.front() == '.' ||
        shard.find_first_of(std::string_view("/\\\0", 3)) != std::string::npos)
      return corrupt(fmt::format("tensor '{}' is said to be in '{}', which is no plain file name",
                                 printable(name), printable(shard)));
    map.emplace(name, shard);
  }
  if (map.empty()) return corrupt("maps no tensor");
  return map;
}

// All files that hold the checkpoint's tensors, each with exactly the tensors that it should have.
Result<std::vector<SafetensorsFile>> open_files(const std::filesystem::path& folder) {
  const std::filesystem::path whole = folder / "model.safetensors";
  const std::filesystem::path index = folder / "model.safetensors.index.json";
  std::vector<SafetensorsFile> files;
  if (is_there(whole)) {
    MSA_ASSIGN(SafetensorsFile file, SafetensorsFile::open(whole));
    files.push_back(std::move(file));
    return files;
  }
  if (!is_there(index))
    return Error{
        Code::not_found,
        fmt::format("{}: holds neither model.safetensors nor model.safetensors.index.json; "
                    "download the weights in this format or convert them",
                    folder.string())};
  MSA_ASSIGN(const WeightMap map, read_index(index));
  std::map<std::string, std::set<std::string_view>> shards;
  for (const auto& [name, shard] : map) shards[shard].insert(name);
  for (const auto& [shard, names] : shards)
    if (!is_there(folder / shard))
      return Error{Code::not_found,
                   fmt::format("{}: is missing, {} maps {} tensors to it, '{}' first; download it",
                               (folder / shard).string(), index.filename().string(), names.size(),
                               printable(*names.begin()))};
  for (const auto& [shard, names] : shards) {
    MSA_ASSIGN(SafetensorsFile file, SafetensorsFile::open(folder / shard));
    for (const std::string_view name : names)
      if (!file.tensors().contains(name))
        return Error{Code::mismatch,
                     fmt::format("{}: has no tensor '{}' although {} says so; download both again",
                                 file.path().string(), printable(name), index.filename().string())};
    for (const auto& [name, tensor] : file.tensors())
      if (!names.contains(name))
        return Error{Code::mismatch,
                     fmt::format("{}: has a tensor '{}' of {} bytes that {} does not map to this "
                                 "file; download both again",
                                 file.path().string(), printable(name), tensor.bytes.size(),
                                 index.filename().string())};
    files.push_back(std::move(file));
  }
  return files;
}

// The first index at which all bits of `exponent` are set, if there is one.
template <class Bits>
std::optional<size_t> first_nonfinite(std::span<const std::byte> bytes, Bits exponent) {
  // A block is scanned without branches, so that the compiler can use vectors; the exact place is
  // looked for only in the block where something was found. 8 KiB stay in the nearest cache.
  constexpr size_t kBlock = 8192 / sizeof(Bits);
  const auto nonfinite = [&](size_t i) {
    Bits bits;  // the file's bytes need not be aligned
    std::memcpy(&bits, bytes.data() + i * sizeof(Bits), sizeof(Bits));
    return static_cast<Bits>(bits & exponent) == exponent;
  };
  const size_t count = bytes.size() / sizeof(Bits);
  for (size_t begin = 0; begin < count; begin += kBlock) {
    const size_t end = std::min(begin + kBlock, count);
    Bits any = 0;
    for (size_t i = begin; i < end; ++i) any |= static_cast<Bits>(nonfinite(i));
    if (any == 0) continue;
    for (size_t i = begin; i < end; ++i)
      if (nonfinite(i)) return i;
  }
  return std::nullopt;
}

std::optional<size_t> first_nonfinite(const TensorView& tensor) {
  switch (tensor.dtype) {
    case DType::f32: return first_nonfinite<uint32_t>(tensor.bytes, 0x7f800000u);
    case DType::bf16: return first_nonfinite<uint16_t>(tensor.bytes, 0x7f80u);
    case DType::f16: return first_nonfinite<uint16_t>(tensor.bytes, 0x7c00u);
    case DType::i64: return std::nullopt;
  }
  return std::nullopt;
}

// All of a small tensor, sixteen blocks of a large one.
void add_samples(Hasher& hasher, std::span<const std::byte> bytes) {
  constexpr size_t kBlocks = 16, kBlockBytes = 4096;
  if (bytes.size() <= kBlocks * kBlockBytes) return hasher.add(bytes);
  const size_t last = bytes.size() - kBlockBytes;
  for (size_t i = 0; i < kBlocks; ++i) {
    // last * i / 15, in an order that cannot overflow.
    const size_t begin = last / (kBlocks - 1) * i + last % (kBlocks - 1) * i / (kBlocks - 1);
    hasher.add(bytes.subspan(begin, kBlockBytes));
  }
}

// What of the configuration decides how a text is encoded and routed. What a user may choose per
// question (k) and what matters in training only is left out.
void add_config(Hasher& hasher, const ModelConfig& config) {
  const MsaConfig& msa = config.msa;
  for (const size_t size : {config.layers, config.query_heads, config.kv_heads, config.head_dim,
                            config.hidden, config.feed_forward, config.vocabulary, msa.chunk_size})
    hasher.add_number(size);
  hasher.add_number(std::bit_cast<uint32_t>(config.rms_norm_eps));
  hasher.add_number(std::bit_cast<uint64_t>(config.rope_theta));
  for (const bool flag : {config.tied_embeddings, msa.decouple_router, msa.cosine_by_default()})
    hasher.add_number(flag);
  for (const std::string_view name :
       {name_of(msa.head_reduce), name_of(msa.query_reduce), name_of(msa.chunk_reduce)}) {
    hasher.add_number(name.size());
    hasher.add(name);
  }
  hasher.add_number(msa.router_layers.size());
  for (const int layer : msa.router_layers) hasher.add_number(static_cast<uint64_t>(layer));
}

}  // namespace

std::vector<ExpectedTensor> expected_tensors(const ModelConfig& config) {
  const size_t d = config.hidden, ff = config.feed_forward;
  const size_t query = config.query_width(), kv = config.kv_width();
  std::vector<ExpectedTensor> all;
  all.push_back({std::string(kEmbeddings), {config.vocabulary, d}});
  for (size_t i = 0; i < config.layers; ++i) {
    const auto add = [&](std::string_view name, std::vector<size_t> shape) {
      all.push_back({fmt::format("model.layers.{}.{}.weight", i, name), std::move(shape)});
    };
    add("input_layernorm", {d});
    add("self_attn.q_proj", {query, d});
    add("self_attn.k_proj", {kv, d});
    add("self_attn.v_proj", {kv, d});
    add("self_attn.o_proj", {d, query});
    add("self_attn.q_norm", {config.head_dim});
    add("self_attn.k_norm", {config.head_dim});
    if (config.msa.decouple_router && config.msa.is_router_layer(i)) {
      add("self_attn.router_q_proj.0", {query, d});
      add("self_attn.router_k_proj.0", {kv, d});
    }
    add("post_attention_layernorm", {d});
    add("mlp.gate_proj", {ff, d});
    add("mlp.up_proj", {ff, d});
    add("mlp.down_proj", {d, ff});
  }
  all.push_back({"model.norm.weight", {d}});
  if (!config.tied_embeddings) all.push_back({std::string(kHead), {config.vocabulary, d}});
  return all;
}

Result<Checkpoint> Checkpoint::open(const std::filesystem::path& folder) {
  return open_as(folder, &read_config);
}

Result<Checkpoint> Checkpoint::open_qwen3(const std::filesystem::path& folder) {
  return open_as(folder, &read_qwen3_config);
}

Result<Checkpoint> Checkpoint::open_as(const std::filesystem::path& folder, ReadConfig read) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder, ignored))
    return Error{is_there(folder) ? Code::invalid_argument : Code::not_found,
                 fmt::format("{}: {}; give the folder of a checkpoint", folder.string(),
                             is_there(folder) ? "is not a folder" : "is not there")};
  Checkpoint opened;
  opened.folder_ = folder;
  MSA_ASSIGN(opened.config_, read(folder / "config.json"));
  MSA_ASSIGN(opened.files_, open_files(folder));

  std::map<std::string, Entry, std::less<>> found;
  for (size_t i = 0; i < opened.files_.size(); ++i)
    for (const auto& [name, view] : opened.files_[i].tensors()) found[name] = Entry{view, i};

  for (const ExpectedTensor& expected : expected_tensors(opened.config_)) {
    const auto entry = found.find(expected.name);
    if (entry == found.end())
      return Error{Code::mismatch,
                   fmt::format("{}: tensor '{}' of shape [{}], which config.json calls for, is "
                               "missing{}; download the checkpoint again or correct config.json",
                               opened.files_.size() == 1 ? opened.files_[0].path().string()
                                                         : folder.string(),
                               expected.name, fmt::join(expected.shape, ", "),
                               expected.name.find(".router_") != std::string::npos
                                   ? " (a plain Qwen3 model has no router)"
                                   : "")};
    const TensorView& view = entry->second.view;
    const std::filesystem::path& file = opened.files_[entry->second.file].path();
    if (view.shape != expected.shape)
      return Error{Code::mismatch,
                   fmt::format("{}: tensor '{}' is of shape [{}], config.json calls for [{}]; use "
                               "the config.json that belongs to it",
                               file.string(), expected.name, fmt::join(view.shape, ", "),
                               fmt::join(expected.shape, ", "))};
    if (view.dtype == DType::i64)
      return Error{Code::unsupported,
                   fmt::format("{}: tensor '{}' is of dtype I64, weights are F32, F16 or BF16; "
                               "convert it",
                               file.string(), expected.name)};
    opened.tensors_.insert(found.extract(entry));
  }
  for (const auto& [name, entry] : found) {
    if (is_temperature(name, entry.view)) continue;
    // Some exporters write the tied embeddings a second time.
    if (opened.config_.tied_embeddings && name == kHead) continue;
    return Error{Code::mismatch,
                 fmt::format("{}: tensor '{}' of shape [{}] belongs to no part of the model that "
                             "config.json describes; use the config.json that belongs to it",
                             opened.files_[entry.file].path().string(), printable(name),
                             fmt::join(entry.view.shape, ", "))};
  }
  opened.dtype_ = opened.tensor(kEmbeddings).dtype;
  return opened;
}

const TensorView& Checkpoint::tensor(std::string_view name) const {
  const auto entry = tensors_.find(name);
  assert(entry != tensors_.end() && "not a tensor of this model");
  return entry->second.view;
}

uint64_t Checkpoint::parameters() const {
  uint64_t sum = 0;
  for (const auto& [name, entry] : tensors_) sum += entry.view.count();
  return sum;
}

uint64_t Checkpoint::fingerprint() const {
  Hasher hasher;
  add_config(hasher, config_);
  for (const auto& [name, entry] : tensors_) {  // in the order of names, however the files are cut
    const TensorView& view = entry.view;
    hasher.add_number(name.size());
    hasher.add(name);
    hasher.add(name_of(view.dtype));
    hasher.add_number(view.shape.size());
    for (const size_t extent : view.shape) hasher.add_number(extent);
    add_samples(hasher, view.bytes);
  }
  return hasher.digest();
}

Result<void> Checkpoint::check_finite(std::string_view name) const {
  const auto entry = tensors_.find(name);
  assert(entry != tensors_.end() && "not a tensor of this model");
  const TensorView& view = entry->second.view;
  const std::optional<size_t> index = first_nonfinite(view);
  if (!index) return {};
  return Error{
      Code::corrupt,
      fmt::format("{}: tensor '{}' is not finite at element {} of {}; download it again or "
                  "use another checkpoint",
                  files_[entry->second.file].path().string(), name, *index, view.count())};
}

void Checkpoint::drop(std::string_view name) const {
  const auto entry = tensors_.find(name);
  assert(entry != tensors_.end() && "not a tensor of this model");
  const MappedFile& file = files_[entry->second.file].mapped();
  const std::span<const std::byte> bytes = entry->second.view.bytes;
  file.drop(static_cast<size_t>(bytes.data() - file.bytes().data()), bytes.size());
}

}  // namespace msa
