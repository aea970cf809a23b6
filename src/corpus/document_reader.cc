// open_documents: all files, one after another, as one stream of documents.

#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <system_error>
#include <utility>

#include "corpus/byte_source.h"
#include "corpus/file_reader.h"
#include "corpus/input_files.h"
#include "corpus/white_space.h"
#include "msa/document.h"

namespace msa {
namespace {

// Hands out again what was read ahead of `bytes` to find out what they are.
class WithFront : public ByteSource {
 public:
  WithFront(std::vector<std::byte> front, std::unique_ptr<ByteSource> bytes)
      : front_(std::move(front)), bytes_(std::move(bytes)) {}
  Result<size_t> read(std::span<std::byte> out) override {
    if (at_ == front_.size()) return bytes_->read(out);
    const size_t size = std::min(out.size(), front_.size() - at_);
    std::copy_n(front_.begin() + static_cast<std::ptrdiff_t>(at_), size, out.begin());
    at_ += size;
    return size;
  }
  uint64_t stored_bytes_read() const override { return bytes_->stored_bytes_read(); }

 private:
  std::vector<std::byte> front_;
  std::unique_ptr<ByteSource> bytes_;
  size_t at_ = 0;
};

// Whether standard input is JSON Lines: its first visible byte is '{'. Replaces `bytes` by a source
// that starts from the beginning.
Result<FileKind> kind_of_stream(std::unique_ptr<ByteSource>& bytes) {
  std::vector<std::byte> front(64 << 10);
  size_t size = 0;
  FileKind kind = FileKind::text;
  while (size < front.size()) {
    MSA_ASSIGN(const size_t got, bytes->read(std::span(front).subspan(size)));
    size += got;
    std::string_view text(reinterpret_cast<const char*>(front.data()), size);
    if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
    const size_t visible = skip_space(text, 0);
    if (visible < text.size() && text[visible] == '{') kind = FileKind::json_lines;
    // Three bytes tell a byte order mark from other text.
    if (got == 0 || (size >= 3 && visible < text.size())) break;
  }
  front.resize(size);
  bytes = std::make_unique<WithFront>(std::move(front), std::move(bytes));
  return kind;
}

std::string stem_of(const std::filesystem::path& path) {
  if (path == "-") return {};
  const std::filesystem::path name =
      compression_of(path) == Compression::none ? path.filename() : path.filename().stem();
  return display_name(name.stem());
}

class FileDocuments : public DocumentSource {
 public:
  explicit FileDocuments(const ReaderOptions& options) : options_(options) {}

  Result<void> open(const std::vector<std::filesystem::path>& paths) {
    const auto unreadable = [this](const DocumentProblem& problem) {
      ++counts_.bad;
      if (options_.on_problem) options_.on_problem(problem);
    };
    MSA_ASSIGN(files_, list_input_files(paths, unreadable));
    for (const InputFile& file : files_) counts_.bytes_total += file.stored_bytes;
    for (const InputFile& file : files_)
      if (!file.size_known) counts_.bytes_total = 0;
    return {};
  }

  Result<std::optional<Document>> next() override {
    try {
      return next_document();
    } catch (const std::bad_alloc&) {
      return Error{Code::no_space,
                   fmt::format("{}: out of memory while reading; lower the longest record allowed",
                               context_.name)};
    }
  }

  DocumentCounts counts() const override {
    DocumentCounts counts = counts_;
    counts.bytes_read = finished_bytes_ + (bytes_ ? bytes_->stored_bytes_read() : 0);
    return counts;
  }

 private:
  Result<std::optional<Document>> next_document() {
    while (true) {
      if (!reader_) {
        if (next_file_ == files_.size()) return std::optional<Document>();
        if (const auto opened = open_file(files_[next_file_]); !opened) {
          leave_out(opened.error());
          continue;
        }
      }
      auto document = reader_->next();
      if (!document) {
        leave_out(document.error());
      } else if (!*document) {
        close_file();
      } else if (is_blank((*document)->text)) {
        ++counts_.empty;
      } else {
        ++counts_.documents;
        return document;
      }
    }
  }

  Result<void> open_file(const InputFile& file) {
    context_ = {display_name(file.path), stem_of(file.path), options_.max_record_bytes, &counts_,
                &options_.on_problem};
    ++counts_.files;
    MSA_ASSIGN(bytes_, open_bytes(file.path));
    FileKind kind = file.kind;
    if (kind == FileKind::standard_input) {
      MSA_ASSIGN(kind, kind_of_stream(bytes_));
    }
    switch (kind) {
      case FileKind::json_lines: reader_ = make_json_lines_reader(context_, *bytes_); break;
      case FileKind::json: reader_ = make_json_reader(context_, *bytes_); break;
      default: reader_ = make_text_reader(context_, *bytes_, kind); break;
    }
    return {};
  }

  // Reports that the rest of the current file cannot be read, and goes on to the next.
  void leave_out(const Error& error) {
    DocumentProblem problem = problem_of(error, context_.name);
    context_.problem(std::move(problem.where), std::move(problem.what));
    close_file();
  }

  void close_file() {
    // Progress reaches its total also where a file was not read to its end.
    const uint64_t read = bytes_ ? bytes_->stored_bytes_read() : 0;
    finished_bytes_ += std::max(read, files_[next_file_].stored_bytes);
    reader_.reset();
    bytes_.reset();
    ++next_file_;
  }

  ReaderOptions options_;
  DocumentCounts counts_;
  std::vector<InputFile> files_;
  size_t next_file_ = 0;  // the one being read, or the next one
  uint64_t finished_bytes_ = 0;
  ReadContext context_;
  std::unique_ptr<ByteSource> bytes_;
  std::unique_ptr<FileReader> reader_;
};

}  // namespace

Result<std::unique_ptr<DocumentSource>> open_documents(
    const std::vector<std::filesystem::path>& paths, const ReaderOptions& options) {
  if (options.max_record_bytes == 0)
    return Error{Code::invalid_argument,
                 "longest record: 0 bytes leaves nothing to read; the default is 16777216"};
  try {
    auto source = std::make_unique<FileDocuments>(options);
    MSA_TRY(source->open(paths));
    return std::unique_ptr<DocumentSource>(std::move(source));
  } catch (const std::bad_alloc&) {
    return Error{Code::no_space, "the list of input files: out of memory; name fewer at a time"};
  } catch (const std::filesystem::filesystem_error& e) {
    return Error{Code::io,
                 fmt::format("{}: {}; check the path", e.path1().string(), e.code().message())};
  }
}

}  // namespace msa
