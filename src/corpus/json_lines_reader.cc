#include <fmt/format.h>

#include "corpus/file_reader.h"
#include "corpus/line_reader.h"
#include "corpus/record.h"
#include "corpus/white_space.h"

namespace msa {
namespace {

class JsonLinesReader : public FileReader {
 public:
  JsonLinesReader(const ReadContext& context, ByteSource& bytes)
      : context_(context), lines_(bytes, context.max_record_bytes) {}

  Result<std::optional<Document>> next() override {
    while (true) {
      MSA_ASSIGN(const LineReader::Status status, lines_.next(line_));
      if (status == LineReader::Status::end) return std::optional<Document>();
      std::string where = fmt::format("{}:{}", context_.name, lines_.number());
      if (status == LineReader::Status::too_long) {
        context_.problem(std::move(where), fmt::format("longer than {} bytes; split the document",
                                                       context_.max_record_bytes));
        continue;
      }
      if (is_blank(line_)) continue;
      auto parsed = parse_record(line_, context_.counts->replaced_utf8);
      if (auto* problem = std::get_if<RecordProblem>(&parsed)) {
        context_.problem(std::move(where), std::move(problem->what));
        continue;
      }
      Document& document = std::get<Document>(parsed);
      if (document.id.empty()) document.id = std::move(where);
      if (document.source.empty()) document.source = context_.name;
      return std::optional(std::move(document));
    }
  }

 private:
  const ReadContext& context_;
  LineReader lines_;
  std::string line_;
};

}  // namespace

std::unique_ptr<FileReader> make_json_lines_reader(const ReadContext& context, ByteSource& bytes) {
  return std::make_unique<JsonLinesReader>(context, bytes);
}

}  // namespace msa
