#include <fmt/format.h>

#include <cassert>
#include <cstring>
#include <optional>
#include <set>
#include <utility>

#include "base/checked.h"
#include "checkpoint/json_file.h"
#include "checkpoint/safetensors.h"

namespace msa {
namespace {

constexpr std::string_view kMetadata = "__metadata__";
// Readers that map the file then find the first tensor on a cache line.
constexpr size_t kDataAlignment = 64;

Error bad_plan(const std::filesystem::path& file, std::string_view name, std::string_view what) {
  return {Code::invalid_argument, fmt::format("{}: tensor '{}' {}; correct the plan", file.string(),
                                              printable(name), what)};
}

}  // namespace

struct SafetensorsWriter::State {
  struct Piece {
    std::string name;
    uint64_t bytes = 0;
  };

  std::filesystem::path path;
  AtomicFileWriter writer;
  std::vector<Piece> pieces;  // in file order; those without bytes are never waited for
  size_t current = 0;         // index into pieces
  uint64_t done = 0;          // bytes of the current one already appended
  std::optional<Error> failure;

  void skip_finished() {
    while (current < pieces.size() && done == pieces[current].bytes) {
      ++current;
      done = 0;
    }
  }
  Error fail(Error error) {
    failure = error;
    return error;
  }
};

SafetensorsWriter::SafetensorsWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
SafetensorsWriter::SafetensorsWriter(SafetensorsWriter&&) noexcept = default;
SafetensorsWriter::~SafetensorsWriter() = default;

Result<SafetensorsWriter> SafetensorsWriter::create(const std::filesystem::path& file,
                                                    std::vector<TensorPlan> plan) {
  nlohmann::ordered_json header;
  // Without it, the Python libraries refuse the file as of an unknown framework.
  header[std::string(kMetadata)] = {{"format", "pt"}};
  std::vector<State::Piece> pieces;
  std::set<std::string_view> names;
  uint64_t end = 0;
  for (const TensorPlan& tensor : plan) {
    if (tensor.name.empty() || tensor.name == kMetadata)
      return bad_plan(file, tensor.name, "has a name that the format does not allow");
    if (!names.insert(tensor.name).second) return bad_plan(file, tensor.name, "is planned twice");
    std::optional<uint64_t> bytes = size_of(tensor.dtype);
    for (const size_t extent : tensor.shape)
      if (bytes) bytes = checked_mul<uint64_t>(*bytes, extent);
    const std::optional<uint64_t> next = bytes ? checked_add(end, *bytes) : std::nullopt;
    if (!next) return bad_plan(file, tensor.name, "is too large for the file");
    header[tensor.name] = {
        {"dtype", name_of(tensor.dtype)}, {"shape", tensor.shape}, {"data_offsets", {end, *next}}};
    pieces.push_back({tensor.name, *bytes});
    end = *next;
  }
  std::string text = header.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  const size_t over = (sizeof(uint64_t) + text.size()) % kDataAlignment;
  if (over != 0) text.append(kDataAlignment - over, ' ');

  MSA_ASSIGN(AtomicFileWriter writer, AtomicFileWriter::create(file));
  const uint64_t length = text.size();
  MSA_TRY(writer.write(std::as_bytes(std::span(&length, 1))));
  MSA_TRY(writer.write(std::as_bytes(std::span(text))));
  auto state = std::make_unique<State>(
      State{file, std::move(writer), std::move(pieces), 0, 0, std::nullopt});
  state->skip_finished();
  return SafetensorsWriter(std::move(state));
}

Result<void> SafetensorsWriter::append(std::span<const std::byte> bytes) {
  assert(state_ && "used after it was moved from");
  State& state = *state_;
  if (state.failure) return *state.failure;
  if (bytes.empty()) return {};
  if (state.current == state.pieces.size())
    return state.fail({Code::invalid_argument,
                       fmt::format("{}: {} bytes more than planned are written; correct the plan",
                                   state.path.string(), bytes.size())});
  const State::Piece& piece = state.pieces[state.current];
  if (bytes.size() > piece.bytes - state.done)
    return state.fail(bad_plan(state.path, piece.name,
                               fmt::format("was planned with {} bytes and is given {}", piece.bytes,
                                           state.done + bytes.size())));
  if (auto written = state.writer.write(bytes); !written)
    return state.fail(std::move(written).error());
  state.done += bytes.size();
  state.skip_finished();
  return {};
}

Result<void> SafetensorsWriter::commit() {
  assert(state_ && "used after it was moved from");
  State& state = *state_;
  if (state.failure) return *state.failure;
  if (state.current < state.pieces.size())
    return state.fail(bad_plan(state.path, state.pieces[state.current].name,
                               fmt::format("was planned with {} bytes and is given only {}",
                                           state.pieces[state.current].bytes, state.done)));
  return state.writer.commit();
}

}  // namespace msa
