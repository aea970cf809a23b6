// What planning needs to know of a model, which its config.json says.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "msa/result.h"

namespace msa::plan {

struct PlanModel {
  std::string name;  // as it was asked for, or of the built-in shape
  uint64_t layers = 0, router_layers = 0;
  uint64_t query_heads = 0, kv_heads = 0, head_dim = 0;
  uint64_t chunk_size = 0;  // P, tokens per chunk
  uint64_t top_k = 0;       // documents attended to per router layer
  bool folds = true;        // heads are reduced by mean: routing is one product per key/value head
  uint64_t parameters = 0;  // all of them, embeddings once if tied
  uint64_t layer_parameters = 0;  // those that every token is multiplied with while it is encoded

  uint64_t kv_width() const { return kv_heads * head_dim; }  // G*D
};

// Names of the shapes that need no folder: "msa-4b", the published one (arXiv 2603.23516).
std::vector<std::string> built_in_models();

// `model` is a checkpoint's folder, of which config.json alone is read, or a config.json, or a
// built-in name (in either case). A folder of that name comes first.
Result<PlanModel> read_plan_model(const std::string& model);

}  // namespace msa::plan
