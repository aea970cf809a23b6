#include "train/loop/speed.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <memory>
#include <random>
#include <sstream>

#include "train/loop/device.h"
#include "train/loop/optimizer.h"
#include "train/loop/tensor_memory.h"
#include "train/model/model.h"

namespace msa::train {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kQueryTokens = 64, kRoutingTokens = 32, kLabels = 16;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

uint64_t peak_resident_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) {
      std::istringstream fields(line.substr(6));
      uint64_t kib = 0;
      fields >> kib;
      return kib * 1024;
    }
  return 0;
}

// Documents and questions of random tokens, as many as come close to options.tokens.
Batch random_batch(const ModelConfig& config, const SpeedOptions& options,
                   std::mt19937_64& random) {
  const auto token = [&] { return static_cast<TokenId>(random() % config.vocabulary); };
  Batch batch;
  batch.prefix = {token(), token(), token()};
  const size_t documents = std::max<size_t>(1, options.tokens * 3 / 4 / options.document_tokens);
  const size_t queries = std::max<size_t>(
      1, (options.tokens - std::min(options.tokens, documents * options.document_tokens)) /
             kQueryTokens);
  batch.doc_starts = {0};
  for (size_t n = 0; n < documents; ++n) {
    for (size_t t = 0; t < options.document_tokens; ++t) batch.doc_tokens.push_back(token());
    batch.doc_starts.push_back(static_cast<int32_t>(batch.doc_tokens.size()));
    batch.doc_group.push_back(0);
    batch.doc_number.push_back(static_cast<uint32_t>(n));
  }
  batch.query_starts = batch.relevant_starts = {0};
  for (size_t q = 0; q < queries; ++q) {
    for (size_t t = 0; t < kQueryTokens; ++t) {
      const bool labelled = t + kLabels >= kQueryTokens;
      batch.query_tokens.push_back(token());
      batch.routes.push_back(t < kRoutingTokens);
      batch.labels.push_back(labelled ? token() : -1);
      batch.label_weights.push_back(labelled ? 1.f : 0.f);
      batch.label_kinds.push_back(LabelKind::answer);
    }
    batch.query_starts.push_back(static_cast<int32_t>(batch.query_tokens.size()));
    batch.query_group.push_back(0);
    batch.relevant.push_back(static_cast<int32_t>(random() % documents));
    batch.relevant_starts.push_back(static_cast<int32_t>(batch.relevant.size()));
  }
  return batch;
}

// Of one large matrix product, the best of several.
double measure_product_rate(const ModelConfig& config, size_t tokens, torch::Dtype type,
                            torch::Device device) {
  const auto options = torch::dtype(type).device(device);
  const auto rows = static_cast<int64_t>(std::clamp<size_t>(tokens, 512, 8192));
  const auto inner = static_cast<int64_t>(std::max<size_t>(config.hidden, 256));
  const auto outer = static_cast<int64_t>(std::max<size_t>(2 * config.feed_forward, 1024));
  const torch::Tensor x = torch::randn({rows, inner}, torch::kFloat32).to(options);
  const torch::Tensor weight = torch::randn({outer, inner}, torch::kFloat32).to(options);
  const double operations =
      2.0 * static_cast<double>(rows) * static_cast<double>(inner) * static_cast<double>(outer);
  constexpr double kMeasuredSeconds = 1;
  double best = 0;
  for (const Clock::time_point start = Clock::now(); seconds_since(start) < kMeasuredSeconds;) {
    const Clock::time_point once = Clock::now();
    constexpr int kRepeats = 4;
    torch::Tensor y;
    for (int i = 0; i < kRepeats; ++i) y = torch::linear(x, weight);
    y.index({0, 0}).item<float>();  // waits for a device that works in the background
    best = std::max(best, kRepeats * operations / seconds_since(once));
  }
  return best;
}

// One pass forward and two backward.
double product_operations(const ModelConfig& config, const Batch& batch) {
  const auto d = static_cast<double>(config.hidden);
  const auto heads = static_cast<double>(config.query_width());
  const auto groups = static_cast<double>(config.kv_width());
  const double layer =
      d * (2 * heads + 2 * groups) + 3 * d * static_cast<double>(config.feed_forward);
  const auto tokens = static_cast<double>(batch.prefix.size() + batch.tokens());
  double products = static_cast<double>(config.layers) * layer * tokens;
  if (config.msa.decouple_router) {
    const auto routing =
        static_cast<double>(std::count(batch.routes.begin(), batch.routes.end(), uint8_t{1}));
    products += static_cast<double>(config.msa.router_layers.size()) * d *
                (heads * routing + groups * static_cast<double>(batch.doc_tokens.size()));
  }
  const auto labels = static_cast<double>(
      std::count_if(batch.labels.begin(), batch.labels.end(), [](TokenId t) { return t >= 0; }));
  products += d * static_cast<double>(config.vocabulary) * labels;
  return 3 * 2 * products;
}

Result<SpeedReport> measure(const ModelConfig& config, const SpeedOptions& options,
                            torch::Device device) {
  MSA_ASSIGN(const std::unique_ptr<Model> model, Model::create(config, /*seed=*/1));
  model->to(device);
  Optimizer optimizer(model->parameters(), {});
  StepOptions step;
  step.top_k = options.top_k;
  step.cosine = config.msa.cosine_by_default();
  step.checkpoint_activations = options.checkpoint_activations;
  step.compute = options.compute == DType::f32 ? torch::kFloat32 : torch::kBFloat16;

  SpeedReport report;
  for (const auto& [name, tensor] : model->parameters())
    report.parameters += static_cast<uint64_t>(tensor.numel());
  std::mt19937_64 random(1);
  report.seconds = report.optimizer_seconds = INFINITY;
  for (size_t i = 0; i < options.steps + 1; ++i) {
    const Batch batch = random_batch(config, options, random);
    report.tokens = batch.tokens();
    report.product_operations = product_operations(config, batch);
    const Clock::time_point start = Clock::now();
    MSA_ASSIGN(const StepResult result, model->step(batch, step));
    result.loss.backward();
    const Clock::time_point before = Clock::now();
    optimizer.update({1e-4}, optimizer.gradient_norm());
    optimizer.drop_gradients();
    tensor_memory_step_done();
    model->parameters().front().second.detach().view(-1)[0].item<float>();  // waits for the device
    const double seconds = seconds_since(start);
    if (i == 0) continue;  // memory and kernels are set up
    report.seconds = std::min(report.seconds, seconds);
    report.mean_seconds += seconds / static_cast<double>(options.steps);
    report.optimizer_seconds = std::min(report.optimizer_seconds, seconds_since(before));
  }
  report.product_rate = measure_product_rate(config, options.tokens, step.compute, device);
  report.peak_bytes = peak_resident_bytes();
  return report;
}

}  // namespace

Result<SpeedReport> measure_speed(const ModelConfig& config, const SpeedOptions& options) {
  if (options.steps == 0 || options.document_tokens == 0 || options.tokens < kQueryTokens)
    return Error{Code::invalid_argument,
                 fmt::format("speed: {} steps of {} tokens with documents of {}; give at least one "
                             "step, {} tokens and documents of one token",
                             options.steps, options.tokens, options.document_tokens, kQueryTokens)};
  set_threads(options.threads);
  keep_tensor_memory();
  MSA_ASSIGN(const torch::Device device, parse_device(options.device));
  try {
    return measure(config, options, device);
  } catch (const std::bad_alloc&) {
    return Error{Code::no_space, "speed: memory is full; measure fewer tokens"};
  } catch (const std::exception& error) {
    return Error{Code::internal,
                 fmt::format("speed: libtorch failed: {}; report this", error.what())};
  }
}

}  // namespace msa::train
