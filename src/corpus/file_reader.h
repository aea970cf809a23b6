// Readers of one file each: text, JSON Lines, JSON.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "corpus/byte_source.h"
#include "corpus/input_files.h"
#include "msa/document.h"
#include "msa/result.h"

namespace msa {

// What a reader is told, and where it reports to. Outlives the reader.
struct ReadContext {
  std::string name;             // of the file, for ids, sources and messages
  std::string stem;             // of the file's name, without its endings
  size_t max_record_bytes = 0;  // of a line or record
  DocumentCounts* counts = nullptr;
  const std::function<void(const DocumentProblem&)>* on_problem = nullptr;

  // Counts and reports a record or file that is left out.
  void problem(std::string where, std::string what) const {
    ++counts->bad;
    if (*on_problem) (*on_problem)({std::move(where), std::move(what)});
  }
};

class FileReader {
 public:
  virtual ~FileReader() = default;
  // The next document, blank ones included; nothing at the end. Bad records are reported and passed
  // over; an error means that the rest of the file cannot be read.
  virtual Result<std::optional<Document>> next() = 0;
};

// A text file, which is one document, may be so many times as long as a record.
inline constexpr size_t kTextFileFactor = 16;

// One document: the whole text. Its title is the file's stem; in Markdown the first heading, which
// is left out of the text if nothing stands before it.
std::unique_ptr<FileReader> make_text_reader(const ReadContext& context, ByteSource& bytes,
                                             FileKind kind);
std::unique_ptr<FileReader> make_json_lines_reader(const ReadContext& context, ByteSource& bytes);
// One record or an array of them, read one by one: the file may be of any size.
std::unique_ptr<FileReader> make_json_reader(const ReadContext& context, ByteSource& bytes);

}  // namespace msa
