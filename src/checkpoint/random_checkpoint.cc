#include <fmt/format.h>

#include <cmath>
#include <string>
#include <system_error>
#include <utility>

#include "base/files.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/config_text.h"
#include "checkpoint/random_tensor.h"

namespace msa {
namespace {

Result<void> write_weights(const std::filesystem::path& file, const ModelConfig& config,
                           DType dtype, uint64_t seed) {
  const std::vector<ExpectedTensor> tensors = expected_tensors(config);
  std::vector<TensorPlan> plan;
  for (const ExpectedTensor& tensor : tensors) plan.push_back({tensor.name, dtype, tensor.shape});
  MSA_ASSIGN(SafetensorsWriter writer, SafetensorsWriter::create(file, std::move(plan)));
  RandomTensorWriter random(writer, seed);
  // Each layer adds to the residual stream twice: this keeps its size independent of their number.
  const float residual = kInitialDeviation / std::sqrt(2 * static_cast<float>(config.layers));
  for (const ExpectedTensor& tensor : tensors) {
    size_t count = 1;  // fits: read_config() bounds every factor
    for (const size_t extent : tensor.shape) count *= extent;
    if (tensor.shape.size() == 1) {
      MSA_TRY(random.constant(dtype, count, 1));  // only norms are vectors
      continue;
    }
    const bool adds_to_residual =
        tensor.name.ends_with(".o_proj.weight") || tensor.name.ends_with(".down_proj.weight");
    MSA_TRY(
        random.normal(dtype, tensor.name, count, adds_to_residual ? residual : kInitialDeviation));
  }
  return writer.commit();
}

Result<void> write_text(const std::filesystem::path& file, std::string_view text) {
  MSA_ASSIGN(AtomicFileWriter writer, AtomicFileWriter::create(file));
  MSA_TRY(writer.write(std::as_bytes(std::span(text.data(), text.size()))));
  return writer.commit();
}

}  // namespace

Result<void> write_random_checkpoint(const std::filesystem::path& folder, const ModelConfig& config,
                                     DType dtype, uint64_t seed) {
  if (dtype != DType::f32 && dtype != DType::bf16)
    return Error{Code::invalid_argument,
                 fmt::format("{}: random weights are written as F32 or BF16, not {}; choose one",
                             folder.string(), name_of(dtype))};
  const std::filesystem::path config_file = folder / "config.json";
  const std::filesystem::path weights_file = folder / "model.safetensors";
  const std::string text = write_config(config, dtype == DType::f32 ? "float32" : "bfloat16");
  // What could not be read back is not written.
  Result<ModelConfig> checked = parse_config(text, config_file);
  if (!checked) return Error{Code::invalid_argument, std::move(checked).error().message};

  MSA_TRY(make_folder(folder));
  for (const std::filesystem::path& file :
       {config_file, weights_file, folder / "model.safetensors.index.json"}) {
    std::error_code error;
    if (std::filesystem::symlink_status(file, error).type() !=
        std::filesystem::file_type::not_found)
      return Error{
          Code::invalid_argument,
          fmt::format("{}: is there already; remove it or choose another folder", file.string())};
  }
  // config.json makes the folder a checkpoint, so it comes last.
  try {
    MSA_TRY(write_weights(weights_file, *checked, dtype, seed));
  } catch (const std::bad_alloc&) {
    return Error{Code::no_space, fmt::format("{}: the memory for writing it is missing; free some "
                                             "memory",
                                             weights_file.string())};
  }
  Result<void> written = write_text(config_file, text);
  if (!written) {
    std::error_code ignored;
    std::filesystem::remove(weights_file, ignored);
  }
  return written;
}

}  // namespace msa
