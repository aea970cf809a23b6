#include "memory/bank_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <system_error>
#include <utility>

#include "base/files.h"

namespace msa {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kSegmentEnding = ".seg";

// Whether `file` is still what `fd` has open.
bool is_same_file(int fd, const fs::path& file) {
  struct stat opened, named;
  return ::fstat(fd, &opened) == 0 && ::lstat(file.c_str(), &named) == 0 &&
         opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

}  // namespace

std::string segment_file_name(int64_t id) {
  return fmt::format("{:08}{}", id, kSegmentEnding);
}

std::optional<int64_t> parse_segment_file_name(std::string_view name) {
  int64_t id = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id);
  // Making the name again refuses signs, missing zeros and other endings.
  if (error != std::errc() || id < 1 || segment_file_name(id) != name) return std::nullopt;
  return id;
}

bool is_unfinished_segment(std::string_view name) {
  // AtomicFileWriter's name for a file that is not yet committed.
  const size_t end = name.find(".tmp-");
  return end != std::string_view::npos && parse_segment_file_name(name.substr(0, end)).has_value();
}

bool is_plain_file_name(std::string_view name) {
  constexpr size_t kLongestName = 255;
  return !name.empty() && name.size() <= kLongestName && name != "." && name != ".." &&
         name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

Result<void> check_is_bank(const fs::path& folder) {
  std::error_code failed;
  const fs::file_status status = fs::status(folder, failed);
  if (status.type() == fs::file_type::not_found)
    return Error{Code::not_found,
                 fmt::format("{}: there is no such folder; check the path, or encode documents to "
                             "make a bank",
                             folder.string())};
  if (failed) return system_error("open", folder, failed.value());
  if (status.type() != fs::file_type::directory)
    return Error{Code::invalid_argument,
                 fmt::format("{}: is not a folder; a memory bank is one", folder.string())};
  if (!fs::exists(folder / kCatalogueFile, failed) && !failed)
    return Error{Code::not_found,
                 fmt::format("{}: is not a memory bank (has no {}); check the path, or encode "
                             "documents to make a bank",
                             folder.string(), kCatalogueFile)};
  return check_segment_folder(folder);
}

Result<void> check_segment_folder(const fs::path& folder) {
  std::error_code failed;
  if (fs::is_symlink(fs::symlink_status(folder / kSegmentFolder, failed)))
    return Error{
        Code::invalid_argument,
        fmt::format("{}: is a symbolic link, but a bank lies in its folder; move the whole "
                    "bank, and link to that if need be",
                    (folder / kSegmentFolder).string())};
  return {};
}

fs::path folder_of(const fs::path& file) {
  const fs::path folder = file.parent_path();
  return folder.empty() ? "." : folder;
}

bool cannot_be_written(const fs::path& folder) {
  return ::access(folder.c_str(), W_OK) != 0 && (errno == EACCES || errno == EROFS);
}

uint64_t log_bytes(const fs::path& catalogue) {
  std::error_code failed;
  const uintmax_t bytes = fs::file_size(fs::path(catalogue).concat("-wal"), failed);
  return failed ? 0 : bytes;
}

Result<void> sync_folder(const fs::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return system_error("open", folder, errno);
  int failed = 0;
  while (::fsync(fd) != 0) {
    failed = errno;
    if (failed != EINTR) break;
    failed = 0;
  }
  ::close(fd);
  // Some file systems cannot sync folders, and say so in one of these ways.
  if (failed != 0 && failed != EINVAL && failed != ENOTSUP)
    return system_error("sync", folder, failed);
  return {};
}

Result<void> rename_durably(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0)
    return system_error("give this name to a file", to, errno);
  return sync_folder(folder_of(to));
}

Result<void> remove_file(const fs::path& file) {
  if (::unlink(file.c_str()) != 0 && errno != ENOENT) return system_error("remove", file, errno);
  return {};
}

void discard_segment(const fs::path& file, const Error& failure) {
  if (failure.code != Code::io && failure.code != Code::internal) (void)remove_file(file);
}

Result<std::vector<std::string>> list_names(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code failed;
  for (fs::directory_iterator entry(folder, failed), end; !failed && entry != end;
       entry.increment(failed))
    names.push_back(entry->path().filename().string());
  if (failed && failed != std::errc::no_such_file_or_directory)
    return system_error("list", folder, failed.value());
  std::sort(names.begin(), names.end());
  return names;
}

Result<FolderLock> FolderLock::take(const fs::path& folder) {
  const fs::path file = folder / kLockFile;
  // A file that was removed between its opening and its locking keeps nobody out.
  constexpr int kAttempts = 10;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    int fd;
    do fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    while (fd < 0 && errno == EINTR);
    if (fd < 0) return system_error("open", file, errno);
    FolderLock lock(fd);
    int failed;
    do failed = ::flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
    while (failed == EINTR);
    if (failed == EWOULDBLOCK) break;
    if (failed != 0) return system_error("lock", file, failed);
    if (is_same_file(fd, file)) return lock;
  }
  return Error{Code::busy,
               fmt::format("{}: someone else is writing to this bank (and holds its file '{}'); "
                           "wait for that program to end, or write to another bank",
                           folder.string(), kLockFile)};
}

FolderLock::FolderLock(FolderLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

FolderLock& FolderLock::operator=(FolderLock&& other) noexcept {
  FolderLock taken(std::move(other));
  std::swap(fd_, taken.fd_);
  return *this;
}

FolderLock::~FolderLock() {
  // Closing gives the lock back; the file stays for the next one.
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace msa
