// A folder for work that is nobody's afterwards.
#pragma once

#include <filesystem>
#include <string_view>

#include "msa/result.h"

namespace msa::eval {

// A new folder in the system's place for temporary files (TMPDIR), removed with all that is in it.
class ScratchFolder {
 public:
  static Result<ScratchFolder> create();
  ScratchFolder(ScratchFolder&& other) noexcept;
  ScratchFolder& operator=(ScratchFolder&& other) noexcept;
  ~ScratchFolder();

  const std::filesystem::path& path() const { return path_; }

 private:
  explicit ScratchFolder(std::filesystem::path path) : path_(std::move(path)) {}
  void remove();

  std::filesystem::path path_;  // empty: nothing to remove
};

}  // namespace msa::eval
