// Documents before they are encoded, and how they are read from files. Part of msa/msa.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "msa/result.h"

namespace msa {

struct Document {
  std::string id;      // the user's; made from the source where there is none
  std::string title;   // may be empty; stands before the text when the document is encoded
  std::string text;    // UTF-8, invalid sequences already replaced
  std::string source;  // file or address the text came from
  uint64_t char_begin = 0, char_end = 0;  // which characters of the source's text this is
};

// A problem with one document or file; the rest goes on.
struct DocumentProblem {
  std::string where;  // "notes/a.jsonl:17"
  std::string what;   // "no \"text\" field"
};

struct DocumentCounts {
  uint64_t files = 0, documents = 0;         // read so far
  uint64_t empty = 0;                        // documents without text, left out
  uint64_t bad = 0;                          // records or files that could not be read, left out
  uint64_t replaced_utf8 = 0;                // invalid sequences replaced by U+FFFD
  uint64_t bytes_read = 0, bytes_total = 0;  // of the input files as stored; total 0: unknown
};

// A stream of documents.
class MSA_API DocumentSource {
 public:
  virtual ~DocumentSource() = default;
  // The next document; nothing at the end. An Error only when reading cannot go on at all.
  virtual Result<std::optional<Document>> next() = 0;
  virtual DocumentCounts counts() const { return {}; }
};

struct ReaderOptions {
  // A longer line or JSON record is a problem, not a crash; so is a text file of 16 times as much.
  size_t max_record_bytes = 16u << 20;
  std::function<void(const DocumentProblem&)> on_problem;
};

// Opens files, folders (read recursively, in name order) and "-" (standard input: JSON Lines if it
// begins with '{', else text). By ending: .txt, .md (first heading is the title), .jsonl (records
// {"id","title","text"}, optionally "source"), .json (one such record or an array of them), each
// also .gz or .zst. Without an id, a document has "<path>:<line>" in .jsonl, "<path>#<index>" (from
// 0) in an array, else the path; without a title, a text file has its name without endings. A path
// that does not exist is an error; a file of another kind given by name is one too, inside a folder
// it is passed over.
MSA_API Result<std::unique_ptr<DocumentSource>> open_documents(
    const std::vector<std::filesystem::path>& paths, const ReaderOptions& options = {});

}  // namespace msa
