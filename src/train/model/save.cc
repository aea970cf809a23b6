#include "train/model/save.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>
#include <vector>

#include "base/files.h"
#include "checkpoint/safetensors.h"
#include "text/prompt.h"
#include "text/tokenizer.h"

namespace msa::train {
namespace {

namespace fs = std::filesystem;

constexpr size_t kTokenizerBytes = 256u << 20;

Result<void> write_text(const fs::path& file, std::string_view text) {
  MSA_ASSIGN(AtomicFileWriter writer, AtomicFileWriter::create(file));
  MSA_TRY(writer.write(std::as_bytes(std::span(text.data(), text.size()))));
  return writer.commit();
}

Result<void> write_weights(const fs::path& file, const Parameters& parameters, DType dtype) {
  std::vector<TensorPlan> plan;
  for (const auto& [name, tensor] : parameters.all())
    plan.push_back({name, dtype, {tensor.sizes().begin(), tensor.sizes().end()}});
  MSA_ASSIGN(SafetensorsWriter writer, SafetensorsWriter::create(file, std::move(plan)));
  const auto type = dtype == DType::f32 ? torch::kFloat32 : torch::kBFloat16;
  for (const auto& [name, tensor] : parameters.all()) {
    const torch::Tensor values = tensor.detach().to(torch::kCPU, type).contiguous();
    MSA_TRY(writer.append({static_cast<const std::byte*>(values.data_ptr()), values.nbytes()}));
  }
  return writer.commit();
}

// Also checks that the tokenizer is one that this model can be used with.
Result<std::string> generation_config(const fs::path& tokenizer_file, const ModelConfig& config) {
  MSA_ASSIGN(const auto tokenizer, Tokenizer::load(tokenizer_file));
  MSA_TRY(check_prompt_tokens(*tokenizer));
  if (tokenizer->vocabulary_size() > config.vocabulary)
    return Error{
        Code::mismatch,
        fmt::format("{}: the tokenizer has {} entries, more than the model's vocabulary of "
                    "{}; use the tokenizer that the model was trained with",
                    tokenizer_file.string(), tokenizer->vocabulary_size(), config.vocabulary)};
  return nlohmann::json({{"do_sample", false}, {"eos_token_id", {*tokenizer->find("<|im_end|>")}}})
             .dump(2) +
         "\n";
}

Error rename_error(const fs::path& from, const fs::path& to, int error_number) {
  return system_error(fmt::format("renaming {} to", from.string()), to, error_number);
}

// Puts `made` in the place of `folder`, in one step where there is an older one.
Result<void> put_into_place(const fs::path& made, const fs::path& folder) {
  if (::rename(made.c_str(), folder.c_str()) == 0) return {};  // nothing there, or an empty folder
  if (errno != ENOTEMPTY && errno != EEXIST) return rename_error(made, folder, errno);
  if (::renameat2(AT_FDCWD, made.c_str(), AT_FDCWD, folder.c_str(), RENAME_EXCHANGE) != 0) {
    // A file system that cannot exchange two names: for a moment only the copy beside it is there.
    const fs::path older = folder.string() + ".older";
    if (::rename(folder.c_str(), older.c_str()) != 0) return rename_error(folder, older, errno);
    if (::rename(made.c_str(), folder.c_str()) != 0) return rename_error(made, folder, errno);
    std::error_code ignored;
    fs::remove_all(older, ignored);
    return {};
  }
  std::error_code ignored;
  fs::remove_all(made, ignored);  // by now the older one
  return {};
}

Result<void> write_folder(const fs::path& folder, const fs::path& tokenizer_file,
                          const ModelConfig& config, const Parameters& parameters, DType dtype) {
  MSA_TRY(make_folder(folder));
  MSA_ASSIGN(const std::string tokenizer, read_file(tokenizer_file, kTokenizerBytes));
  MSA_ASSIGN(const std::string generation, generation_config(tokenizer_file, config));
  MSA_TRY(write_text(folder / "tokenizer.json", tokenizer));
  MSA_TRY(write_text(folder / "generation_config.json", generation));
  MSA_TRY(write_weights(folder / "model.safetensors", parameters, dtype));
  return write_text(folder / "config.json",
                    write_config(config, dtype == DType::f32 ? "float32" : "bfloat16"));
}

}  // namespace

Result<void> save_checkpoint(const fs::path& folder, const fs::path& tokenizer_file,
                             const ModelConfig& config, const Parameters& parameters, DType dtype,
                             std::string_view note) {
  if (dtype != DType::f32 && dtype != DType::bf16)
    return Error{Code::invalid_argument,
                 fmt::format("{}: weights are written as F32 or BF16, not {}; choose one",
                             folder.string(), name_of(dtype))};
  for (const auto& [name, tensor] : parameters.all())
    if (!torch::isfinite(tensor).all().item<bool>())
      return Error{
          Code::invalid_argument,
          fmt::format("{}: tensor '{}' is not finite, training has diverged; go on from an "
                      "earlier checkpoint with a lower learning rate",
                      folder.string(), name)};
  ModelConfig noted = config;
  noted.note = note;
  // A trailing slash would put the unfinished folder inside the finished one.
  const fs::path target = folder.has_filename() ? folder : folder.parent_path();
  const fs::path made = target.string() + ".partial";
  std::error_code ignored;
  fs::remove_all(made, ignored);  // of a run that was interrupted
  Result<void> written = write_folder(made, tokenizer_file, noted, parameters, dtype);
  if (written) written = put_into_place(made, target);
  if (!written) fs::remove_all(made, ignored);
  return written;
}

}  // namespace msa::train
