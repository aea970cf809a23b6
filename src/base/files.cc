#include "base/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <system_error>
#include <utility>
#include <vector>

#include "base/checked.h"

namespace msa {
namespace {

struct Advice {
  Code code;
  std::string_view remedy;
};

Advice advice_for(int error_number) {
  switch (error_number) {
    case ENOSPC:
    case EDQUOT: return {Code::no_space, "free some space or choose another disk"};
    case EFBIG: return {Code::no_space, "raise the limit (ulimit -f) or choose another disk"};
    case ENOMEM: return {Code::no_space, "free some memory"};
    case EACCES:
    case EPERM: return {Code::permission, "check its owner and mode, and those of its folder"};
    case EROFS: return {Code::permission, "choose a disk that can be written"};
    case ENOENT: return {Code::not_found, "check the path"};
    case ENOTDIR: return {Code::not_found, "a part of this path is a file, not a folder"};
    case EISDIR: return {Code::invalid_argument, "give a file, not a folder"};
    case EEXIST: return {Code::invalid_argument, "remove it or choose another name"};
    case ENAMETOOLONG: return {Code::invalid_argument, "choose a shorter path"};
    case EBUSY:
    case ETXTBSY:
    case EAGAIN: return {Code::busy, "wait for the program that uses it"};
    case EMFILE: return {Code::io, "raise the limit of open files (ulimit -n)"};
    case ENFILE: return {Code::io, "close some programs: the whole system is out of files"};
    case EIO: return {Code::io, "check the disk"};
    default: return {Code::io, "check the path and the disk"};
  }
}

// An open file descriptor, closed once.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }

  int get() const { return fd_; }
  void reset(int fd) { fd_ = fd; }
  // Closes now and returns errno or 0: network disks report a failed write only here.
  int close() {
    const int fd = std::exchange(fd_, -1);
    // On Linux the descriptor is gone even if the call was interrupted.
    return ::close(fd) == 0 || errno == EINTR ? 0 : errno;
  }

 private:
  int fd_ = -1;
};

int open_retrying(const std::filesystem::path& path, int flags, mode_t mode = 0) {
  int fd;
  do fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  while (fd < 0 && errno == EINTR);
  return fd;
}

int fsync_retrying(int fd) {
  int result;
  do result = ::fsync(fd);
  while (result != 0 && errno == EINTR);
  return result;
}

std::filesystem::path folder_of(const std::filesystem::path& path) {
  const std::filesystem::path folder = path.parent_path();
  return folder.empty() ? "." : folder;
}

// Makes the names in `folder` durable.
Result<void> sync_folder(const std::filesystem::path& folder) {
  const Descriptor fd(open_retrying(folder, O_RDONLY | O_DIRECTORY));
  if (fd.get() < 0) return system_error("open", folder, errno);
  // Some file systems cannot sync folders, and say so in one of these ways.
  if (fsync_retrying(fd.get()) != 0 && errno != EINVAL && errno != ENOTSUP)
    return system_error("sync", folder, errno);
  return {};
}

Error not_a_file(const std::filesystem::path& path, mode_t mode) {
  const std::string_view kind = S_ISDIR(mode)    ? "a folder"
                                : S_ISFIFO(mode) ? "a pipe"
                                : S_ISSOCK(mode) ? "a socket"
                                                 : "a device";
  return {Code::invalid_argument,
          fmt::format("{}: is {}, not a file; give a regular file", path.string(), kind)};
}

}  // namespace

Error system_error(std::string_view doing, const std::filesystem::path& path, int error_number) {
  const auto [code, remedy] = advice_for(error_number);
  return {code, fmt::format("{}: cannot {}: {}; {}", path.string(), doing,
                            std::generic_category().message(error_number), remedy)};
}

// ---------------------------------------------------------------------------------------------
// MappedFile

Result<MappedFile> MappedFile::open(const std::filesystem::path& path, Links links) {
  // Non-blocking, so that a pipe is refused below instead of waited for.
  const int no_link = links == Links::refuse ? O_NOFOLLOW : 0;
  const Descriptor fd(open_retrying(path, O_RDONLY | O_NONBLOCK | no_link));
  if (fd.get() < 0 && no_link != 0 && errno == ELOOP)
    return Error{Code::invalid_argument,
                 fmt::format("{}: is a symbolic link; put the file itself there", path.string())};
  if (fd.get() < 0) return system_error("open", path, errno);
  struct stat status;
  if (::fstat(fd.get(), &status) != 0) return system_error("look at", path, errno);
  if (!S_ISREG(status.st_mode)) return not_a_file(path, status.st_mode);

  MappedFile file;
  file.path_ = path;
  file.size_ = static_cast<size_t>(status.st_size);
  if (file.size_ == 0) return file;  // an empty mapping is an error to mmap
  void* data = ::mmap(nullptr, file.size_, PROT_READ, MAP_SHARED, fd.get(), 0);
  if (data == MAP_FAILED) {
    file.size_ = 0;
    if (errno == ENODEV)
      return Error{
          Code::unsupported,
          fmt::format("{}: its file system cannot map files into memory; move it to a disk "
                      "that can",
                      path.string())};
    return system_error("map", path, errno);
  }
  file.data_ = static_cast<const std::byte*>(data);
  return file;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      path_(std::move(other.path_)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  // The old mapping goes with `taken`; assigning to itself keeps it.
  MappedFile taken(std::move(other));
  std::swap(data_, taken.data_);
  std::swap(size_, taken.size_);
  std::swap(path_, taken.path_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::drop(size_t offset, size_t length) const {
  if (offset >= size_) return;
  const size_t page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t end = offset + std::min(length, size_ - offset);
  // Rounded inwards: a page shared with a neighbour stays. Past the file's end there is none.
  const size_t first = (offset + page - 1) / page * page;
  const size_t last = end == size_ ? (end + page - 1) / page * page : end / page * page;
  // Only advice: if the kernel does not take it, nothing is lost but memory.
  if (first < last)
    (void)::madvise(const_cast<std::byte*>(data_) + first, last - first, MADV_DONTNEED);
}

// ---------------------------------------------------------------------------------------------
// read_file

Result<std::string> read_file(const std::filesystem::path& path, size_t limit) {
  const Descriptor fd(open_retrying(path, O_RDONLY));
  if (fd.get() < 0) return system_error("open", path, errno);
  struct stat status;
  if (::fstat(fd.get(), &status) != 0) return system_error("look at", path, errno);
  if (S_ISDIR(status.st_mode)) return not_a_file(path, status.st_mode);
  const auto too_long = [&](const std::string& size) {
    return Error{Code::unsupported, fmt::format("{}: has {} bytes, at most {} are read here; check "
                                                "that this is the right file",
                                                path.string(), size, limit)};
  };
  const bool regular = S_ISREG(status.st_mode);
  if (regular && static_cast<uint64_t>(status.st_size) > limit)
    return too_long(std::to_string(status.st_size));

  // The size is a hint only: files of the kernel and pipes have none, others may be growing.
  std::string text;
  if (regular) text.reserve(static_cast<size_t>(status.st_size));
  std::vector<char> piece(64 << 10);
  for (;;) {
    const ssize_t got = ::read(fd.get(), piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error("read", path, errno);
    if (got == 0) return text;
    if (static_cast<size_t>(got) > limit - text.size())
      return too_long(fmt::format("more than {}", limit));
    text.append(piece.data(), static_cast<size_t>(got));
  }
}

// ---------------------------------------------------------------------------------------------
// AtomicFileWriter

struct AtomicFileWriter::State {
  // Small appends are gathered to this many bytes per system call; larger ones go straight through.
  static constexpr size_t kBufferBytes = 256 << 10;

  std::filesystem::path path, temporary;
  Descriptor fd;
  std::vector<std::byte> buffer;  // appended, not yet in the file
  uint64_t written = 0;           // bytes in the file
  bool open = false;              // the temporary file exists and is ours
  Error failure;                  // why it is not open any more

  ~State() {
    if (open) ::unlink(temporary.c_str());
  }

  uint64_t size() const { return written + buffer.size(); }

  // Gives up: the temporary file goes now, so that a full disk gets its space back at once.
  Error fail(Error error) {
    if (open) {
      ::unlink(temporary.c_str());
      open = false;
      fd.close();
    }
    return failure = std::move(error);
  }

  Result<void> put(std::span<const std::byte> bytes, uint64_t offset) {
    while (!bytes.empty()) {
      const ssize_t done =
          ::pwrite(fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (done < 0 && errno == EINTR) continue;
      if (done <= 0) return fail(system_error("write", path, done < 0 ? errno : EIO));
      bytes = bytes.subspan(static_cast<size_t>(done));
      offset += static_cast<uint64_t>(done);
    }
    return {};
  }

  Result<void> flush() {
    MSA_TRY(put(buffer, written));
    written += buffer.size();
    buffer.clear();
    return {};
  }

  Result<void> append(std::span<const std::byte> bytes) {
    if (!open) return failure;
    if (bytes.size() > static_cast<uint64_t>(INT64_MAX) - size())
      return fail(system_error("write", path, EFBIG));
    if (bytes.size() > kBufferBytes - buffer.size()) MSA_TRY(flush());
    if (bytes.size() < kBufferBytes) {
      buffer.insert(buffer.end(), bytes.begin(), bytes.end());
      return {};
    }
    MSA_TRY(put(bytes, written));
    written += bytes.size();
    return {};
  }

  Result<void> commit() {
    if (!open) return failure;
    MSA_TRY(flush());
    if (fsync_retrying(fd.get()) != 0) return fail(system_error("sync", path, errno));
    if (const int error = fd.close(); error != 0) return fail(system_error("write", path, error));
    if (::rename(temporary.c_str(), path.c_str()) != 0)
      return fail(system_error("rename the finished file to this name", path, errno));
    open = false;
    failure = {Code::invalid_argument,
               fmt::format("{}: is already finished; open a new writer", path.string())};
    return sync_folder(folder_of(path));
  }
};

AtomicFileWriter::AtomicFileWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
AtomicFileWriter::AtomicFileWriter(AtomicFileWriter&&) noexcept = default;
AtomicFileWriter& AtomicFileWriter::operator=(AtomicFileWriter&&) noexcept = default;
AtomicFileWriter::~AtomicFileWriter() = default;

Result<AtomicFileWriter> AtomicFileWriter::create(const std::filesystem::path& path) {
  // Renaming over a device or a folder would replace it, or fail only after all the work.
  struct stat status;
  if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode))
    return not_a_file(path, status.st_mode);

  auto state = std::make_unique<State>();
  state->path = path;
  state->buffer.reserve(State::kBufferBytes);
  // Names are at most 255 bytes long on every common file system.
  const std::string stem = path.filename().string().substr(0, 200);
  // Another process with our id can exist: on another machine, in another container.
  for (unsigned attempt = 0; attempt < 10'000; ++attempt) {
    state->temporary = path.parent_path() / fmt::format("{}.tmp-{}-{}", stem, ::getpid(), attempt);
    const int fd = open_retrying(state->temporary, O_WRONLY | O_CREAT | O_EXCL, 0666);
    if (fd >= 0) {
      state->fd.reset(fd);
      state->open = true;
      return AtomicFileWriter(std::move(state));
    }
    if (errno != EEXIST) return system_error("create", path, errno);
  }
  return system_error("create a temporary file beside", path, EEXIST);
}

Result<void> AtomicFileWriter::write(std::span<const std::byte> bytes) {
  assert(state_ && "used after it was moved from");
  return state_->append(bytes);
}

Result<void> AtomicFileWriter::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  assert(state_ && "used after it was moved from");
  State& state = *state_;
  if (!state.open) return state.failure;
  if (!in_bounds<uint64_t>(offset, bytes.size(), state.size()))
    return state.fail(
        {Code::invalid_argument,
         fmt::format("{}: {} bytes at byte {} would be overwritten, only {} were appended; append "
                     "them first",
                     state.path.string(), bytes.size(), offset, state.size())});
  if (offset + bytes.size() > state.written) MSA_TRY(state.flush());
  return state.put(bytes, offset);
}

Result<void> AtomicFileWriter::pad_to(size_t alignment) {
  assert(state_ && alignment > 0);
  static constexpr std::array<std::byte, 4096> kZeros{};
  const uint64_t over = state_->size() % alignment;
  uint64_t missing = over == 0 ? 0 : alignment - over;
  while (missing > 0) {
    const size_t piece = static_cast<size_t>(std::min<uint64_t>(missing, kZeros.size()));
    MSA_TRY(state_->append(std::span(kZeros).first(piece)));
    missing -= piece;
  }
  return {};
}

uint64_t AtomicFileWriter::size() const {
  assert(state_ && "used after it was moved from");
  return state_->size();
}

Result<void> AtomicFileWriter::commit() {
  assert(state_ && "used after it was moved from");
  return state_->commit();
}

// ---------------------------------------------------------------------------------------------
// make_folder

Result<void> make_folder(const std::filesystem::path& path) {
  if (path.empty())
    return Error{Code::invalid_argument, "the name of a folder is empty; give a path"};
  std::filesystem::path partial;
  for (const std::filesystem::path& part : path) {
    partial /= part;
    if (part.empty() || part == "." || part == ".." || part == partial.root_path()) continue;
    if (::mkdir(partial.c_str(), 0777) == 0) {
      // partial ends in a name here, so the folder above it is its parent.
      MSA_TRY(sync_folder(folder_of(partial)));
      continue;
    }
    // Whatever was wrong, an existing folder is all that is asked for; a read-only parent answers
    // EROFS or EACCES for a folder that is there.
    const int error = errno;
    struct stat status;
    if (::stat(partial.c_str(), &status) != 0) return system_error("create", partial, error);
    if (!S_ISDIR(status.st_mode))
      return Error{
          Code::invalid_argument,
          fmt::format("{}: is a file, not a folder; choose another path", partial.string())};
  }
  return {};
}

}  // namespace msa
