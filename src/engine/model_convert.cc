// Plain Qwen3 checkpoints as models with a router.

#include <fmt/format.h>

#include <memory>
#include <numeric>
#include <utility>

#include "base/files.h"
#include "base/new_folder.h"
#include "checkpoint/convert.h"
#include "engine/guard.h"
#include "msa/msa.h"
#include "text/prompt.h"
#include "text/tokenizer.h"

namespace msa {
namespace {

constexpr size_t kMostCopied = 256u << 20;  // bytes of a file that is copied as it is

Result<void> copy_whole(const std::filesystem::path& from, const std::filesystem::path& to) {
  MSA_ASSIGN(const std::string bytes, read_file(from, kMostCopied));
  MSA_ASSIGN(AtomicFileWriter copy, AtomicFileWriter::create(to));
  MSA_TRY(copy.write(std::as_bytes(std::span(bytes))));
  return copy.commit();
}

// What could make the converted model useless, found before anything is written.
Result<void> check_texts(const Checkpoint& source) {
  const std::filesystem::path file = source.folder() / "tokenizer.json";
  MSA_ASSIGN(const std::shared_ptr<const Tokenizer> tokenizer, Tokenizer::load(file));
  MSA_TRY(check_prompt_tokens(*tokenizer));
  if (tokenizer->vocabulary_size() > source.config().vocabulary)
    return Error{
        Code::mismatch,
        fmt::format("{}: has {} entries, more than the vocabulary of {} in config.json; "
                    "use the tokenizer.json that belongs to the model",
                    file.string(), tokenizer->vocabulary_size(), source.config().vocabulary)};
  if (auto generation = read_generation_config(source.folder()); !generation)
    return std::move(generation).error();
  return {};
}

Conversion conversion_of(const ConvertOptions& options, const Checkpoint& source) {
  Conversion made;
  made.msa.router_layers = options.router_layers;
  made.msa.top_k = options.top_k;
  made.msa.chunk_size = options.chunk_size;
  if (options.router_layers.empty()) {
    const size_t layers = source.config().layers;
    made.msa.router_layers.resize(layers - layers / 2);
    std::iota(made.msa.router_layers.begin(), made.msa.router_layers.end(),
              static_cast<int>(layers / 2));
  }
  made.copy_router = options.router == RouterStart::copy;
  made.seed = options.seed;
  made.note = made.copy_router
                  ? "converted from Qwen3; the router, a copy of q_proj and k_proj, is not trained"
                  : fmt::format(
                        "converted from Qwen3; the router, random numbers (seed {}), is not "
                        "trained",
                        options.seed);
  return made;
}

Result<void> write_converted(const std::filesystem::path& source,
                             const std::filesystem::path& folder, const ConvertOptions& options,
                             std::function<void(uint64_t, uint64_t)> progress,
                             std::stop_token stop) {
  MSA_ASSIGN(const Checkpoint qwen, Checkpoint::open_qwen3(source));
  MSA_TRY(check_texts(qwen));
  Conversion conversion = conversion_of(options, qwen);
  conversion.progress = std::move(progress);
  conversion.stop = std::move(stop);
  MSA_ASSIGN(NewFolder made, NewFolder::create(folder));
  const std::filesystem::path& working = made.working_path();
  MSA_TRY(copy_whole(source / "tokenizer.json", working / "tokenizer.json"));
  const std::filesystem::path generation = source / "generation_config.json";
  std::error_code ignored;
  if (std::filesystem::exists(generation, ignored)) {
    MSA_TRY(copy_whole(generation, working / "generation_config.json"));
  }
  MSA_TRY(convert_qwen3(qwen, working, conversion));
  return made.commit();
}

}  // namespace

Result<void> convert_model(const std::filesystem::path& source, const std::filesystem::path& folder,
                           const ConvertOptions& options,
                           std::function<void(uint64_t, uint64_t)> progress, std::stop_token stop) {
  return guarded("converting the model", [&] {
    return write_converted(source, folder, options, std::move(progress), std::move(stop));
  });
}

}  // namespace msa
