#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <string>
#include <system_error>
#include <utility>

#include "base/aligned_buffer.h"
#include "base/files.h"
#include "base/hash.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/config_text.h"
#include "checkpoint/normal_stream.h"

namespace msa {
namespace {

constexpr float kDeviation = 0.02f;
constexpr size_t kBlock = 16384;  // numbers of one random stream
constexpr size_t kBatch = 128;    // blocks between two writes: 8 MiB of float32

// Writes tensors of one dtype; holds one batch of them.
class RandomWriter {
 public:
  RandomWriter(SafetensorsWriter& writer, DType dtype, uint64_t seed)
      : writer_(writer), dtype_(dtype), seed_(seed), batch_(kBatch * kBlock * size_of(dtype)) {}

  // `count` times the same value.
  Result<void> constant(size_t count, float value) {
    return batches(count,
                   [&](size_t, std::span<float> out) { std::fill(out.begin(), out.end(), value); });
  }

  // Numbers that depend on the tensor's name, the seed and their place, not on the threads.
  Result<void> normal(std::string_view name, size_t count, float deviation) {
    const uint64_t stream = hash64(name) ^ seed_ * 0x9e3779b97f4a7c15u;
    return batches(count, [&](size_t block, std::span<float> out) {
      fill_normal(stream, block, out);
      for (float& value : out) value *= deviation;
    });
  }

 private:
  template <class Fill>
  Result<void> batches(size_t count, const Fill& fill) {
    for (size_t begin = 0; begin < count; begin += kBatch * kBlock) {
      const size_t now = std::min(kBatch * kBlock, count - begin);
      const size_t blocks = (now + kBlock - 1) / kBlock;
#pragma omp parallel for schedule(dynamic)
      for (size_t b = 0; b < blocks; ++b) {
        std::array<float, kBlock> values;
        const std::span<float> out(values.data(), std::min(kBlock, now - b * kBlock));
        fill(begin / kBlock + b, out);
        store(b * kBlock, out);
      }
      MSA_TRY(writer_.append(batch_.span().first(now * size_of(dtype_))));
    }
    return {};
  }

  void store(size_t first, std::span<const float> values) {
    std::byte* to = batch_.data() + first * size_of(dtype_);
    if (dtype_ == DType::f32) {
      std::memcpy(to, values.data(), values.size_bytes());
      return;
    }
    auto* numbers = reinterpret_cast<bf16*>(to);
    for (size_t i = 0; i < values.size(); ++i) numbers[i] = bf16::from_float(values[i]);
  }

  SafetensorsWriter& writer_;
  DType dtype_;
  uint64_t seed_;
  AlignedBuffer<std::byte> batch_;
};

Result<void> write_weights(const std::filesystem::path& file, const ModelConfig& config,
                           DType dtype, uint64_t seed) {
  const std::vector<ExpectedTensor> tensors = expected_tensors(config);
  std::vector<TensorPlan> plan;
  for (const ExpectedTensor& tensor : tensors) plan.push_back({tensor.name, dtype, tensor.shape});
  MSA_ASSIGN(SafetensorsWriter writer, SafetensorsWriter::create(file, std::move(plan)));
  RandomWriter random(writer, dtype, seed);
  // Each layer adds to the residual stream twice: this keeps its size independent of their number.
  const float residual = kDeviation / std::sqrt(2 * static_cast<float>(config.layers));
  for (const ExpectedTensor& tensor : tensors) {
    size_t count = 1;  // fits: read_config() bounds every factor
    for (const size_t extent : tensor.shape) count *= extent;
    if (tensor.shape.size() == 1) {
      MSA_TRY(random.constant(count, 1));  // only norms are vectors
      continue;
    }
    const bool adds_to_residual =
        tensor.name.ends_with(".o_proj.weight") || tensor.name.ends_with(".down_proj.weight");
    MSA_TRY(random.normal(tensor.name, count, adds_to_residual ? residual : kDeviation));
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
