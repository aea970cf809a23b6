// The safetensors format: tensors in a memory-mapped file, and a writer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/mat_view.h"
#include "msa/result.h"

namespace msa {

// One tensor, looking into a mapped file.
struct TensorView {
  DType dtype = DType::f32;
  std::vector<size_t> shape;         // outermost first; empty for a scalar
  std::span<const std::byte> bytes;  // row-major, little-endian; not necessarily aligned
  size_t count() const;              // elements

  // As a matrix: a 1-d tensor is one row. Shapes of more than two dimensions are a bug (assert).
  ConstAnyMat matrix() const;
};

// One .safetensors file, mapped. Every header field is checked before use: lengths, dtypes, shapes
// (overflow-safe), offsets within the file, no overlap, no gap at the end, no duplicate names.
class SafetensorsFile {
 public:
  static Result<SafetensorsFile> open(const std::filesystem::path& file);

  const std::map<std::string, TensorView, std::less<>>& tensors() const { return tensors_; }
  const std::filesystem::path& path() const { return file_.path(); }
  const MappedFile& mapped() const { return file_; }
  // The tensor, or a `not_found` error that names it and the file.
  Result<TensorView> find(std::string_view name) const;

 private:
  MappedFile file_;
  std::map<std::string, TensorView, std::less<>> tensors_;
};

// A tensor to be written.
struct TensorPlan {
  std::string name;
  DType dtype = DType::f32;
  std::vector<size_t> shape;
};

// Writes a file tensor by tensor, in the order of the plan, without holding it in memory.
class SafetensorsWriter {
 public:
  static Result<SafetensorsWriter> create(const std::filesystem::path& file,
                                          std::vector<TensorPlan> plan);
  SafetensorsWriter(SafetensorsWriter&&) noexcept;
  ~SafetensorsWriter();
  // Appends bytes of the current tensor; a tensor may come in several pieces.
  Result<void> append(std::span<const std::byte> bytes);
  // Fails unless exactly the planned bytes were appended.
  Result<void> commit();

 private:
  struct State;
  explicit SafetensorsWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace msa
