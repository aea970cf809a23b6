#include "train/loop/export.h"

#include <fmt/format.h>

#include <memory>
#include <optional>
#include <utility>

#include "checkpoint/config_text.h"
#include "text/tokenizer.h"
#include "train/loop/snapshot.h"
#include "train/loop/state.h"
#include "train/model/model.h"

namespace msa::train {

Result<void> export_checkpoint(const std::filesystem::path& checkpoint,
                               const std::filesystem::path& tokenizer_file,
                               const std::filesystem::path& folder, DType dtype) {
  MSA_ASSIGN(const RunState state, read_state(checkpoint));
  MSA_ASSIGN(const auto tokenizer, Tokenizer::load(tokenizer_file));
  if (tokenizer->fingerprint() != state.tokenizer)
    return Error{Code::mismatch,
                 fmt::format("{}: is not the tokenizer that {} was trained with; pass that one",
                             tokenizer_file.string(), checkpoint.string())};
  MSA_ASSIGN(const ModelConfig config, parse_config(state.model_config, checkpoint / "state.json"));
  MSA_ASSIGN(const std::unique_ptr<Model> model, Model::create(config, /*seed=*/0));
  const Optimizer optimizer(model->parameters(), {});
  std::optional<RouterMemory> negatives;
  if (state.negatives > 0) negatives.emplace(config, state.negatives, torch::kCPU);
  const Snapshot snapshot(optimizer, negatives ? &*negatives : nullptr);
  MSA_TRY(read_state_tensors(checkpoint, snapshot.tensors()));
  snapshot.put_back();
  return model->save(
      folder, tokenizer_file, dtype,
      fmt::format("trained by msa-train: {} steps, {} tokens", state.step, state.tokens));
}

}  // namespace msa::train
