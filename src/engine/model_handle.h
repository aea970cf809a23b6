// What a msa::Model holds.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "kernels/backend.h"
#include "memory/bank.h"
#include "model/encoder.h"
#include "model/weights.h"
#include "msa/msa.h"
#include "text/tokenizer.h"

namespace msa {

struct Model::Impl {
  ModelOptions options;
  Runtime runtime;
  std::shared_ptr<Backend> backend;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::shared_ptr<const Weights> weights;
  std::shared_ptr<const PrefixKv> prefix;
  std::vector<TokenId> end_tokens;  // <|im_end|> and what generation_config.json adds
  uint64_t fingerprint = 0;
  mutable std::mutex busy;  // the backend takes one caller at a time

  const ModelConfig& config() const { return weights->config(); }
  // Whether questions and chunks are compared by cosine, when nothing else is asked for.
  bool cosine() const { return weights->cosine; }
  // What a bank made with this model is bound to.
  BankManifest manifest() const;
  // Fails if a bank with this manifest cannot be read by this model.
  Result<void> check_bank(const BankManifest& bank, const std::filesystem::path& folder) const;
};

}  // namespace msa
