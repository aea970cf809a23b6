#include "crash/file_faults.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string_view>

namespace msa::crash {
namespace {

struct Watch {
  bool on = false;
  std::string folder;
  Fault fault;
  Counters* counters = nullptr;
  std::vector<Change>* journal = nullptr;
  bool full = false;  // the disk, from the fault's change on
};
Watch watching;

// The path relative to the watched folder, if it is below it.
std::optional<std::string> below(std::string_view path) {
  const std::string& root = watching.folder;
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  if (!path.starts_with(root)) return std::nullopt;
  path.remove_prefix(root.size());
  if (path.empty()) return std::string();
  if (path.front() != '/') return std::nullopt;
  return std::string(path.substr(1));
}

std::optional<std::string> below(int folder, const char* path) {
  if (!watching.on || path == nullptr) return std::nullopt;
  if (path[0] == '/') return below(path);
  char start[PATH_MAX];
  const std::string link =
      folder == AT_FDCWD ? "/proc/self/cwd" : fmt::format("/proc/self/fd/{}", folder);
  const ssize_t length = ::readlink(link.c_str(), start, sizeof(start));
  if (length <= 0) return std::nullopt;
  return below(fmt::format("{}/{}", std::string_view(start, static_cast<size_t>(length)), path));
}

std::optional<std::string> below(int fd) {
  if (!watching.on) return std::nullopt;
  char target[PATH_MAX];
  const ssize_t length =
      ::readlink(fmt::format("/proc/self/fd/{}", fd).c_str(), target, sizeof(target));
  if (length <= 0) return std::nullopt;
  const std::string_view path(target, static_cast<size_t>(length));
  // A file without a name is gone with the process: what is written to it does not matter.
  if (path.ends_with(" (deleted)")) return std::nullopt;
  return below(path);
}

void die() {
  ::kill(::getpid(), SIGKILL);
  for (;;) ::pause();
}

bool needs_room(Change::Kind kind) {
  switch (kind) {
    case Change::Kind::create_file:
    case Change::Kind::create_folder:
    case Change::Kind::write:
    case Change::Kind::truncate:
    case Change::Kind::rename:
    case Change::Kind::link: return true;
    default: return false;
  }
}

// Counts a change that is about to be made and decides what becomes of it.
enum class Verdict { go_on, half, half_then_die, fail };
Verdict judge(Change::Kind kind, size_t bytes) {
  const uint64_t count = ++watching.counters->changes;
  const bool due = count == watching.fault.at;
  const bool divisible = kind == Change::Kind::write && bytes > 1;
  switch (watching.fault.kind) {
    case Fault::Kind::none: break;
    case Fault::Kind::kill_before:
      if (due) die();
      break;
    case Fault::Kind::kill_within:
      if (due && divisible) return Verdict::half_then_die;
      if (due) die();
      break;
    case Fault::Kind::error:
      if (due) {
        errno = EIO;
        return Verdict::fail;
      }
      break;
    case Fault::Kind::disk_full:
      if (due) {
        watching.full = true;
        if (divisible) return Verdict::half;
      }
      if (watching.full && needs_room(kind)) {
        errno = ENOSPC;
        return Verdict::fail;
      }
      break;
  }
  return Verdict::go_on;
}

void record(Change change) {
  if (watching.journal != nullptr) watching.journal->push_back(std::move(change));
}

// A call that either happens or not.
template <class Call>
auto whole(Change change, Call call) -> decltype(call()) {
  if (judge(change.kind, 0) == Verdict::fail) return -1;
  const auto result = call();
  if (result >= 0) record(std::move(change));
  return result;
}

// `put(n)` writes the first n bytes.
template <class Put>
ssize_t write_watched(std::string path, uint64_t offset, const void* bytes, size_t size, Put put) {
  const Verdict verdict = judge(Change::Kind::write, size);
  if (verdict == Verdict::fail) return -1;
  const size_t wanted = verdict == Verdict::go_on ? size : size / 2;
  const ssize_t done = put(wanted);
  if (verdict == Verdict::half_then_die) die();
  if (done > 0)
    record({Change::Kind::write,
            std::move(path),
            {},
            offset,
            std::string(static_cast<const char*>(bytes), static_cast<size_t>(done))});
  return done;
}

int open_watched(int folder, const char* path, int flags, mode_t mode) {
  const auto call = [&] {
    return static_cast<int>(::syscall(SYS_openat, folder, path, flags, mode));
  };
  if ((flags & O_TMPFILE) == O_TMPFILE && watching.full && below(folder, path)) {
    errno = ENOSPC;  // changes no name, but needs room
    return -1;
  }
  if ((flags & (O_CREAT | O_TRUNC)) == 0) return call();
  const auto name = below(folder, path);
  if (!name) return call();
  if ((flags & O_TRUNC) != 0) {
    // Nothing does; it would have to be modelled.
    std::fprintf(stderr, "file_faults: '%s' is truncated on opening\n", path);
    std::abort();
  }
  if (::syscall(SYS_faccessat, folder, path, F_OK) == 0) return call();
  return whole({Change::Kind::create_file, *name, {}, 0, {}}, call);
}

int remove_watched(int folder, const char* path, int flags) {
  const auto call = [&] { return static_cast<int>(::syscall(SYS_unlinkat, folder, path, flags)); };
  const auto name = below(folder, path);
  // One that is not there changes nothing.
  if (!name || ::syscall(SYS_faccessat, folder, path, F_OK) != 0) return call();
  return whole({Change::Kind::remove, *name, {}, 0, {}}, call);
}

int make_folder_watched(int folder, const char* path, mode_t mode) {
  const auto call = [&] { return static_cast<int>(::syscall(SYS_mkdirat, folder, path, mode)); };
  const auto name = below(folder, path);
  if (!name || ::syscall(SYS_faccessat, folder, path, F_OK) == 0) return call();
  return whole({Change::Kind::create_folder, *name, {}, 0, {}}, call);
}

int rename_watched(int from_folder, const char* from, int to_folder, const char* to,
                   unsigned flags) {
  const auto call = [&] {
    return static_cast<int>(::syscall(SYS_renameat2, from_folder, from, to_folder, to, flags));
  };
  const auto old_name = below(from_folder, from), new_name = below(to_folder, to);
  if (!old_name && !new_name) return call();
  if (!old_name || !new_name) {
    std::fprintf(stderr, "file_faults: '%s' comes from or leaves the watched folder\n", from);
    std::abort();
  }
  return whole({Change::Kind::rename, *old_name, *new_name, 0, {}}, call);
}

int link_watched(int from_folder, const char* from, int to_folder, const char* to, int flags) {
  const auto call = [&] {
    return static_cast<int>(::syscall(SYS_linkat, from_folder, from, to_folder, to, flags));
  };
  const auto old_name = below(from_folder, from), new_name = below(to_folder, to);
  if (!old_name || !new_name) return call();
  return whole({Change::Kind::link, *old_name, *new_name, 0, {}}, call);
}

int sync_watched(int fd, long number) {
  const auto call = [&] { return static_cast<int>(::syscall(number, fd)); };
  auto name = below(fd);
  if (!name) return call();
  return whole({Change::Kind::sync, std::move(*name), {}, 0, {}}, call);
}

int truncate_watched(int fd, off_t size) {
  const auto call = [&] { return static_cast<int>(::syscall(SYS_ftruncate, fd, size)); };
  auto name = below(fd);
  if (!name) return call();
  return whole({Change::Kind::truncate, std::move(*name), {}, static_cast<uint64_t>(size), {}},
               call);
}

ssize_t pwrite_watched(int fd, const void* bytes, size_t size, off_t offset) {
  const auto put = [&](size_t n) { return ::syscall(SYS_pwrite64, fd, bytes, n, offset); };
  auto name = below(fd);
  if (!name) return put(size);
  return write_watched(std::move(*name), static_cast<uint64_t>(offset), bytes, size, put);
}

mode_t mode_argument(int flags, va_list arguments) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

}  // namespace

const char* name_of(Change::Kind kind) {
  switch (kind) {
    case Change::Kind::create_file: return "create";
    case Change::Kind::create_folder: return "mkdir";
    case Change::Kind::write: return "write";
    case Change::Kind::truncate: return "truncate";
    case Change::Kind::sync: return "sync";
    case Change::Kind::rename: return "rename";
    case Change::Kind::link: return "link";
    case Change::Kind::remove: return "remove";
    case Change::Kind::acknowledge: return "acknowledge";
  }
  return "?";
}

std::string describe(const Change& change) {
  std::string text = fmt::format("{} {}", name_of(change.kind), change.path);
  if (!change.to.empty()) text += " to " + change.to;
  if (change.kind == Change::Kind::write)
    text += fmt::format(" ({} bytes at {})", change.bytes.size(), change.offset);
  if (change.kind == Change::Kind::truncate) text += fmt::format(" (to {})", change.offset);
  return text;
}

void watch(const std::filesystem::path& folder, const Fault& fault, Counters& counters,
           std::vector<Change>* journal) {
  watching = {true, folder.string(), fault, &counters, journal, false};
}

void lift_fault() {
  watching.fault = {};
  watching.full = false;
}

void stop_watching() {
  watching = {};
}

void acknowledge() {
  if (!watching.on) return;
  ++watching.counters->acknowledged;
  record({Change::Kind::acknowledge, {}, {}, 0, {}});
}

}  // namespace msa::crash

// The C library's functions. The build hides symbols; other libraries have to see these.
#pragma GCC visibility push(default)
extern "C" {

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = msa::crash::mode_argument(flags, arguments);
  va_end(arguments);
  return msa::crash::open_watched(AT_FDCWD, path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = msa::crash::mode_argument(flags, arguments);
  va_end(arguments);
  return msa::crash::open_watched(AT_FDCWD, path, flags, mode);
}
int openat(int folder, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = msa::crash::mode_argument(flags, arguments);
  va_end(arguments);
  return msa::crash::open_watched(folder, path, flags, mode);
}
int openat64(int folder, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = msa::crash::mode_argument(flags, arguments);
  va_end(arguments);
  return msa::crash::open_watched(folder, path, flags, mode);
}

ssize_t write(int fd, const void* bytes, size_t size) {
  const auto put = [&](size_t n) { return ::syscall(SYS_write, fd, bytes, n); };
  auto name = msa::crash::below(fd);
  if (!name) return put(size);
  // Where it goes is where the descriptor stands.
  const off_t at = ::lseek(fd, 0, SEEK_CUR);
  return msa::crash::write_watched(std::move(*name), at < 0 ? 0 : static_cast<uint64_t>(at), bytes,
                                   size, put);
}
ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset) {
  return msa::crash::pwrite_watched(fd, bytes, size, offset);
}
ssize_t pwrite64(int fd, const void* bytes, size_t size, off64_t offset) {
  return msa::crash::pwrite_watched(fd, bytes, size, offset);
}

int fsync(int fd) {
  return msa::crash::sync_watched(fd, SYS_fsync);
}
int fdatasync(int fd) {
  return msa::crash::sync_watched(fd, SYS_fdatasync);
}

int ftruncate(int fd, off_t size) noexcept {
  return msa::crash::truncate_watched(fd, size);
}
int ftruncate64(int fd, off64_t size) noexcept {
  return msa::crash::truncate_watched(fd, size);
}

int rename(const char* from, const char* to) noexcept {
  return msa::crash::rename_watched(AT_FDCWD, from, AT_FDCWD, to, 0);
}
int renameat(int from_folder, const char* from, int to_folder, const char* to) noexcept {
  return msa::crash::rename_watched(from_folder, from, to_folder, to, 0);
}
int renameat2(int from_folder, const char* from, int to_folder, const char* to,
              unsigned flags) noexcept {
  return msa::crash::rename_watched(from_folder, from, to_folder, to, flags);
}
int link(const char* from, const char* to) noexcept {
  return msa::crash::link_watched(AT_FDCWD, from, AT_FDCWD, to, 0);
}
int linkat(int from_folder, const char* from, int to_folder, const char* to, int flags) noexcept {
  return msa::crash::link_watched(from_folder, from, to_folder, to, flags);
}
int unlink(const char* path) noexcept {
  return msa::crash::remove_watched(AT_FDCWD, path, 0);
}
int unlinkat(int folder, const char* path, int flags) noexcept {
  return msa::crash::remove_watched(folder, path, flags);
}
int rmdir(const char* path) noexcept {
  return msa::crash::remove_watched(AT_FDCWD, path, AT_REMOVEDIR);
}
int mkdir(const char* path, mode_t mode) noexcept {
  return msa::crash::make_folder_watched(AT_FDCWD, path, mode);
}
int mkdirat(int folder, const char* path, mode_t mode) noexcept {
  return msa::crash::make_folder_watched(folder, path, mode);
}
}
#pragma GCC visibility pop
