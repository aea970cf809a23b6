// A checkpoint folder: config, and every tensor the config calls for, checked.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/config.h"
#include "checkpoint/safetensors.h"
#include "msa/result.h"

namespace msa {

// A tensor's name and the shape the config gives it.
struct ExpectedTensor {
  std::string name;
  std::vector<size_t> shape;
};
// All tensors of a model of this shape, in file order: embeddings, layers, final norm, head.
std::vector<ExpectedTensor> expected_tensors(const ModelConfig& config);

// Tensors stay mapped while this lives. Immutable.
class Checkpoint {
 public:
  // Opens `folder` and checks that its tensors are exactly those of the config (a `temperature`
  // scalar in any module is passed over: it matters in training only; lm_head.weight may be there
  // though embeddings are tied, and is then not used), with the right shapes and of dtype F32, F16
  // or BF16. Errors name file and tensor. Does not read the values: check_finite() does.
  static Result<Checkpoint> open(const std::filesystem::path& folder);
  // The same of a plain Qwen3 model (read_qwen3_config()), which has no router.
  static Result<Checkpoint> open_qwen3(const std::filesystem::path& folder);

  const std::filesystem::path& folder() const { return folder_; }
  const ModelConfig& config() const { return config_; }
  // The named tensor; asking for one that expected_tensors() does not list is a bug (assert).
  const TensorView& tensor(std::string_view name) const;
  DType dtype() const { return dtype_; }  // of the embedding table
  uint64_t parameters() const;
  // Identity, not integrity: over the configuration that changes results, and each tensor's name,
  // dtype, shape and sixteen evenly spaced 4 KiB blocks of its bytes.
  uint64_t fingerprint() const;
  // An error that names file, tensor and first index if the tensor holds a NaN or an infinity.
  Result<void> check_finite(std::string_view name) const;
  // Lets the kernel take the tensor's pages back (they can be read again).
  void drop(std::string_view name) const;

 private:
  using ReadConfig = Result<ModelConfig> (*)(const std::filesystem::path&);
  static Result<Checkpoint> open_as(const std::filesystem::path& folder, ReadConfig read);

  std::filesystem::path folder_;
  ModelConfig config_;
  std::vector<SafetensorsFile> files_;
  struct Entry {
    TensorView view;
    size_t file = 0;  // index into files_
  };
  std::map<std::string, Entry, std::less<>> tensors_;
  DType dtype_ = DType::f32;
};

// Writes a checkpoint of `config` with random weights into `folder` (made if need be; one that
// holds a config.json already is refused). Normal(0, 0.02); o_proj and down_proj further scaled by
// 1/sqrt(2L); norms are ones. `dtype` F32 or BF16. The same seed gives the same bytes.
Result<void> write_random_checkpoint(const std::filesystem::path& folder, const ModelConfig& config,
                                     DType dtype, uint64_t seed);

}  // namespace msa
