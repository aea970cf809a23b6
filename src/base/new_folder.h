// A folder that is there whole or not at all.
#pragma once

#include <filesystem>

#include "msa/result.h"

namespace msa {

// Made beside its final name and renamed into place on commit(). Destroyed without commit, it is
// removed with all that is in it; after a crash it stays, under a name that ends in ".partial-<n>".
class NewFolder {
 public:
  // Makes the folder, and its parents if need be. Anything that has the final name already, be it
  // an empty folder, is `invalid_argument`.
  static Result<NewFolder> create(const std::filesystem::path& path);
  NewFolder(NewFolder&& other) noexcept;
  NewFolder& operator=(NewFolder&& other) noexcept;
  ~NewFolder();

  // Where files go until then.
  const std::filesystem::path& working_path() const { return working_; }
  // Renames and syncs the parent. Files in it are the caller's to sync. May be called once.
  Result<void> commit();

 private:
  NewFolder(std::filesystem::path final_path, std::filesystem::path working)
      : final_(std::move(final_path)), working_(std::move(working)) {}
  void remove();

  std::filesystem::path final_, working_;  // working_ is empty when there is nothing to remove
};

}  // namespace msa
