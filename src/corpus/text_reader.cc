#include <fmt/format.h>

#include <algorithm>

#include "corpus/file_reader.h"
#include "corpus/line_reader.h"
#include "corpus/white_space.h"
#include "text/utf8.h"

namespace msa {
namespace {

struct Heading {
  std::string title;
  size_t end = 0;      // of its line, line end included
  bool first = false;  // nothing but white space stands before it
};

// The text of a line like "## Title ##", or nothing.
std::optional<std::string> heading_of(std::string_view line) {
  const size_t marks = std::min(line.find_first_not_of('#'), line.size());
  if (marks < 1 || marks > 6 || marks == line.size() || space_length(line, marks) == 0)
    return std::nullopt;
  const auto trim = [](std::string_view s) {
    s.remove_prefix(skip_space(s, 0));
    const size_t last = s.find_last_not_of(" \t\r");
    return s.substr(0, last == std::string_view::npos ? 0 : last + 1);
  };
  std::string_view title = trim(line.substr(marks));
  const size_t last = title.find_last_not_of('#');
  // Closing marks count as such only after a space: "# C#" is about a language.
  if (last == std::string_view::npos)
    title = {};
  else if (title[last] == ' ' || title[last] == '\t')
    title = trim(title.substr(0, last));
  if (title.empty()) return std::nullopt;
  return std::string(title);
}

// The first heading outside of fenced code.
std::optional<Heading> first_heading(std::string_view text) {
  bool first = true, in_fence = false;
  for (size_t begin = 0; begin < text.size();) {
    const size_t line_end = std::min(text.find('\n', begin), text.size());
    const size_t end = std::min(line_end + 1, text.size());
    const std::string_view line = text.substr(begin, line_end - begin);
    const std::string_view body = line.substr(skip_space(line, 0));
    if (body.starts_with("```") || body.starts_with("~~~")) {
      in_fence = !in_fence;
    } else if (!in_fence) {
      if (auto title = heading_of(line)) return Heading{std::move(*title), end, first};
    }
    first = first && body.empty();
    begin = end;
  }
  return std::nullopt;
}

class TextReader : public FileReader {
 public:
  TextReader(const ReadContext& context, ByteSource& bytes, FileKind kind)
      : context_(context), blocks_(bytes), kind_(kind) {}

  Result<std::optional<Document>> next() override {
    if (done_) return std::optional<Document>();
    done_ = true;
    const size_t limit = context_.max_record_bytes > SIZE_MAX / kTextFileFactor
                             ? SIZE_MAX
                             : context_.max_record_bytes * kTextFileFactor;
    std::string raw;
    while (true) {
      MSA_ASSIGN(const std::string_view block, blocks_.peek());
      if (block.empty()) break;
      if (block.size() > limit - raw.size())
        return Error{Code::unsupported,
                     fmt::format("{}: a text of more than {} bytes; split it into several files",
                                 context_.name, limit)};
      raw += block;
      blocks_.take(block.size());
    }
    CleanText clean = clean_utf8(raw);
    context_.counts->replaced_utf8 += clean.replaced;
    return std::optional(document(std::move(clean.text)));
  }

 private:
  Document document(std::string text) const {
    Document out;
    out.id = out.source = context_.name;
    out.title = context_.stem;
    out.char_end = count_characters(text);
    if (kind_ == FileKind::markdown) {
      if (auto heading = first_heading(text)) {
        out.title = std::move(heading->title);
        if (heading->first) {
          out.char_begin = count_characters(std::string_view(text).substr(0, heading->end));
          text.erase(0, heading->end);
        }
      }
    }
    out.text = std::move(text);
    return out;
  }

  const ReadContext& context_;
  BlockReader blocks_;
  FileKind kind_;
  bool done_ = false;
};

}  // namespace

std::unique_ptr<FileReader> make_text_reader(const ReadContext& context, ByteSource& bytes,
                                             FileKind kind) {
  return std::make_unique<TextReader>(context, bytes, kind);
}

}  // namespace msa
