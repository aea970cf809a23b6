#include "base/new_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cassert>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/files.h"

namespace msa {
namespace {

constexpr int kMostTries = 100;  // names that other processes of this number left behind

bool is_there(const std::filesystem::path& path) {
  struct stat ignored;
  return ::lstat(path.c_str(), &ignored) == 0;
}

Error taken(const std::filesystem::path& path) {
  return {Code::invalid_argument,
          fmt::format("{}: is there already; remove it or choose another folder", path.string())};
}

std::filesystem::path parent_of(const std::filesystem::path& path) {
  const std::filesystem::path parent = path.parent_path();
  return parent.empty() ? "." : parent;
}

}  // namespace

Result<NewFolder> NewFolder::create(const std::filesystem::path& path) {
  // "models/new/" names the same folder as "models/new".
  std::filesystem::path named = path;
  while (!named.has_filename() && named.has_relative_path()) named = named.parent_path();
  if (named.empty() || is_there(named)) return taken(path);
  MSA_TRY(make_folder(parent_of(named)));
  for (int tries = 0; tries < kMostTries; ++tries) {
    std::filesystem::path working = named;
    working += tries == 0 ? fmt::format(".partial-{}", ::getpid())
                          : fmt::format(".partial-{}-{}", ::getpid(), tries);
    if (::mkdir(working.c_str(), 0777) == 0) return NewFolder(std::move(named), std::move(working));
    if (errno != EEXIST) return system_error("make a folder", working, errno);
  }
  return Error{Code::busy, fmt::format("{}: {} unfinished folders of this name stand beside it; "
                                       "remove those that end in .partial-{} and more",
                                       named.string(), kMostTries, ::getpid())};
}

NewFolder::NewFolder(NewFolder&& other) noexcept
    : final_(std::move(other.final_)), working_(std::exchange(other.working_, {})) {}

NewFolder& NewFolder::operator=(NewFolder&& other) noexcept {
  if (this == &other) return *this;
  remove();
  final_ = std::move(other.final_);
  working_ = std::exchange(other.working_, {});
  return *this;
}

NewFolder::~NewFolder() {
  remove();
}

void NewFolder::remove() {
  std::error_code ignored;
  if (!working_.empty()) std::filesystem::remove_all(working_, ignored);
  working_.clear();
}

Result<void> NewFolder::commit() {
  assert(!working_.empty() && "committed twice, or moved from");
  // What came meanwhile and is not an empty folder makes the rename fail; that would be replaced.
  if (is_there(final_)) return taken(final_);
  if (::rename(working_.c_str(), final_.c_str()) != 0)
    return system_error("rename the finished folder to this name", final_, errno);
  working_.clear();
  const std::filesystem::path parent = parent_of(final_);
  const int fd = ::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return system_error("open", parent, errno);
  const bool synced = ::fsync(fd) == 0 || errno == EINVAL || errno == ENOTSUP || errno == EINTR;
  const int error_number = errno;
  ::close(fd);
  if (!synced) return system_error("sync", parent, error_number);
  return {};
}

}  // namespace msa
