// Which files are read, in which order, and how.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "msa/document.h"
#include "msa/result.h"

namespace msa {

enum class Compression { none, gzip, zstd };
// By ending, in either case.
Compression compression_of(const std::filesystem::path& path);

enum class FileKind {
  other,
  text,            // .txt
  markdown,        // .md
  json_lines,      // .jsonl
  json,            // .json
  standard_input,  // "-"
};
// By ending, before that of a compression, in either case.
FileKind kind_of(const std::filesystem::path& path);

struct InputFile {
  std::filesystem::path path;
  FileKind kind = FileKind::other;
  uint64_t stored_bytes = 0;  // 0 also for pipes
  bool size_known = false;
};

// The files that `paths` name, folders resolved: recursively, each folder's entries in the order of
// their names' bytes, without hidden entries, other kinds of files and links to folders. A folder
// inside that cannot be read is reported to `on_problem`; everything else that is wrong is an
// error, also a folder with nothing to read in it.
Result<std::vector<InputFile>> list_input_files(
    const std::vector<std::filesystem::path>& paths,
    const std::function<void(const DocumentProblem&)>& on_problem);

// The path as it appears in ids, sources and messages: valid UTF-8; "stdin" for "-".
std::string display_name(const std::filesystem::path& path);

// An error with the file `name` as a problem; where the message begins with the name, or with it
// and a line number, that becomes `where`.
DocumentProblem problem_of(const Error& error, const std::string& name);

}  // namespace msa
