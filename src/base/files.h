// Files, with errors that name the path: mapped for reading, written so that a reader never sees
// half of one.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "msa/result.h"

namespace msa {

// An Error for a failed system call on `path`: errno's text, a Code to match, and a remedy where
// there is a usual one (disk full, no permission, too many files).
Error system_error(std::string_view doing, const std::filesystem::path& path, int error_number);

// A read-only memory mapping of a whole file; move-only, unmapped once.
class MappedFile {
 public:
  enum class Links { follow, refuse };
  // Links::refuse: a path whose last name is a symbolic link is an invalid_argument error.
  static Result<MappedFile> open(const std::filesystem::path& path, Links links = Links::follow);

  MappedFile() = default;
  MappedFile(MappedFile&&) noexcept;
  MappedFile& operator=(MappedFile&&) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }  // valid while *this lives
  const std::filesystem::path& path() const { return path_; }

  // Tells the kernel that [offset, offset + length) will not be read again soon, so that its pages
  // stop counting as resident memory. The bytes stay readable.
  void drop(size_t offset, size_t length) const;

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  std::filesystem::path path_;
};

// The whole of a small file (at most `limit` bytes, else an error).
Result<std::string> read_file(const std::filesystem::path& path, size_t limit);

// Writes a file beside its final name and renames it into place on commit(), after fsync of file
// and folder. Destroyed without commit, it removes what it wrote.
class AtomicFileWriter {
 public:
  static Result<AtomicFileWriter> create(const std::filesystem::path& path);
  AtomicFileWriter(AtomicFileWriter&&) noexcept;
  AtomicFileWriter& operator=(AtomicFileWriter&&) noexcept;
  ~AtomicFileWriter();

  Result<void> write(std::span<const std::byte> bytes);                      // appends
  Result<void> write_at(uint64_t offset, std::span<const std::byte> bytes);  // overwrites
  Result<void> pad_to(size_t alignment);  // appends zeros up to a multiple
  uint64_t size() const;                  // bytes appended so far
  Result<void> commit();

 private:
  struct State;
  explicit AtomicFileWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Creates the folder and its parents.
Result<void> make_folder(const std::filesystem::path& path);

}  // namespace msa
