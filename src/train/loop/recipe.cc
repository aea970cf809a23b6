#include "train/loop/recipe.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/files.h"
#include "train/loop/json_section.h"
#include "train/model/model.h"

namespace msa::train {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxRecipeBytes = 4u << 20;
constexpr uint64_t kMaxSeed = (uint64_t{1} << 53) - 1;  // what every JSON library keeps exactly
constexpr uint64_t kMaxCount = 1u << 30;
constexpr uint64_t kMaxLength = uint64_t{1} << 50;
constexpr size_t kMaxPhases = 1000, kMaxEntries = 1000;
constexpr size_t kMaxTopK = 65536;
constexpr size_t kMaxChunk = 65536;
constexpr size_t kMaxLayers = 1024;
constexpr uint64_t kMaxNegatives = 1u << 20;
constexpr double kMaxWeight = 1e6;

const std::vector<std::string_view> kRecipeKeys = {
    "note",       "model",      "tokenizer", "data_folder",      "seed",
    "dtype",      "save_dtype", "optimizer", "checkpoint_every", "log_every",
    "evaluation", "defaults",   "phases"};
const std::vector<std::string_view> kShapeKeys = {
    "layers",          "hidden",        "feed_forward",    "query_heads", "kv_heads",
    "head_dim",        "router_layers", "chunk_size",      "top_k",       "rope_theta",
    "rms_norm_eps",    "max_positions", "tied_embeddings", "vocabulary",  "decouple_router",
    "head_reduce",     "query_reduce",  "chunk_reduce",    "aux_loss",    "temperature",
    "skip_handed_over"};
const std::vector<std::string_view> kPhaseKeys = {
    "name",      "insert_layers", "router_layers",  "chunk_size",
    "steps",     "tokens",        "learning_rate",  "continue",
    "schedule",  "optimizer",     "head_norm_rate", "embedding_rate",
    "lm_weight", "aux_weight",    "aux_loss",       "include_positives",
    "top_k",     "negatives",     "accumulate",     "checkpoint_activations",
    "batch",     "data"};
const std::vector<std::string_view> kScheduleKeys = {"kind", "warmup_steps", "final_share"};
const std::vector<std::string_view> kBatchKeys = {"documents",
                                                  "tokens",
                                                  "max_document_tokens",
                                                  "share_documents",
                                                  "max_number_digits",
                                                  "number_weight",
                                                  "answer_weight",
                                                  "text_weight",
                                                  "document_weight",
                                                  "repeat_share",
                                                  "repeat_tokens",
                                                  "repeat_vocabulary",
                                                  "reading_share",
                                                  "reading_documents",
                                                  "one_document_per_step",
                                                  "detour_share",
                                                  "sequences_per_question"};
const std::vector<std::string_view> kEntryKeys = {"task",     "file",   "split",        "seed",
                                                  "settings", "weight", "reading_share"};
const std::vector<std::string_view> kOptimizerKeys = {"betas", "eps", "weight_decay", "clip"};
const std::vector<std::string_view> kEvaluationKeys = {"every", "batches", "top_k",
                                                       "batch", "data",    "seed"};

// A well-mixed number for place `index` of what `seed` numbers.
uint64_t derived_seed(uint64_t seed, uint64_t index) {
  uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return (z ^ (z >> 31)) & kMaxSeed;
}

fs::path beside(const fs::path& recipe, const std::string& path) {
  const fs::path given(path);
  return given.is_absolute() ? given : (recipe.parent_path() / given).lexically_normal();
}

Result<std::vector<int>> read_router_layers(const JsonSection& model, size_t layers) {
  constexpr std::string_view kKey = "router_layers";
  const Json* value = model.find(kKey);
  std::vector<int> chosen;
  if (!value || *value == "all") {
    for (size_t i = 0; i < layers; ++i) chosen.push_back(static_cast<int>(i));
    return chosen;
  }
  const auto wrong = [&] {
    return model.error(kKey, "is not a list of layers",
                       fmt::format("give \"all\" or ascending layer numbers from 0 to {}, such as "
                                   "[{}]",
                                   layers - 1, layers - 1));
  };
  if (!value->is_array() || value->empty()) return wrong();
  for (const Json& layer : *value) {
    if (!layer.is_number_unsigned() || layer.get<uint64_t>() >= layers) return wrong();
    const int number = layer.get<int>();
    if (!chosen.empty() && number <= chosen.back()) return wrong();
    chosen.push_back(number);
  }
  return chosen;
}

// A value of `all` by its name_of().
template <class T>
Result<T> read_choice(const JsonSection& section, std::string_view key, std::vector<T> all) {
  std::vector<std::string_view> names;
  for (const T one : all) names.push_back(name_of(one));
  MSA_ASSIGN(const size_t place, section.choice(key, names, 0));
  return all[place];
}

Result<std::string> read_aux_loss(const JsonSection& section, const std::string& fallback) {
  MSA_ASSIGN(std::string name, section.text("aux_loss", fallback));
  if (const auto known = parse_aux_loss(name); !known)
    return Error{Code::invalid_argument,
                 fmt::format("{}: \"{}\": {}", section.file().string(), section.where("aux_loss"),
                             known.error().message)};
  return name;
}

Result<ModelConfig> read_shape(const JsonSection& model) {
  MSA_TRY(model.check_keys(kShapeKeys));
  ModelConfig shape;
  MSA_ASSIGN(shape.layers, model.whole("layers", 1, kMaxLayers));
  MSA_ASSIGN(shape.hidden, model.whole("hidden", 1, 1u << 20));
  MSA_ASSIGN(shape.feed_forward, model.whole("feed_forward", 1, 1u << 22));
  MSA_ASSIGN(shape.query_heads, model.whole("query_heads", 1, 4096));
  MSA_ASSIGN(shape.kv_heads, model.whole("kv_heads", 1, 4096, shape.query_heads));
  MSA_ASSIGN(shape.head_dim, model.whole("head_dim", 2, 1024));
  if (shape.query_heads % shape.kv_heads != 0)
    return model.error("kv_heads",
                       fmt::format("is {}, which does not divide {} query heads", shape.kv_heads,
                                   shape.query_heads),
                       "give a divisor");
  if (shape.head_dim % 2 != 0)
    return model.error("head_dim", fmt::format("is {}, which is odd", shape.head_dim),
                       "give an even number");
  MSA_ASSIGN(shape.max_positions, model.whole("max_positions", 1, kMaxCount, 32768));
  MSA_ASSIGN(shape.rope_theta, model.real("rope_theta", 1, 1e15, 1e6));
  MSA_ASSIGN(const double epsilon, model.real("rms_norm_eps", 1e-12, 1, 1e-6));
  shape.rms_norm_eps = static_cast<float>(epsilon);
  MSA_ASSIGN(shape.tied_embeddings, model.flag("tied_embeddings", true));
  MSA_ASSIGN(shape.vocabulary, model.whole("vocabulary", 0, 1u << 24, 0));
  MsaConfig& msa = shape.msa;
  MSA_ASSIGN(msa.router_layers, read_router_layers(model, shape.layers));
  MSA_ASSIGN(msa.chunk_size, model.whole("chunk_size", 1, kMaxChunk, msa.chunk_size));
  MSA_ASSIGN(msa.top_k, model.whole("top_k", 1, kMaxTopK, msa.top_k));
  MSA_ASSIGN(msa.decouple_router, model.flag("decouple_router", true));
  MSA_ASSIGN(msa.head_reduce,
             read_choice<HeadReduce>(model, "head_reduce", {HeadReduce::mean, HeadReduce::max}));
  MSA_ASSIGN(msa.query_reduce,
             read_choice<QueryReduce>(model, "query_reduce",
                                      {QueryReduce::max, QueryReduce::mean, QueryReduce::last}));
  MSA_ASSIGN(msa.chunk_reduce, read_choice<ChunkReduce>(model, "chunk_reduce",
                                                        {ChunkReduce::max, ChunkReduce::mean}));
  MSA_ASSIGN(msa.aux_loss_method, read_aux_loss(model, msa.aux_loss_method));
  MSA_ASSIGN(msa.infonce_temperature, model.real("temperature", 1e-3, 0.5, 0.1));
  MSA_ASSIGN(msa.skip_handed_over, model.flag("skip_handed_over", false));
  return shape;
}

Result<Schedule> read_schedule(const JsonSection& section) {
  MSA_TRY(section.check_keys(kScheduleKeys));
  Schedule schedule;
  MSA_ASSIGN(const size_t kind, section.choice("kind", {"cosine", "constant", "linear"}, 0));
  schedule.kind = kind == 0   ? ScheduleKind::cosine
                  : kind == 1 ? ScheduleKind::constant
                              : ScheduleKind::linear;
  MSA_ASSIGN(schedule.warmup_steps, section.whole("warmup_steps", 0, kMaxCount, 0));
  MSA_ASSIGN(schedule.final_share, section.real("final_share", 0, 1, 0.1));
  return schedule;
}

Result<float> read_weight(const JsonSection& section, std::string_view key, float fallback) {
  MSA_ASSIGN(const double weight, section.real(key, 0, kMaxWeight, fallback));
  return static_cast<float>(weight);
}

Result<BatchOptions> read_batch(const JsonSection& section) {
  MSA_TRY(section.check_keys(kBatchKeys));
  BatchOptions batch;
  MSA_ASSIGN(batch.documents, section.whole("documents", 0, 1u << 24, batch.documents));
  MSA_ASSIGN(batch.tokens, section.whole("tokens", 16, kMaxCount, batch.tokens));
  MSA_ASSIGN(batch.max_document_tokens,
             section.whole("max_document_tokens", 8, kMaxCount, batch.max_document_tokens));
  MSA_ASSIGN(batch.share_documents, section.flag("share_documents", batch.share_documents));
  MSA_ASSIGN(batch.max_number_digits,
             section.whole("max_number_digits", 1, 9, batch.max_number_digits));
  MSA_ASSIGN(batch.number_weight, read_weight(section, "number_weight", batch.number_weight));
  MSA_ASSIGN(batch.answer_weight, read_weight(section, "answer_weight", batch.answer_weight));
  MSA_ASSIGN(batch.text_weight, read_weight(section, "text_weight", batch.text_weight));
  MSA_ASSIGN(batch.document_weight, read_weight(section, "document_weight", batch.document_weight));
  MSA_ASSIGN(batch.repeat_share, section.real("repeat_share", 0, 0.9, batch.repeat_share));
  MSA_ASSIGN(batch.repeat_tokens, section.whole("repeat_tokens", 2, 1u << 20, batch.repeat_tokens));
  MSA_ASSIGN(batch.repeat_vocabulary,
             section.whole("repeat_vocabulary", 0, 1u << 20, batch.repeat_vocabulary));
  MSA_ASSIGN(batch.reading_share, section.real("reading_share", 0, 1, batch.reading_share));
  MSA_ASSIGN(batch.reading_documents,
             section.whole("reading_documents", 1, 1u << 16, batch.reading_documents));
  MSA_ASSIGN(batch.one_document_per_step,
             section.flag("one_document_per_step", batch.one_document_per_step));
  MSA_ASSIGN(batch.detour_share, section.real("detour_share", 0, 1, batch.detour_share));
  MSA_ASSIGN(batch.sequences_per_question,
             section.whole("sequences_per_question", 0, 1u << 16, batch.sequences_per_question));
  return batch;
}

Result<DataEntry> read_entry(const JsonSection& section, bool test, uint64_t seed) {
  MSA_TRY(section.check_keys(kEntryKeys));
  DataEntry entry;
  MSA_ASSIGN(entry.task, section.text("task", ""));
  MSA_ASSIGN(const std::string file, section.text("file", ""));
  if (entry.task.empty() == file.empty())
    return section.error(
        "task", file.empty() ? "and \"file\" are both missing" : "and \"file\" are both given",
        "give one of them");
  if (!file.empty()) {
    entry.file = beside(section.file(), file);
    for (const std::string_view key : {"split", "settings"})
      if (section.has(key))
        return section.error(key, "is of makers, and this is a file", "remove it");
  }
  MSA_ASSIGN(const size_t split, section.choice("split", {"train", "test"}, test ? 1 : 0));
  entry.test = split == 1;
  MSA_ASSIGN(entry.seed, section.whole("seed", 0, kMaxSeed, seed));
  MSA_ASSIGN(entry.weight, section.real("weight", 1e-9, 1e9, 1));
  if (section.has("reading_share")) {
    MSA_ASSIGN(entry.reading_share, section.real("reading_share", 0, 1, 0));
  }
  if (const Json* settings = section.find("settings")) {
    if (!settings->is_object())
      return section.error("settings", "is not an object", "give {\"name\": value, …}");
    for (const auto& [key, value] : settings->items()) {
      if (value.is_structured() || value.is_null())
        return section.error("settings", fmt::format("has no plain value for \"{}\"", key),
                             "give a text, a number, true or false");
      entry.settings[key] = value.is_string() ? value.get<std::string>() : value.dump();
    }
  }
  return entry;
}

Result<std::vector<DataEntry>> read_data(const JsonSection& section, bool test, uint64_t seed) {
  constexpr std::string_view kKey = "data";
  const Json* list = section.find(kKey);
  if (!list || !list->is_array() || list->empty() || list->size() > kMaxEntries)
    return section.error(kKey, list ? "is not a list of sources" : "is missing",
                         "give [{\"task\": \"…\"}] or [{\"file\": \"….jsonl\"}]");
  std::vector<DataEntry> entries;
  for (size_t i = 0; i < list->size(); ++i) {
    const JsonSection entry(section.file(), fmt::format("{}[{}]", section.where(kKey), i),
                            list->at(i));
    MSA_ASSIGN(DataEntry read, read_entry(entry, test, derived_seed(seed, i)));
    entries.push_back(std::move(read));
  }
  return entries;
}

// A number or a list of them.
Result<std::vector<size_t>> read_top_k(const JsonSection& section, size_t fallback) {
  constexpr std::string_view kKey = "top_k";
  const Json* value = section.find(kKey);
  if (!value) return std::vector<size_t>{fallback};
  const Json list = value->is_array() ? *value : Json::array({*value});
  std::vector<size_t> chosen;
  for (const Json& k : list) {
    if (!k.is_number_unsigned() || k.get<uint64_t>() < 1 || k.get<uint64_t>() > kMaxTopK) break;
    chosen.push_back(k.get<size_t>());
  }
  if (chosen.empty() || chosen.size() != list.size())
    return section.error(kKey, "is neither a number of documents nor a list of such",
                         fmt::format("give whole numbers from 1 to {}", kMaxTopK));
  return chosen;
}

// Ascending numbers of layers. How many layers there are by then is not known here.
Result<std::vector<size_t>> read_layers(const JsonSection& section, std::string_view key,
                                        std::string_view meaning) {
  const Json* value = section.find(key);
  std::vector<size_t> layers;
  if (!value) return layers;
  const auto wrong = [&] {
    return section.error(key, "is not a list of layers",
                         fmt::format("give ascending numbers from 0 to {}, such as [3, 6]: {}",
                                     kMaxLayers, meaning));
  };
  if (!value->is_array() || value->empty() || value->size() > kMaxLayers) return wrong();
  for (const Json& layer : *value) {
    if (!layer.is_number_unsigned() || layer.get<uint64_t>() > kMaxLayers) return wrong();
    if (!layers.empty() && layer.get<size_t>() < layers.back()) return wrong();
    layers.push_back(layer.get<size_t>());
  }
  return layers;
}

// true, false, or the share of steps for which it is true.
Result<double> read_include_positives(const JsonSection& section) {
  constexpr std::string_view kKey = "include_positives";
  const Json* value = section.find(kKey);
  if (!value) return 0.0;
  if (value->is_boolean()) return value->get<bool>() ? 1.0 : 0.0;
  if (value->is_number() && value->get<double>() >= 0 && value->get<double>() <= 1)
    return value->get<double>();
  return section.error(kKey, "is neither true nor false nor a share",
                       "give true, false, or the share of steps from 0 to 1");
}

// `previous_rate`: the learning rate at the end of the phase before, 0 for the first.
Result<Phase> read_phase(const JsonSection& section, size_t top_k, const std::string& aux_loss,
                         double previous_rate, uint64_t seed) {
  MSA_TRY(section.check_keys(kPhaseKeys));
  Phase phase;
  MSA_ASSIGN(phase.name, section.text("name"));
  if (phase.name.empty() || phase.name.size() > 100)
    return section.error("name", "is empty or longer than 100 bytes", "give a short name");
  MSA_ASSIGN(phase.insert_layers,
             read_layers(section, "insert_layers", "a new layer goes before each of these"));
  MSA_ASSIGN(phase.router_layers,
             read_layers(section, "router_layers", "only these route from then on"));
  if (std::ranges::adjacent_find(phase.router_layers) != phase.router_layers.end())
    return section.error("router_layers", "names a layer twice", "give each once");
  MSA_ASSIGN(phase.chunk_size, section.whole("chunk_size", 1, kMaxChunk, 0));
  MSA_ASSIGN(phase.steps, section.whole("steps", 1, kMaxLength, 0));
  MSA_ASSIGN(phase.tokens, section.whole("tokens", 1, kMaxLength, 0));
  if ((phase.steps == 0) == (phase.tokens == 0))
    return section.error(
        "steps",
        phase.steps == 0 ? "and \"tokens\" are both missing" : "and \"tokens\" are both given",
        "give one of them");
  MSA_ASSIGN(const bool continues, section.flag("continue", false));
  if (continues && previous_rate == 0)
    return section.error("continue", "is true, but no learning rate above 0 comes before it",
                         "remove it and give \"learning_rate\"");
  phase.start_rate = continues ? previous_rate : 0;
  MSA_ASSIGN(phase.learning_rate,
             section.real("learning_rate", 0, 10,
                          continues ? std::optional<double>(previous_rate) : std::nullopt));
  MSA_ASSIGN(phase.schedule, read_schedule(section.section("schedule")));
  MSA_ASSIGN(const size_t optimizer, section.choice("optimizer", {"adamw", "muon"}, 0));
  phase.optimizer = optimizer == 0 ? OptimizerKind::adamw : OptimizerKind::muon;
  MSA_ASSIGN(phase.head_norm_rate, section.real("head_norm_rate", 0, 1000, 1));
  MSA_ASSIGN(phase.embedding_rate, section.real("embedding_rate", 0, 1000, 1));
  MSA_ASSIGN(phase.lm_weight, section.real("lm_weight", 0, kMaxWeight, phase.lm_weight));
  MSA_ASSIGN(phase.aux_weight, section.real("aux_weight", 0, kMaxWeight, phase.aux_weight));
  if (phase.lm_weight == 0 && phase.aux_weight == 0)
    return section.error("aux_weight", "and \"lm_weight\" are both 0, nothing would be learned",
                         "raise one of them");
  MSA_ASSIGN(phase.aux_loss, read_aux_loss(section, aux_loss));
  MSA_ASSIGN(phase.include_positives, read_include_positives(section));
  MSA_ASSIGN(phase.top_k, read_top_k(section, top_k));
  MSA_ASSIGN(phase.negatives, section.whole("negatives", 0, kMaxNegatives, 0));
  MSA_ASSIGN(phase.accumulate, section.whole("accumulate", 1, 65536, 1));
  MSA_ASSIGN(phase.checkpoint_activations, section.flag("checkpoint_activations", false));
  MSA_ASSIGN(phase.batch, read_batch(section.section("batch")));
  MSA_ASSIGN(phase.data, read_data(section, /*test=*/false, seed));
  return phase;
}

Result<OptimizerOptions> read_optimizer(const JsonSection& section) {
  MSA_TRY(section.check_keys(kOptimizerKeys));
  OptimizerOptions options;
  if (const Json* betas = section.find("betas")) {
    const auto beta = [](const Json& value) {
      return value.is_number() && value.get<double>() >= 0 && value.get<double>() < 1;
    };
    if (!betas->is_array() || betas->size() != 2 || !beta(betas->at(0)) || !beta(betas->at(1)))
      return section.error("betas", "is not a pair of numbers from 0 to below 1",
                           "give for example [0.9, 0.95]");
    options.beta1 = betas->at(0).get<double>();
    options.beta2 = betas->at(1).get<double>();
  }
  MSA_ASSIGN(options.epsilon, section.real("eps", 1e-16, 1, options.epsilon));
  MSA_ASSIGN(options.weight_decay, section.real("weight_decay", 0, 10, options.weight_decay));
  MSA_ASSIGN(options.clip, section.real("clip", 0, 1e9, options.clip));
  return options;
}

Result<EvaluationPlan> read_evaluation(const JsonSection& section, const Recipe& recipe,
                                       size_t top_k) {
  MSA_TRY(section.check_keys(kEvaluationKeys));
  EvaluationPlan plan;
  MSA_ASSIGN(plan.every, section.whole("every", 1, kMaxLength));
  MSA_ASSIGN(plan.batches, section.whole("batches", 1, 10'000, plan.batches));
  MSA_ASSIGN(plan.top_k, section.whole("top_k", 1, kMaxTopK, top_k));
  MSA_ASSIGN(plan.seed, section.whole("seed", 0, kMaxSeed, recipe.seed));
  MSA_ASSIGN(plan.batch, read_batch(section.section("batch")));
  MSA_ASSIGN(plan.data, read_data(section, /*test=*/true, plan.seed));
  return plan;
}

Result<void> read_checkpoint_every(const JsonSection& section, Recipe& recipe) {
  MSA_TRY(section.check_keys({"steps", "minutes"}));
  MSA_ASSIGN(recipe.checkpoint_steps, section.whole("steps", 1, kMaxLength, 0));
  MSA_ASSIGN(recipe.checkpoint_minutes,
             section.real("minutes", 0.01, 1e6, recipe.checkpoint_steps > 0 ? 0.0 : 10.0));
  return {};
}

// What a phase's text is made of: its own keys over the defaults.
std::string merged_text(const Json& phase, const Json* defaults) {
  Json merged = defaults ? *defaults : Json::object();
  merged.merge_patch(phase);
  return merged.dump(-1, ' ', true, Json::error_handler_t::replace);
}

Result<void> read_phases(const Json& root, const JsonSection& top, size_t top_k,
                         const std::string& aux_loss, Recipe& recipe) {
  const Json* list = top.find("phases");
  if (!list || !list->is_array() || list->empty() || list->size() > kMaxPhases)
    return top.error("phases", list ? "is not a list of phases" : "is missing",
                     "give at least one phase");
  const Json* defaults = top.find("defaults");
  if (defaults) {
    const JsonSection section(recipe.file, "defaults", *defaults);
    MSA_TRY(section.check_keys(kPhaseKeys));
    for (const char* key : {"insert_layers", "router_layers", "chunk_size"})
      if (section.has(key))
        return section.error(key, "would be done in every phase",
                             "give it in the phase that it is for");
    MSA_TRY(section.section("schedule").check_keys(kScheduleKeys));
    MSA_TRY(section.section("batch").check_keys(kBatchKeys));
  }
  double rate = 0;
  for (size_t i = 0; i < list->size(); ++i) {
    const JsonSection section(recipe.file, fmt::format("phases[{}]", i), root["phases"][i],
                              "defaults", defaults);
    MSA_ASSIGN(Phase phase,
               read_phase(section, top_k, aux_loss, rate, derived_seed(recipe.seed, i)));
    rate = phase.learning_rate *
           (phase.schedule.kind == ScheduleKind::constant ? 1 : phase.schedule.final_share);
    phase.text = merged_text(list->at(i), defaults);
    recipe.phases.push_back(std::move(phase));
  }
  return {};
}

// A phase's text without its length, if its learning rate does not depend on that; else all of it.
Json without_length(const std::string& text) {
  Json phase = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!phase.is_object()) return text;
  const auto schedule = phase.find("schedule");
  if (schedule == phase.end() || !schedule->is_object() ||
      schedule->value("kind", Json()) != "constant")
    return text;
  phase.erase("tokens");
  phase.erase("steps");
  return phase;
}

}  // namespace

bool may_go_on(const std::string& before, const std::string& after) {
  return before == after || without_length(before) == without_length(after);
}

Result<Recipe> parse_recipe(std::string_view text, const fs::path& file) {
  MSA_ASSIGN(const Json root, parse_strict_json(text, file));
  const JsonSection top(file, "", root);
  MSA_TRY(top.check_keys(kRecipeKeys));
  Recipe recipe;
  recipe.file = file;
  MSA_ASSIGN(recipe.note, top.text("note", ""));
  MSA_ASSIGN(const std::string tokenizer, top.text("tokenizer"));
  recipe.tokenizer = beside(file, tokenizer);
  MSA_ASSIGN(const std::string data_folder, top.text("data_folder", "data"));
  recipe.data_folder = beside(file, data_folder);
  MSA_ASSIGN(recipe.seed, top.whole("seed", 0, kMaxSeed, 1));
  MSA_ASSIGN(const size_t compute, top.choice("dtype", {"bf16", "f32"}, 0));
  recipe.compute = compute == 0 ? DType::bf16 : DType::f32;
  MSA_ASSIGN(const size_t save, top.choice("save_dtype", {"bf16", "f32"}, 0));
  recipe.save = save == 0 ? DType::bf16 : DType::f32;

  const JsonSection model = top.section("model");
  size_t top_k = MsaConfig{}.top_k;
  std::string aux_loss = MsaConfig{}.aux_loss_method;
  if (model.has("init")) {
    MSA_TRY(model.check_keys({"init"}));
    MSA_ASSIGN(const std::string init, model.text("init"));
    recipe.init = beside(file, init);
  } else {
    MSA_ASSIGN(ModelConfig shape, read_shape(model));
    top_k = shape.msa.top_k;
    aux_loss = shape.msa.aux_loss_method;
    recipe.shape = std::move(shape);
  }
  MSA_ASSIGN(recipe.optimizer, read_optimizer(top.section("optimizer")));
  MSA_TRY(read_checkpoint_every(top.section("checkpoint_every"), recipe));
  MSA_ASSIGN(recipe.log_every, top.whole("log_every", 1, kMaxLength, recipe.log_every));
  if (top.has("evaluation")) {
    MSA_ASSIGN(recipe.evaluation, read_evaluation(top.section("evaluation"), recipe, top_k));
  }
  MSA_TRY(read_phases(root, top, top_k, aux_loss, recipe));
  Json fixed = Json::object();
  for (const char* key : {"model", "seed", "dtype", "optimizer"})
    if (const Json* value = top.find(key)) fixed[key] = *value;
  recipe.text = fixed.dump(-1, ' ', true, Json::error_handler_t::replace);
  return recipe;
}

Result<Recipe> read_recipe(const fs::path& file) {
  MSA_ASSIGN(const std::string text, read_file(file, kMaxRecipeBytes));
  return parse_recipe(text, file);
}

}  // namespace msa::train
