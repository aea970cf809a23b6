#include "corpus/input_files.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "base/files.h"
#include "text/utf8.h"

namespace msa {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kReadable =
    ".txt, .md, .jsonl and .json are read, each also with .gz or .zst";

std::string lower_case_extension(const fs::path& path) {
  std::string ending = path.extension().string();
  for (char& c : ending)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return ending;
}

Result<InputFile> named_file(const fs::path& path, const fs::file_status& status) {
  const FileKind kind = kind_of(path);
  if (kind == FileKind::other)
    return Error{Code::unsupported, fmt::format("{}: not a kind of file that is read; {}",
                                                display_name(path), kReadable)};
  if (::access(path.c_str(), R_OK) != 0) return system_error("open", path, errno);
  InputFile file{path, kind, 0, fs::is_regular_file(status)};
  std::error_code failed;
  if (file.size_known) file.stored_bytes = fs::file_size(path, failed);
  if (failed) return system_error("look at", path, failed.value());
  return file;
}

class FolderWalk {
 public:
  FolderWalk(std::vector<InputFile>& files,
             const std::function<void(const DocumentProblem&)>& on_problem)
      : files_(files), on_problem_(on_problem) {}

  Result<void> walk(const fs::path& folder) {
    std::vector<fs::directory_entry> entries;
    std::error_code failed;
    fs::directory_iterator it(folder, failed);
    for (; !failed && it != fs::directory_iterator(); it.increment(failed)) {
      const std::string name = it->path().filename().string();
      if (!name.starts_with('.')) entries.push_back(*it);
    }
    if (failed) return system_error("list", folder, failed.value());
    std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
      return a.path().filename().native() < b.path().filename().native();
    });
    for (const fs::directory_entry& entry : entries) visit(entry);
    return {};
  }

 private:
  void visit(const fs::directory_entry& entry) {
    std::error_code failed;
    // A link to a folder may lead back up: links are followed to files only.
    if (entry.is_directory(failed)) {
      if (entry.is_symlink(failed)) return;
      if (const auto walked = walk(entry.path()); !walked)
        on_problem_(problem_of(walked.error(), display_name(entry.path())));
      return;
    }
    const FileKind kind = kind_of(entry.path());
    if (kind == FileKind::other || !entry.is_regular_file(failed)) return;
    const uint64_t size = entry.file_size(failed);
    files_.push_back({entry.path(), kind, failed ? 0 : size, !failed});
  }

  std::vector<InputFile>& files_;
  const std::function<void(const DocumentProblem&)>& on_problem_;
};

}  // namespace

Compression compression_of(const fs::path& path) {
  const std::string ending = lower_case_extension(path);
  if (ending == ".gz") return Compression::gzip;
  return ending == ".zst" ? Compression::zstd : Compression::none;
}

FileKind kind_of(const fs::path& path) {
  if (path == "-") return FileKind::standard_input;
  const std::string ending =
      lower_case_extension(compression_of(path) == Compression::none ? path : path.stem());
  if (ending == ".txt") return FileKind::text;
  if (ending == ".md") return FileKind::markdown;
  if (ending == ".jsonl") return FileKind::json_lines;
  return ending == ".json" ? FileKind::json : FileKind::other;
}

Result<std::vector<InputFile>> list_input_files(
    const std::vector<fs::path>& paths,
    const std::function<void(const DocumentProblem&)>& on_problem) {
  if (paths.empty())
    return Error{Code::invalid_argument,
                 "no input given; name files, folders or - for standard input"};
  std::vector<InputFile> files;
  for (const fs::path& path : paths) {
    if (path == "-") {
      files.push_back({path, FileKind::standard_input, 0, false});
      continue;
    }
    std::error_code failed;
    const fs::file_status status = fs::status(path, failed);
    if (status.type() == fs::file_type::not_found)
      return Error{Code::not_found, fmt::format("{}: there is no such file or folder; check the "
                                                "spelling",
                                                display_name(path))};
    if (failed) return system_error("look at", path, failed.value());
    if (!fs::is_directory(status)) {
      MSA_ASSIGN(InputFile file, named_file(path, status));
      files.push_back(std::move(file));
      continue;
    }
    const size_t before = files.size();
    MSA_TRY(FolderWalk(files, on_problem).walk(path));
    if (files.size() == before)
      return Error{Code::not_found, fmt::format("{}: nothing to read in this folder; {}",
                                                display_name(path), kReadable)};
  }
  return files;
}

std::string display_name(const fs::path& path) {
  return path == "-" ? "stdin" : clean_utf8(path.string()).text;
}

DocumentProblem problem_of(const Error& error, const std::string& name) {
  const std::string& message = error.message;
  if (!message.starts_with(name + ":")) return {name, message};
  const size_t separator = message.find(": ", name.size());
  if (separator == std::string::npos) return {name, message};
  return {message.substr(0, separator), message.substr(separator + 2)};
}

}  // namespace msa
