// The Memory Sparse Attention model in libtorch: forward, losses, gradients (paper section 3.3).
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/mat_view.h"
#include "checkpoint/config.h"
#include "msa/result.h"
#include "samples/batch.h"
#include "train/ops/ops.h"

namespace msa::train {

class RouterMemory;

enum class AuxLoss { infonce, infonce_decouple, infonce_focal, infonce_decouple_focal, bce };
// By the names of config.json ("INFONCE_DECOUPLE_FOCAL"); an unknown one names the known ones.
Result<AuxLoss> parse_aux_loss(std::string_view name);
std::string_view name_of(AuxLoss loss);

struct StepOptions {
  double lm_weight = 1, aux_weight = 1;
  AuxLoss aux_loss = AuxLoss::infonce;
  double temperature = 0.1;        // clamped to [0.001, 0.5]
  size_t top_k = 16;               // documents attended to per router layer
  bool include_positives = false;  // relevant documents always among them
  bool cosine = true;              // normalise queries and routing keys
  torch::Dtype compute = torch::kBFloat16;
  bool checkpoint_activations = false;  // recompute each layer in the backward pass
  OpsMode ops = OpsMode::automatic;
  // Keys of earlier steps that the auxiliary loss counts as negatives, but for those of documents
  // that share the subject of a relevant one; the step's own are put in. Not owned; none: null.
  RouterMemory* negatives = nullptr;
};

// lm_loss: the weighted mean cross-entropy over the queries' labels, plus, where documents have
// label weights, the mean over their labelled tokens of weight * cross-entropy; these are many
// more, and in one mean they would drown the others. The losses per kind are plain means; text_*
// counts the documents' tokens too. Of several relevant documents recall@n counts those found, out
// of as many as fit into n. Router recall over queries that have relevant documents, mean over the
// router layers that the auxiliary loss counts; accuracies under teacher forcing, of tokens and of
// whole targets (a step's numbers, an answer).
struct StepMetrics {
  double loss = 0, lm_loss = 0, aux_loss = 0;
  double number_loss = 0, answer_loss = 0, text_loss = 0;
  double number_accuracy = 0, answer_accuracy = 0;  // share of labelled tokens predicted
  double numbers_right = 0, answers_right = 0;      // share of queries all of whose tokens were
  double recall_at_1 = 0, recall_at_5 = 0, recall_at_k = 0;
  int64_t number_tokens = 0, answer_tokens = 0, text_tokens = 0, routed_queries = 0;
  int64_t number_queries = 0, answer_queries = 0;
};

struct StepResult {
  torch::Tensor loss;  // scalar float32 with gradient
  StepMetrics metrics;
};

// Parameters are float32 and named as in a checkpoint ("model.layers.3.self_attn.q_proj.weight").
class Model {
 public:
  // Random weights: normal, standard deviation 1/sqrt(inputs) (residual outputs scaled by
  // 1/sqrt(2L), embeddings that are not the output matrix as well 1), norms one; router_q starts as
  // a copy of router_k repeated per query head of its group.
  static Result<std::unique_ptr<Model>> create(const ModelConfig& config, uint64_t seed);
  // A checkpoint's weights as float32.
  static Result<std::unique_ptr<Model>> load(const std::filesystem::path& folder);

  virtual ~Model() = default;
  virtual const ModelConfig& config() const = 0;
  virtual const std::vector<std::pair<std::string, torch::Tensor>>& parameters() const = 0;
  virtual void to(torch::Device device) = 0;

  // Puts a new layer before each of the layers `places` (ascending; the number of layers: after the
  // last). It routes nothing and changes nothing yet: a copy of the layer below it whose output
  // matrices are zero. The other parameters stay the tensors that they were, under new names.
  // Places that are none, and shapes that are too large, are errors and change nothing.
  virtual Result<void> insert_layers(std::span<const size_t> places) = 0;

  // Lets only `layers` route, ascending and some of those that do. The others lose their routers,
  // and what they attended to in the memory. Others, or none, are errors and change nothing.
  virtual Result<void> keep_routers(std::span<const size_t> layers) = 0;

  // Pools documents in chunks of so many tokens (MsaConfig::chunk_size) from now on; at least 1.
  virtual void pool_by(size_t chunk_size) = 0;

  // Forward and losses of one batch (spec: stage 1 and 2 under teacher forcing).
  virtual Result<StepResult> step(const Batch& batch, const StepOptions& options) = 0;
  // The same, without gradients: logits of every query token [Tq, vocabulary] float32, and per
  // router layer the documents routed to, [Q][<= k], best first, with scores. For comparison with
  // the engine and the golden cases.
  struct Trace {
    torch::Tensor logits;
    struct Layer {
      int layer = 0;
      std::vector<std::vector<int32_t>> documents;  // per query, batch document numbers
      std::vector<std::vector<float>> scores;
    };
    std::vector<Layer> layers;
  };
  virtual Result<Trace> trace(const Batch& batch, const StepOptions& options) = 0;

  // Writes the Hugging Face folder that the engine opens: config.json, model.safetensors,
  // tokenizer.json (copied) and generation_config.json. Written beside `folder` and renamed into
  // place, so that an older one stays whole until the new one is.
  virtual Result<void> save(const std::filesystem::path& folder,
                            const std::filesystem::path& tokenizer_file, DType dtype,
                            std::string_view note) const = 0;
};

}  // namespace msa::train
