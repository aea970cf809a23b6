// The names in a bank's folder, its lock, and what must be durable there. For memory/,
// approximate/.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "msa/result.h"

namespace msa {

inline constexpr std::string_view kCatalogueFile = "catalogue.sqlite";
inline constexpr std::string_view kSegmentFolder = "segments";
inline constexpr std::string_view kLockFile = "lock";

// "00000017.seg", for 17.
std::string segment_file_name(int64_t id);
// The id that segment_file_name() made `name` of.
std::optional<int64_t> parse_segment_file_name(std::string_view name);
// Whether `name` is that of a segment file that was being written.
bool is_unfinished_segment(std::string_view name);
// Whether `name` means one file of the folder it is looked up in, and nothing above or below.
bool is_plain_file_name(std::string_view name);

// Whether `folder` is a memory bank's; the error says what it is instead.
Result<void> check_is_bank(const std::filesystem::path& folder);
// An error if segments/ is a symbolic link, which would let a bank reach out of its folder.
Result<void> check_segment_folder(const std::filesystem::path& folder);

std::filesystem::path folder_of(const std::filesystem::path& file);
// Whether this process may make no files in `folder`.
bool cannot_be_written(const std::filesystem::path& folder);
// The size of the log beside a catalogue; 0 if there is none.
uint64_t log_bytes(const std::filesystem::path& catalogue);
// Makes the names in `folder` durable.
Result<void> sync_folder(const std::filesystem::path& folder);
// Renames within a folder, and makes the new name durable.
Result<void> rename_durably(const std::filesystem::path& from, const std::filesystem::path& to);
// Removes a file; one that is not there is fine.
Result<void> remove_file(const std::filesystem::path& file);
// Removes the file of a segment whose commit failed, unless the failure leaves open what the disk
// holds: then the next writer, who will know, removes it.
void discard_segment(const std::filesystem::path& file, const Error& failure);
// The names in `folder`, sorted; none if there is no such folder.
Result<std::vector<std::string>> list_names(const std::filesystem::path& folder);

// The right to write to a bank, held while it lives. The kernel takes it back when the process
// ends, however it ends. Who holds it may remove its file, with the bank.
class FolderLock {
 public:
  // `busy` if another process, or this one, holds it.
  static Result<FolderLock> take(const std::filesystem::path& folder);
  FolderLock() = default;
  FolderLock(FolderLock&& other) noexcept;
  FolderLock& operator=(FolderLock&& other) noexcept;
  ~FolderLock();

 private:
  explicit FolderLock(int fd) : fd_(fd) {}
  int fd_ = -1;
};

}  // namespace msa
