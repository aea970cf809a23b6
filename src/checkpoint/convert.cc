#include "checkpoint/convert.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "base/files.h"
#include "checkpoint/config_text.h"
#include "checkpoint/random_tensor.h"

namespace msa {
namespace {

// Written between two looks at the stop token.
constexpr size_t kPiece = size_t{8} << 20;

std::string_view torch_name(DType dtype) {
  switch (dtype) {
    case DType::f32: return "float32";
    case DType::bf16: return "bfloat16";
    case DType::f16: return "float16";
    case DType::i64: break;  // no weight is of this dtype
  }
  return "int64";
}

// "…self_attn.router_q_proj.0.weight" -> "…self_attn.q_proj.weight"; nothing if the tensor is not
// part of a router.
std::optional<std::string> beside(std::string_view name) {
  constexpr std::string_view kRouter = "self_attn.router_";
  constexpr std::string_view kEnd = ".0.weight";
  const size_t at = name.find(kRouter);
  if (at == std::string_view::npos || !name.ends_with(kEnd)) return std::nullopt;
  const std::string_view projection = name.substr(at + kRouter.size());
  return fmt::format("{}self_attn.{}.weight", name.substr(0, at),
                     projection.substr(0, projection.size() - kEnd.size()));
}

class Converter {
 public:
  Converter(const Checkpoint& source, const Conversion& conversion, SafetensorsWriter& writer,
            uint64_t all_bytes)
      : source_(source),
        conversion_(conversion),
        writer_(writer),
        random_(writer, conversion.seed),
        all_bytes_(all_bytes) {}

  Result<void> write(const ExpectedTensor& tensor) {
    const std::optional<std::string> projection = beside(tensor.name);
    const std::string& from = projection ? *projection : tensor.name;
    const TensorView& view = source_.tensor(from);
    if (projection && !conversion_.copy_router) {
      MSA_TRY(random_.normal(view.dtype, tensor.name, view.count(), kInitialDeviation));
      return advance(view.bytes.size());
    }
    if (!projection) {
      MSA_TRY(source_.check_finite(from));
    }
    for (size_t begin = 0; begin < view.bytes.size(); begin += kPiece) {
      const size_t now = std::min(kPiece, view.bytes.size() - begin);
      MSA_TRY(writer_.append(view.bytes.subspan(begin, now)));
      MSA_TRY(advance(now));
    }
    source_.drop(from);
    return {};
  }

 private:
  Result<void> advance(uint64_t bytes) {
    done_ += bytes;
    if (conversion_.progress) conversion_.progress(done_, all_bytes_);
    if (conversion_.stop.stop_requested())
      return Error{Code::cancelled,
                   fmt::format("{}: stopped after {} of {} bytes, nothing is kept; convert it "
                               "again",
                               source_.folder().string(), done_, all_bytes_)};
    return {};
  }

  const Checkpoint& source_;
  const Conversion& conversion_;
  SafetensorsWriter& writer_;
  RandomTensorWriter random_;
  uint64_t done_ = 0, all_bytes_;
};

Result<void> write_weights(const Checkpoint& source, const std::filesystem::path& file,
                           const ModelConfig& config, const Conversion& conversion) {
  const std::vector<ExpectedTensor> tensors = expected_tensors(config);
  std::vector<TensorPlan> plan;
  uint64_t bytes = 0;  // a router adds less than the files, which are mapped, already have
  for (const ExpectedTensor& tensor : tensors) {
    const TensorView& view = source.tensor(beside(tensor.name).value_or(tensor.name));
    plan.push_back({tensor.name, view.dtype, tensor.shape});
    bytes += view.bytes.size();
  }
  MSA_ASSIGN(SafetensorsWriter writer, SafetensorsWriter::create(file, std::move(plan)));
  Converter converter(source, conversion, writer, bytes);
  for (const ExpectedTensor& tensor : tensors) {
    MSA_TRY(converter.write(tensor));
  }
  return writer.commit();
}

Result<void> write_text(const std::filesystem::path& file, std::string_view text) {
  MSA_ASSIGN(AtomicFileWriter writer, AtomicFileWriter::create(file));
  MSA_TRY(writer.write(std::as_bytes(std::span(text.data(), text.size()))));
  return writer.commit();
}

}  // namespace

Result<void> convert_qwen3(const Checkpoint& source, const std::filesystem::path& folder,
                           const Conversion& conversion) {
  ModelConfig config = source.config();
  config.msa = conversion.msa;
  config.msa.decouple_router = true;
  config.note = conversion.note;
  const std::filesystem::path config_file = folder / "config.json";
  const std::filesystem::path weights_file = folder / "model.safetensors";
  const std::string text = write_config(config, torch_name(source.dtype()));
  // What could not be read back is not written. What came from the source is fine: these are
  // mistakes in what was asked for.
  Result<ModelConfig> checked = parse_config(text, source.folder() / "config.json");
  if (!checked) return Error{Code::invalid_argument, std::move(checked).error().message};

  // config.json makes the folder a checkpoint, so it comes last.
  try {
    MSA_TRY(write_weights(source, weights_file, *checked, conversion));
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
