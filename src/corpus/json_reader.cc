#include <fmt/format.h>

#include "corpus/file_reader.h"
#include "corpus/line_reader.h"
#include "corpus/record.h"

namespace msa {
namespace {

constexpr std::string_view kJsonSpace = " \t\r\n";

// Finds where each record of an array begins and ends, by brackets and quotes, and leaves the rest
// to the parser, so that neither the file nor a record that is too long is ever held whole.
class JsonReader : public FileReader {
 public:
  JsonReader(const ReadContext& context, ByteSource& bytes) : context_(context), blocks_(bytes) {}

  Result<std::optional<Document>> next() override {
    while (state_ != State::finished) {
      MSA_ASSIGN(const bool found, next_record());
      if (!found) break;
      const uint64_t index = index_++;
      std::string where = fmt::format("{}:{}", context_.name, record_line_);
      if (too_long_) {
        context_.problem(std::move(where),
                         fmt::format("a record of more than {} bytes; split the document",
                                     context_.max_record_bytes));
        continue;
      }
      auto parsed = parse_record(record_, context_.counts->replaced_utf8);
      if (auto* problem = std::get_if<RecordProblem>(&parsed)) {
        context_.problem(std::move(where), std::move(problem->what));
        continue;
      }
      Document& document = std::get<Document>(parsed);
      if (document.id.empty())
        document.id = in_array_ ? fmt::format("{}#{}", context_.name, index) : context_.name;
      if (document.source.empty()) document.source = context_.name;
      return std::optional(std::move(document));
    }
    return std::optional<Document>();
  }

 private:
  enum class State { start, first_or_end, value, comma_or_end, after, finished };

  Error malformed(std::string_view what) {
    state_ = State::finished;
    return {Code::corrupt, fmt::format("{}:{}: {}; correct the file", context_.name, line_, what)};
  }

  // The next byte that is not white space, or nothing at the end; not taken.
  Result<std::optional<char>> peek_token() {
    while (true) {
      MSA_ASSIGN(const std::string_view block, blocks_.peek());
      if (block.empty()) return std::optional<char>();
      const size_t at = block.find_first_not_of(kJsonSpace);
      take(block.substr(0, at));
      if (at != std::string_view::npos) return std::optional(block[at]);
    }
  }
  void take(std::string_view bytes) {
    for (const char c : bytes) line_ += c == '\n';
    blocks_.take(bytes.size());
  }

  // Reads the bytes of the next record into record_; false after the last.
  Result<bool> next_record() {
    while (true) {
      MSA_ASSIGN(const std::optional<char> token, peek_token());
      const bool at_end = !token;
      switch (state_) {
        case State::start:
          if (at_end) return malformed("an empty file where a JSON record or array should be");
          if (token == '[') {
            in_array_ = true;
            state_ = State::first_or_end;
            blocks_.take(1);
            break;
          }
          state_ = State::after;
          return read_value();
        case State::first_or_end:
        case State::value:
          if (token == ']' && state_ == State::first_or_end) {
            state_ = State::after;
            blocks_.take(1);
            break;
          }
          if (at_end) return malformed("the array breaks off");
          if (token == ',' || token == ']' || token == '}')
            return malformed(fmt::format("'{}' where a record should be", *token));
          state_ = State::comma_or_end;
          return read_value();
        case State::comma_or_end:
          if (at_end) return malformed("the array breaks off");
          if (token != ',' && token != ']') return malformed("neither ',' nor ']' after a record");
          state_ = token == ',' ? State::value : State::after;
          blocks_.take(1);
          break;
        case State::after:
          if (!at_end) return malformed("something follows the end of the JSON value");
          state_ = State::finished;
          return false;
        case State::finished: return false;
      }
    }
  }

  // Reads one value of any kind: up to its closing bracket or quote, or to a delimiter.
  Result<bool> read_value() {
    record_.clear();
    record_line_ = line_;
    too_long_ = false;
    depth_ = 0;
    in_string_ = escaped_ = false;
    while (true) {
      MSA_ASSIGN(const std::string_view block, blocks_.peek());
      if (block.empty()) {
        if (depth_ > 0 || in_string_) return malformed("the last record breaks off");
        return true;
      }
      bool complete = false;
      const std::string_view piece = block.substr(0, value_length(block, complete));
      too_long_ = too_long_ || piece.size() > context_.max_record_bytes - record_.size();
      if (!too_long_) record_ += piece;
      take(piece);
      if (complete) return true;
    }
  }

  // How much of `block` belongs to the value; `complete` if its end is known.
  size_t value_length(std::string_view block, bool& complete) {
    for (size_t i = 0; i < block.size(); ++i) {
      const char c = block[i];
      if (in_string_) {
        if (!escaped_ && c == '"') in_string_ = false;
        escaped_ = !escaped_ && c == '\\';
        if (in_string_ || depth_ > 0) continue;
        return complete = true, i + 1;
      }
      if (c == '"') {
        in_string_ = true;
      } else if (c == '{' || c == '[') {
        ++depth_;
      } else if (depth_ > 0) {
        if ((c == '}' || c == ']') && --depth_ == 0) return complete = true, i + 1;
      } else if (c == ',' || c == ']' || c == '}' || kJsonSpace.find(c) != std::string_view::npos) {
        return complete = true, i;
      }
    }
    return block.size();
  }

  const ReadContext& context_;
  BlockReader blocks_;
  State state_ = State::start;
  bool in_array_ = false;
  uint64_t index_ = 0, line_ = 1;

  // The record being read.
  std::string record_;
  uint64_t record_line_ = 1, depth_ = 0;
  bool too_long_ = false, in_string_ = false, escaped_ = false;
};

}  // namespace

std::unique_ptr<FileReader> make_json_reader(const ReadContext& context, ByteSource& bytes) {
  return std::make_unique<JsonReader>(context, bytes);
}

}  // namespace msa
