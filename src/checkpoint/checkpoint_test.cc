#include "checkpoint/checkpoint.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <set>
#include <string>

#include "base/test_folder.h"

namespace msa {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

const std::filesystem::path kGolden = std::filesystem::path(MSA_TESTDATA) / "golden";

ModelConfig small_config() {
  ModelConfig config;
  config.layers = 3;
  config.query_heads = 4;
  config.kv_heads = 2;
  config.head_dim = 6;
  config.hidden = 10;
  config.feed_forward = 14;
  config.vocabulary = 20;
  config.max_positions = 100;
  config.rope_theta = 1e4;
  config.tied_embeddings = true;
  config.msa.router_layers = {1, 2};
  return config;
}

// A tensor with its bytes, so that tests can bend it.
struct Tensor {
  DType dtype = DType::f32;
  std::vector<size_t> shape;
  std::string bytes;
};
using Tensors = std::map<std::string, Tensor>;

Tensor random_tensor(DType dtype, std::vector<size_t> shape, std::mt19937& random) {
  size_t count = 1;
  for (const size_t extent : shape) count *= extent;
  Tensor tensor{dtype, std::move(shape), std::string(count * size_of(dtype), '\0')};
  // 0x3d at the top of each number: finite and small in every format.
  for (size_t i = 0; i < tensor.bytes.size(); ++i)
    tensor.bytes[i] =
        static_cast<char>(i % size_of(dtype) + 1 == size_of(dtype) ? 0x3d : random() % 128);
  return tensor;
}

Tensors tensors_of(const ModelConfig& config, DType dtype = DType::f32) {
  std::mt19937 random(5);
  Tensors tensors;
  for (const ExpectedTensor& expected : expected_tensors(config))
    tensors[expected.name] = random_tensor(dtype, expected.shape, random);
  return tensors;
}

void write_file(const std::filesystem::path& path, const Tensors& tensors) {
  std::vector<TensorPlan> plan;
  for (const auto& [name, tensor] : tensors) plan.push_back({name, tensor.dtype, tensor.shape});
  auto writer = SafetensorsWriter::create(path, plan);
  ASSERT_TRUE(writer);
  for (const auto& [name, tensor] : tensors)
    ASSERT_TRUE(writer->append(std::as_bytes(std::span(tensor.bytes))));
  ASSERT_TRUE(writer->commit());
}

// A checkpoint folder of one test.
class Folder : public TestFolder {
 public:
  explicit Folder(const ModelConfig& config = small_config()) : config_(config) {
    put("config.json", write_config(config, "float32"));
  }
  const ModelConfig& config() const { return config_; }
  void whole(const Tensors& tensors) const { write_file(*this / "model.safetensors", tensors); }

  // Two shards, cut at random, and their index, which `change` may bend.
  void shards(const Tensors& tensors,
              const std::function<void(nlohmann::json&, Tensors&, Tensors&)>& change = {}) const {
    std::mt19937 random(6);
    nlohmann::json map = nlohmann::json::object();
    Tensors parts[2];
    for (const auto& [name, tensor] : tensors) {
      const unsigned part = random() % 2;
      parts[part][name] = tensor;
      map[name] = fmt::format("model-{}.safetensors", part);
    }
    if (change) change(map, parts[0], parts[1]);
    for (int part : {0, 1})
      write_file(*this / fmt::format("model-{}.safetensors", part), parts[part]);
    put("model.safetensors.index.json",
        nlohmann::json{{"metadata", nlohmann::json::object()}, {"weight_map", map}}.dump());
  }

 private:
  ModelConfig config_;
};

void expect_error(const Folder& folder, Code code, const std::string& part,
                  const std::string& other = "") {
  const auto opened = Checkpoint::open(folder.path());
  ASSERT_FALSE(opened) << part;
  EXPECT_EQ(opened.error().code, code) << opened.error().message;
  EXPECT_THAT(opened.error().message,
              AllOf(HasSubstr(folder.path().string()), HasSubstr(part), HasSubstr(other),
                    HasSubstr("; "), Not(HasSubstr("\n"))));
}

// ---------------------------------------------------------------------------------------------

TEST(ExpectedTensors, AreThoseOfTheModel) {
  std::map<std::string, std::vector<size_t>> all;
  for (auto& [name, shape] : expected_tensors(small_config())) all[name] = shape;
  EXPECT_EQ(all.size(), 1u + 3 * 11 + 2 * 2 + 1);
  using Shape = std::vector<size_t>;
  EXPECT_EQ(all["model.embed_tokens.weight"], (Shape{20, 10}));
  EXPECT_EQ(all["model.norm.weight"], (Shape{10}));
  EXPECT_EQ(all["model.layers.0.input_layernorm.weight"], (Shape{10}));
  EXPECT_EQ(all["model.layers.0.self_attn.q_proj.weight"], (Shape{24, 10}));
  EXPECT_EQ(all["model.layers.0.self_attn.k_proj.weight"], (Shape{12, 10}));
  EXPECT_EQ(all["model.layers.2.self_attn.o_proj.weight"], (Shape{10, 24}));
  EXPECT_EQ(all["model.layers.2.self_attn.k_norm.weight"], (Shape{6}));
  EXPECT_EQ(all["model.layers.1.mlp.down_proj.weight"], (Shape{10, 14}));
  EXPECT_EQ(all["model.layers.1.self_attn.router_q_proj.0.weight"], (Shape{24, 10}));
  EXPECT_EQ(all["model.layers.2.self_attn.router_k_proj.0.weight"], (Shape{12, 10}));
  EXPECT_FALSE(all.contains("model.layers.0.self_attn.router_q_proj.0.weight"));
  EXPECT_FALSE(all.contains("lm_head.weight"));

  ModelConfig config = small_config();
  config.tied_embeddings = false;
  config.msa.decouple_router = false;
  const auto others = expected_tensors(config);
  EXPECT_EQ(others.size(), 1u + 3 * 11 + 2);
  EXPECT_EQ(others.front().name, "model.embed_tokens.weight");
  EXPECT_EQ(others.back().name, "lm_head.weight");
  EXPECT_EQ(others.back().shape, (Shape{20, 10}));
}

TEST(Checkpoint, OpensTheGoldenFolders) {
  std::set<uint64_t> fingerprints;
  for (const char* name : {"cosine", "max_head"}) {
    const auto checkpoint = Checkpoint::open(kGolden / name);
    ASSERT_TRUE(checkpoint) << checkpoint.error().message;
    EXPECT_EQ(checkpoint->dtype(), DType::f32);
    EXPECT_EQ(checkpoint->folder(), kGolden / name);
    uint64_t bytes = 0;
    for (const ExpectedTensor& expected : expected_tensors(checkpoint->config())) {
      EXPECT_EQ(checkpoint->tensor(expected.name).shape, expected.shape);
      EXPECT_TRUE(checkpoint->check_finite(expected.name));
      bytes += checkpoint->tensor(expected.name).bytes.size();
    }
    EXPECT_EQ(bytes, 4 * checkpoint->parameters());
    fingerprints.insert(checkpoint->fingerprint());
  }
  EXPECT_EQ(fingerprints.size(), 2u);
}

TEST(Checkpoint, OpensEveryDtypeAndMixtures) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    const Folder folder;
    folder.whole(tensors_of(folder.config(), dtype));
    const auto checkpoint = Checkpoint::open(folder.path());
    ASSERT_TRUE(checkpoint) << checkpoint.error().message;
    EXPECT_EQ(checkpoint->dtype(), dtype);
  }
  const Folder folder;
  Tensors mixed = tensors_of(folder.config(), DType::bf16);
  std::mt19937 random(1);
  mixed["model.norm.weight"] = random_tensor(DType::f32, {10}, random);
  folder.whole(mixed);
  const auto checkpoint = Checkpoint::open(folder.path());
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  EXPECT_EQ(checkpoint->dtype(), DType::bf16);
  EXPECT_EQ(checkpoint->tensor("model.norm.weight").dtype, DType::f32);
}

TEST(Checkpoint, ShardsEqualTheWhole) {
  const Folder one, several;
  const Tensors tensors = tensors_of(one.config());
  one.whole(tensors);
  several.shards(tensors);
  const auto a = Checkpoint::open(one.path()), b = Checkpoint::open(several.path());
  ASSERT_TRUE(a) << a.error().message;
  ASSERT_TRUE(b) << b.error().message;
  EXPECT_EQ(a->parameters(), b->parameters());
  EXPECT_EQ(a->fingerprint(), b->fingerprint());
  for (const auto& [name, tensor] : tensors) {
    const auto bytes = b->tensor(name).bytes;
    EXPECT_EQ(std::memcmp(bytes.data(), tensor.bytes.data(), bytes.size()), 0) << name;
  }
}

TEST(Checkpoint, TemperaturesAndASecondTiedHeadArePassedOver) {
  const Folder plain, extra;
  Tensors tensors = tensors_of(plain.config());
  plain.whole(tensors);
  std::mt19937 random(2);
  tensors["model.layers.1.self_attn.temperature"] = random_tensor(DType::f32, {}, random);
  tensors["temperature"] = random_tensor(DType::bf16, {1}, random);
  tensors["lm_head.weight"] = random_tensor(DType::f32, {20, 10}, random);
  extra.whole(tensors);
  const auto a = Checkpoint::open(plain.path()), b = Checkpoint::open(extra.path());
  ASSERT_TRUE(a && b) << b.error().message;
  EXPECT_EQ(a->parameters(), b->parameters());
  EXPECT_EQ(a->fingerprint(), b->fingerprint());
}

TEST(Checkpoint, TensorsMustBeThoseOfTheConfig) {
  std::mt19937 random(3);
  const auto expect_mismatch = [&](const std::function<void(Tensors&)>& change,
                                   const std::string& part, const std::string& other,
                                   Code code = Code::mismatch) {
    const Folder folder;
    Tensors tensors = tensors_of(folder.config());
    change(tensors);
    folder.whole(tensors);
    expect_error(folder, code, part, other);
  };
  expect_mismatch([](Tensors& t) { t.erase("model.layers.2.mlp.up_proj.weight"); },
                  "model.safetensors: tensor 'model.layers.2.mlp.up_proj.weight'", "is missing");
  expect_mismatch([](Tensors& t) { t.erase("model.layers.1.self_attn.router_q_proj.0.weight"); },
                  "router_q_proj.0.weight'", "a plain Qwen3 model has no router");
  expect_mismatch(
      [&](Tensors& t) { t["model.norm.weight"] = random_tensor(DType::f32, {11}, random); },
      "tensor 'model.norm.weight' is of shape [11]", "calls for [10]");
  expect_mismatch(
      [&](Tensors& t) {
        t["model.norm.weight"] = random_tensor(DType::f32, {1, 10}, random);
      },
      "[1, 10]", "calls for [10]");
  expect_mismatch(
      [&](Tensors& t) {
        t["model.embed_tokens.weight"] = random_tensor(DType::f32, {10, 20}, random);
      },
      "[10, 20]", "calls for [20, 10]");
  expect_mismatch(
      [&](Tensors& t) { t["model.norm.weight"] = random_tensor(DType::i64, {10}, random); },
      "tensor 'model.norm.weight'", "I64", Code::unsupported);
  expect_mismatch(
      [&](Tensors& t) {
        t["other"] = random_tensor(DType::f32, {2, 3}, random);
      },
      "model.safetensors: tensor 'other' of shape [2, 3]", "belongs to no part");
  expect_mismatch([&](Tensors& t) { t["a.temperature"] = random_tensor(DType::f32, {2}, random); },
                  "'a.temperature'", "belongs to no part");
  expect_mismatch([&](Tensors& t) { t["my_temperature"] = random_tensor(DType::f32, {}, random); },
                  "'my_temperature'", "belongs to no part");
  expect_mismatch(
      [&](Tensors& t) {
        t["model.layers.0.self_attn.router_q_proj.0.weight"] =
            random_tensor(DType::f32, {24, 10}, random);
      },
      "layers.0.self_attn.router_q_proj", "belongs to no part");
}

TEST(Checkpoint, UntiedNeedsItsHead) {
  ModelConfig config = small_config();
  config.tied_embeddings = false;
  const Folder folder(config);
  Tensors tensors = tensors_of(config);
  folder.whole(tensors);
  EXPECT_TRUE(Checkpoint::open(folder.path()));
  tensors.erase("lm_head.weight");
  folder.whole(tensors);
  expect_error(folder, Code::mismatch, "'lm_head.weight'", "is missing");
}

TEST(Checkpoint, IndexAndShardsMustAgree) {
  const Tensors tensors = tensors_of(small_config());
  const auto expect_refused =
      [&](Code code, const std::string& part, const std::string& other,
          const std::function<void(nlohmann::json&, Tensors&, Tensors&)>& change) {
        const Folder folder;
        folder.shards(tensors, change);
        expect_error(folder, code, part, other);
      };
  using nlohmann::json;
  const std::string norm = "model.norm.weight";
  for (const char* name : {"../model-0.safetensors", "/etc/passwd", "a/b.safetensors", "..", ".",
                           "", ".hidden", "a\\b.safetensors"})
    expect_refused(Code::corrupt, "index.json: tensor 'model.norm.weight'", "no plain file name",
                   [&](json& map, Tensors&, Tensors&) { map[norm] = name; });
  expect_refused(Code::corrupt, "no plain file name", norm,
                 [&](json& map, Tensors&, Tensors&) { map[norm] = std::string("a\0b", 3); });
  expect_refused(Code::corrupt, "not mapped to a file name", norm,
                 [&](json& map, Tensors&, Tensors&) { map[norm] = 1; });
  expect_refused(Code::not_found, "model-9.safetensors: is missing", norm,
                 [&](json& map, Tensors&, Tensors&) { map[norm] = "model-9.safetensors"; });
  expect_refused(Code::mismatch, "model-1.safetensors: has no tensor 'phantom'", "index.json",
                 [&](json& map, Tensors&, Tensors&) { map["phantom"] = "model-1.safetensors"; });
  expect_refused(Code::mismatch, "has no tensor 'model.norm.weight'", "index.json",
                 [&](json&, Tensors& a, Tensors& b) { a.erase(norm), b.erase(norm); });
  expect_refused(Code::mismatch, "has a tensor 'stowaway' of 40 bytes", "model-0.safetensors",
                 [&](json&, Tensors& a, Tensors&) {
                   a["stowaway"] = Tensor{DType::f32, {10}, std::string(40, 'x')};
                 });
  expect_refused(Code::mismatch, "has a tensor 'model.norm.weight'", "does not map",
                 [&](json&, Tensors& a, Tensors& b) { a[norm] = b[norm] = tensors.at(norm); });
  expect_refused(Code::corrupt, "maps no tensor", "index.json",
                 [&](json& map, Tensors&, Tensors&) { map = json::object(); });
  expect_refused(Code::corrupt, "no object \"weight_map\"", "index.json",
                 [&](json& map, Tensors&, Tensors&) { map = 3; });
  expect_refused(
      Code::mismatch, "'model.norm.weight'", "is missing",
      [&](json& map, Tensors& a, Tensors& b) { map.erase(norm), a.erase(norm), b.erase(norm); });
}

TEST(Checkpoint, BrokenIndex) {
  const Folder folder;
  for (const char* text : {"", "{", "[]", "{}", R"({"weight_map": {"a": "x", "a": "y"}})"}) {
    folder.put("model.safetensors.index.json", text);
    expect_error(folder, Code::corrupt, "model.safetensors.index.json: ");
  }
}

TEST(Checkpoint, FoldersThatHoldNone) {
  const TestFolder empty;
  const auto no_config = Checkpoint::open(empty.path());
  ASSERT_FALSE(no_config);
  EXPECT_EQ(no_config.error().code, Code::not_found);
  EXPECT_THAT(no_config.error().message, HasSubstr("config.json"));
  const auto missing = Checkpoint::open(empty / "missing");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::not_found);
  const auto file = Checkpoint::open(empty.put("file", "x"));
  ASSERT_FALSE(file);
  EXPECT_THAT(file.error().message, HasSubstr("is not a folder"));
  const Folder no_weights;
  expect_error(no_weights, Code::not_found, "neither model.safetensors nor");
  no_weights.put("model.safetensors", "short");
  expect_error(no_weights, Code::corrupt, "model.safetensors: has 5 bytes");
}

// ---------------------------------------------------------------------------------------------

TEST(Checkpoint, FindsTheFirstNumberThatIsNotFinite) {
  std::mt19937 random(8);
  const std::string name = "model.embed_tokens.weight";
  ModelConfig config = small_config();
  config.vocabulary = 1003;  // more than one block of the scan, and not a whole number of them
  const size_t count = config.vocabulary * config.hidden;
  const std::map<DType, std::vector<uint32_t>> bad = {
      {DType::f32, {0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 0xffffffff}},
      {DType::bf16, {0x7f80, 0xff80, 0x7fc0, 0x7f81, 0xffff}},
      {DType::f16, {0x7c00, 0xfc00, 0x7e00, 0x7c01, 0xffff}}};
  // The greatest finite numbers are no reason to complain.
  const std::map<DType, uint32_t> greatest = {
      {DType::f32, 0xff7fffff}, {DType::bf16, 0xff7f}, {DType::f16, 0xfbff}};
  for (const auto& [dtype, patterns] : bad) {
    Tensors tensors = tensors_of(config, dtype);
    const size_t width = size_of(dtype);
    for (const size_t index : {size_t{0}, size_t{1}, size_t{2047}, size_t{2048}, size_t{4096},
                               count - 1, static_cast<size_t>(random() % count)})
      for (const uint32_t pattern : patterns) {
        const Folder folder(config);
        Tensor tensor = tensors[name];
        std::memcpy(tensor.bytes.data(), &greatest.at(dtype), width);
        std::memcpy(tensor.bytes.data() + index * width, &pattern, width);
        std::memcpy(tensor.bytes.data() + (count - 1) * width, &pattern, width);
        Tensors changed = tensors;
        changed[name] = tensor;
        folder.whole(changed);
        const auto checkpoint = Checkpoint::open(folder.path());
        ASSERT_TRUE(checkpoint) << checkpoint.error().message;
        const auto finite = checkpoint->check_finite(name);
        ASSERT_FALSE(finite);
        EXPECT_EQ(finite.error().code, Code::corrupt);
        EXPECT_THAT(finite.error().message,
                    AllOf(HasSubstr("model.safetensors: tensor '" + name + "'"),
                          HasSubstr(fmt::format("element {} of {};", index, count))));
        EXPECT_TRUE(checkpoint->check_finite("model.norm.weight"));
      }
    const Folder folder(config);
    std::memcpy(tensors[name].bytes.data(), &greatest.at(dtype), width);
    folder.whole(tensors);
    EXPECT_TRUE(Checkpoint::open(folder.path())->check_finite(name));
  }
}

TEST(Checkpoint, ReadsTensorsAtOddPlaces) {
  const Folder folder;
  Tensors tensors = tensors_of(folder.config());
  folder.whole(tensors);
  // One blank more in the header moves all data by one byte.
  std::string bytes = TestFolder::get(folder / "model.safetensors");
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  bytes.insert(8 + length, " ");
  ++length;
  std::memcpy(bytes.data(), &length, 8);
  folder.put("model.safetensors", bytes);
  const auto checkpoint = Checkpoint::open(folder.path());
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  EXPECT_EQ(reinterpret_cast<uintptr_t>(checkpoint->tensor("model.norm.weight").bytes.data()) % 2,
            1u);
  for (const auto& [name, tensor] : tensors) EXPECT_TRUE(checkpoint->check_finite(name));
}

TEST(Checkpoint, DroppedTensorsCanBeReadAgain) {
  const auto checkpoint = Checkpoint::open(kGolden / "cosine");
  ASSERT_TRUE(checkpoint);
  const uint64_t before = checkpoint->fingerprint();
  for (const ExpectedTensor& expected : expected_tensors(checkpoint->config()))
    checkpoint->drop(expected.name);
  EXPECT_EQ(checkpoint->fingerprint(), before);
}

TEST(Checkpoint, FingerprintIsOfWhatChangesResults) {
  const auto fingerprint = [](const ModelConfig& config, const Tensors& tensors) {
    const Folder folder(config);
    folder.whole(tensors);
    const auto checkpoint = Checkpoint::open(folder.path());
    EXPECT_TRUE(checkpoint) << checkpoint.error().message;
    return checkpoint ? checkpoint->fingerprint() : 0;
  };
  const ModelConfig config = small_config();
  const Tensors tensors = tensors_of(config);
  const uint64_t original = fingerprint(config, tensors);
  EXPECT_EQ(fingerprint(config, tensors), original);

  // What does not count.
  ModelConfig same = config;
  same.note = "another";
  same.max_positions = 7;
  same.msa.top_k = 3;
  same.msa.lm_loss_weight = 0.5;
  same.msa.infonce_temperature = 0.2;
  EXPECT_EQ(fingerprint(same, tensors), original);

  // What does.
  std::set<uint64_t> seen = {original};
  const auto expect_new = [&](const ModelConfig& c, const Tensors& t, const char* what) {
    EXPECT_TRUE(seen.insert(fingerprint(c, t)).second) << what;
  };
  ModelConfig other = config;
  other.rope_theta = 2e4;
  expect_new(other, tensors, "rotary base");
  other = config;
  other.rms_norm_eps = 1e-5f;
  expect_new(other, tensors, "epsilon");
  other = config;
  other.msa.chunk_size = 32;
  expect_new(other, tensors, "chunk size");
  other = config;
  other.msa.aux_loss_method = "BCE";
  expect_new(other, tensors, "similarity");
  other = config;
  other.msa.head_reduce = HeadReduce::max;
  expect_new(other, tensors, "head reduce");
  other = config;
  other.msa.chunk_reduce = ChunkReduce::mean;
  expect_new(other, tensors, "chunk reduce");
  other = config;
  other.msa.query_reduce = QueryReduce::mean;
  expect_new(other, tensors, "query reduce");

  for (const auto& [name, tensor] : tensors) {
    Tensors changed = tensors;
    changed[name].bytes[tensor.bytes.size() / 2] ^= 1;
    expect_new(config, changed, name.c_str());
  }
  Tensors swapped = tensors;
  std::swap(swapped["model.layers.0.self_attn.k_proj.weight"],
            swapped["model.layers.0.self_attn.v_proj.weight"]);
  expect_new(config, swapped, "two tensors in each other's place");
}

TEST(Checkpoint, FingerprintSamplesBothEndsOfALargeTensor) {
  ModelConfig config = small_config();
  config.vocabulary = 5000;  // 200,000 bytes
  Tensors tensors = tensors_of(config);
  std::string& bytes = tensors["model.embed_tokens.weight"].bytes;
  std::set<uint64_t> seen;
  for (const size_t at : {size_t{0}, size_t{4095}, bytes.size() - 4096, bytes.size() - 2}) {
    bytes[at] ^= 1;
    const Folder folder(config);
    folder.whole(tensors);
    const auto checkpoint = Checkpoint::open(folder.path());
    ASSERT_TRUE(checkpoint);
    EXPECT_TRUE(seen.insert(checkpoint->fingerprint()).second) << at;
  }
}

}  // namespace
}  // namespace msa
