#include "train/loop/state.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <system_error>

#include "base/files.h"
#include "base/hash.h"
#include "checkpoint/safetensors.h"
#include "train/loop/json_section.h"

namespace msa::train {
namespace {

namespace fs = std::filesystem;

constexpr int kVersion = 1;
constexpr size_t kKept = 2;
constexpr size_t kMaxStateBytes = 256u << 20;
constexpr std::string_view kPrefix = "step-";
constexpr std::string_view kUnfinished = "unfinished";
constexpr uint64_t kMost = UINT64_MAX;
constexpr uint64_t kMostNegatives = 1u << 20;

std::string folder_name(uint64_t step) {
  return fmt::format("{}{:09}", kPrefix, step);
}

std::optional<uint64_t> step_of(const fs::path& folder) {
  const std::string name = folder.filename().string();
  if (!name.starts_with(kPrefix)) return std::nullopt;
  uint64_t step = 0;
  const char* const end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + kPrefix.size(), end, step);
  if (error != std::errc() || stop != end) return std::nullopt;
  return step;
}

// Ascending by step.
std::vector<fs::path> checkpoints(const fs::path& folder) {
  std::vector<std::pair<uint64_t, fs::path>> found;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error))
    if (const auto step = step_of(entry->path())) found.emplace_back(*step, entry->path());
  std::sort(found.begin(), found.end());
  std::vector<fs::path> paths;
  for (auto& [step, path] : found) paths.push_back(std::move(path));
  return paths;
}

Result<void> sync_folder(const fs::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return system_error("opening", folder, errno);
  const int failed = ::fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  // Some file systems cannot do this for folders, and then need not.
  if (failed != 0 && failed != EINVAL) return system_error("writing", folder, failed);
  return {};
}

uint64_t checksum_of(std::span<const StateTensor> tensors) {
  Hasher hasher;
  for (const StateTensor& tensor : tensors) {
    hasher.add(tensor.name);
    hasher.add(std::as_bytes(tensor.values));
  }
  return hasher.digest();
}

Result<void> write_tensors(const fs::path& file, std::span<const StateTensor> tensors) {
  std::vector<TensorPlan> plan;
  for (const StateTensor& tensor : tensors) plan.push_back({tensor.name, DType::f32, tensor.shape});
  MSA_ASSIGN(SafetensorsWriter writer, SafetensorsWriter::create(file, std::move(plan)));
  for (const StateTensor& tensor : tensors) MSA_TRY(writer.append(std::as_bytes(tensor.values)));
  return writer.commit();
}

Result<void> write_json(const fs::path& file, const RunState& state, uint64_t checksum) {
  const Json json = {{"version", kVersion},
                     {"step", state.step},
                     {"updates", state.updates},
                     {"tokens", state.tokens},
                     {"phase", state.phase},
                     {"phase_step", state.phase_step},
                     {"phase_tokens", state.phase_tokens},
                     {"negatives", state.negatives},
                     {"skipped", state.skipped},
                     {"skipped_in_a_row", state.skipped_in_a_row},
                     {"samples", state.samples},
                     {"samples_skipped", state.samples_skipped},
                     {"seconds", state.seconds},
                     {"batcher", state.batcher},
                     {"model_config", state.model_config},
                     {"tokenizer", state.tokenizer},
                     {"recipe", state.recipe},
                     {"phase_recipes", state.phase_recipes},
                     {"tensors_checksum", checksum}};
  const std::string text = json.dump(1, ' ', true, Json::error_handler_t::replace) + "\n";
  MSA_ASSIGN(AtomicFileWriter writer, AtomicFileWriter::create(file));
  MSA_TRY(writer.write(std::as_bytes(std::span(text.data(), text.size()))));
  return writer.commit();
}

Result<void> write_checkpoint(const fs::path& folder, const RunState& state,
                              std::span<const StateTensor> tensors) {
  MSA_TRY(make_folder(folder));
  MSA_TRY(write_tensors(folder / "tensors.safetensors", tensors));
  return write_json(folder / "state.json", state, checksum_of(tensors));
}

Result<Json> read_json(const fs::path& file) {
  MSA_ASSIGN(const std::string text, read_file(file, kMaxStateBytes));
  return parse_strict_json(text, file);
}

// What is wrong with a checkpoint, worded so that the reader knows the way out.
Error damaged(const fs::path& checkpoint, std::string_view what) {
  return {Code::corrupt,
          fmt::format("{}: {}; remove this folder to go on from the checkpoint before it",
                      checkpoint.string(), what)};
}

// Counters that are each in range may still contradict each other.
Result<void> check_counters(const RunState& state, const fs::path& checkpoint) {
  if (state.phase_step > state.step || state.phase_tokens > state.tokens)
    return damaged(checkpoint,
                   fmt::format("state.json counts {} steps and {} tokens in its phase, and {} and "
                               "{} in all",
                               state.phase_step, state.phase_tokens, state.step, state.tokens));
  const uint64_t running = state.phase_step > 0 ? 1 : 0;
  const uint64_t begun = state.phase_recipes.size();
  if (begun < running || begun - running != state.phase)
    return damaged(checkpoint,
                   fmt::format("state.json is at step {} of phase {}, counted from 0, and knows {} "
                               "phases that have begun",
                               state.phase_step, state.phase, begun));
  return {};
}

}  // namespace

Result<void> save_state(const fs::path& folder, const RunState& state,
                        std::span<const StateTensor> tensors) {
  const fs::path target = folder / folder_name(state.step);
  std::error_code ignored;
  if (fs::exists(target, ignored)) return {};  // nothing was trained since
  const fs::path made = folder / kUnfinished;
  fs::remove_all(made, ignored);  // of a run that was killed
  Result<void> written = write_checkpoint(made, state, tensors);
  if (written && ::rename(made.c_str(), target.c_str()) != 0)
    written = system_error("renaming to", target, errno);
  if (written) written = sync_folder(folder);
  if (!written) {
    fs::remove_all(made, ignored);
    return written;
  }
  const std::vector<fs::path> all = checkpoints(folder);
  for (size_t i = 0; i + kKept < all.size(); ++i) fs::remove_all(all[i], ignored);
  return {};
}

std::optional<fs::path> newest_state(const fs::path& folder) {
  const std::vector<fs::path> all = checkpoints(folder);
  if (all.empty()) return std::nullopt;
  return all.back();
}

Result<RunState> read_state(const fs::path& checkpoint) {
  const fs::path file = checkpoint / "state.json";
  MSA_ASSIGN(const Json json, read_json(file));
  if (!json.is_object()) return damaged(checkpoint, "state.json holds no object");
  const JsonSection section(file, "", json);
  MSA_ASSIGN(const uint64_t version, section.whole("version", 0, kMost));
  if (version != kVersion)
    return Error{Code::unsupported,
                 fmt::format("{}: is of version {}, this program reads version {}; use the program "
                             "that wrote it",
                             file.string(), version, kVersion)};
  RunState state;
  MSA_ASSIGN(state.step, section.whole("step", 0, kMost));
  MSA_ASSIGN(state.updates, section.whole("updates", 0, kMost));
  MSA_ASSIGN(state.tokens, section.whole("tokens", 0, kMost));
  MSA_ASSIGN(state.phase, section.whole("phase", 0, kMost));
  MSA_ASSIGN(state.phase_step, section.whole("phase_step", 0, kMost));
  MSA_ASSIGN(state.phase_tokens, section.whole("phase_tokens", 0, kMost));
  MSA_ASSIGN(state.skipped, section.whole("skipped", 0, kMost));
  MSA_ASSIGN(state.negatives, section.whole("negatives", 0, kMostNegatives, 0));
  MSA_ASSIGN(state.skipped_in_a_row, section.whole("skipped_in_a_row", 0, kMost));
  MSA_ASSIGN(state.samples, section.whole("samples", 0, kMost, 0));
  MSA_ASSIGN(state.samples_skipped, section.whole("samples_skipped", 0, kMost, 0));
  MSA_ASSIGN(state.seconds, section.real("seconds", 0, 1e15));
  MSA_ASSIGN(state.batcher, section.text("batcher"));
  MSA_ASSIGN(state.model_config, section.text("model_config"));
  MSA_ASSIGN(state.tokenizer, section.whole("tokenizer", 0, kMost));
  MSA_ASSIGN(state.recipe, section.text("recipe"));
  const Json* phases = section.find("phase_recipes");
  if (!phases || !phases->is_array()) return damaged(checkpoint, "state.json has no phases");
  for (const Json& phase : *phases) {
    if (!phase.is_string()) return damaged(checkpoint, "state.json has a phase that is no text");
    state.phase_recipes.push_back(phase.get<std::string>());
  }
  MSA_TRY(check_counters(state, checkpoint));
  return state;
}

Result<void> read_state_tensors(const fs::path& checkpoint, std::span<const StateTensor> tensors) {
  const fs::path file = checkpoint / "state.json";
  MSA_ASSIGN(const Json json, read_json(file));
  MSA_ASSIGN(const uint64_t checksum,
             JsonSection(file, "", json).whole("tensors_checksum", 0, kMost));
  MSA_ASSIGN(const SafetensorsFile stored,
             SafetensorsFile::open(checkpoint / "tensors.safetensors"));
  for (const StateTensor& tensor : tensors) {
    MSA_ASSIGN(const TensorView view, stored.find(tensor.name));
    if (view.dtype != DType::f32 || view.shape != tensor.shape)
      return Error{Code::mismatch,
                   fmt::format("{}: tensor '{}' is of another shape than in this recipe's model; "
                               "use the recipe the run was started with",
                               stored.path().string(), tensor.name)};
    std::memcpy(tensor.values.data(), view.bytes.data(), view.bytes.size());
  }
  if (stored.tensors().size() != tensors.size())
    return Error{Code::mismatch,
                 fmt::format("{}: holds {} tensors, this recipe's model and optimizer have {}; use "
                             "the recipe the run was started with",
                             stored.path().string(), stored.tensors().size(), tensors.size())};
  if (checksum_of(tensors) != checksum)
    return damaged(checkpoint, "the bytes of tensors.safetensors are not those that were written");
  return {};
}

}  // namespace msa::train
