#include "cli/questions.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <optional>
#include <system_error>

#include "cli/format.h"
#include "cli/progress.h"

namespace msa::cli {
namespace {

constexpr size_t kMaxLineBytes = 4 << 20;

// A file's lines one at a time. Lines can come slowly (a pipe), so each is handed out as soon as it
// is complete.
class LineReader {
 public:
  struct Line {
    std::string text;
    bool too_long = false;  // text is then empty
  };

  static Result<LineReader> open(const std::string& path) {
    LineReader reader;
    reader.name_ = path == "-" ? "standard input" : path;
    reader.fd_.number =
        path == "-" ? ::dup(STDIN_FILENO) : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (reader.fd_.number < 0)
      return Error{errno == ENOENT || errno == ENOTDIR ? Code::not_found
                   : errno == EACCES                   ? Code::permission
                                                       : Code::io,
                   fmt::format("{}: cannot be opened: {}", reader.name_,
                               std::generic_category().message(errno))};
    return reader;
  }

  // Nothing at the end. A last line without line feed counts.
  Result<std::optional<Line>> next() {
    Line line;
    while (true) {
      if (const size_t end = buffer_.find('\n', searched_); end != std::string::npos) {
        if (!line.too_long) line.text = buffer_.substr(0, end);
        buffer_.erase(0, end + 1);
        searched_ = 0;
        return std::optional(std::move(line));
      }
      searched_ = buffer_.size();
      if (buffer_.size() > kMaxLineBytes) {
        line.too_long = true;
        buffer_.clear();
        searched_ = 0;
      }
      char bytes[1 << 14];
      const ssize_t got = ::read(fd_.number, bytes, sizeof bytes);
      if (got < 0) {
        if (errno == EINTR) continue;
        return Error{Code::io, fmt::format("{}: cannot be read: {}", name_,
                                           std::generic_category().message(errno))};
      }
      if (got == 0) {
        if (buffer_.empty() && !line.too_long) return std::optional<Line>();
        line.text = std::exchange(buffer_, {});
        if (line.too_long) line.text.clear();
        searched_ = 0;
        return std::optional(std::move(line));
      }
      buffer_.append(bytes, static_cast<size_t>(got));
    }
  }

  const std::string& name() const { return name_; }

 private:
  struct Descriptor {
    int number = -1;
    Descriptor() = default;
    Descriptor(Descriptor&& other) noexcept : number(std::exchange(other.number, -1)) {}
    ~Descriptor() {
      if (number >= 0) ::close(number);
    }
  };
  Descriptor fd_;
  std::string name_, buffer_;
  size_t searched_ = 0;  // bytes of the buffer known to hold no line feed
};

}  // namespace

Result<Question> parse_question(std::string_view line) {
  const Json record = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (record.is_discarded()) return Error{Code::invalid_argument, "is not valid JSON"};
  if (!record.is_object())
    return Error{Code::invalid_argument, "is no JSON object with \"id\" and \"question\""};
  const auto id = record.find("id");
  if (id == record.end() || !(id->is_string() || id->is_number()))
    return Error{Code::invalid_argument, "has no \"id\" that is a string or a number"};
  const auto question = record.find("question");
  if (question == record.end() || !question->is_string())
    return Error{Code::invalid_argument, "has no \"question\" that is a string"};
  return Question{*id, question->get<std::string>()};
}

Result<ExitCode> answer_questions(Session& session, const std::string& path,
                                  const std::function<Result<Json>(const Question&)>& answer) {
  MSA_ASSIGN(LineReader lines, LineReader::open(path));
  Progress progress(session.console);
  uint64_t number = 0, answered = 0, failed = 0;
  const auto start = std::chrono::steady_clock::now();
  const auto fail = [&](std::string_view what) {
    session.console.error(fmt::format("{}:{}: {}", lines.name(), number, what));
    ++failed;
  };
  while (session.out.ok()) {
    MSA_ASSIGN(std::optional<LineReader::Line> line, lines.next());
    if (!line) break;
    ++number;
    if (line->too_long) {
      fail(fmt::format("the line is longer than {} bytes", kMaxLineBytes));
      continue;
    }
    std::string_view text = line->text;
    if (number == 1 && text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // byte order mark
    if (text.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const Result<Question> question = parse_question(text);
    if (!question) {
      fail(question.error().message);
      continue;
    }
    const Result<Json> result = answer(*question);
    if (!result) {
      if (result.error().code == Code::cancelled) return result.error();
      fail(result.error().message);
      continue;
    }
    Json record = {{"id", question->id}};
    record.update(*result);
    session.out.write(dump(record) + "\n");
    session.out.flush();
    ++answered;
    progress.update([&] {
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      ProgressState state;
      state.doing = "answering";
      state.facts = {counted(answered, "question", "questions"),
                     format_duration(seconds.count() / static_cast<double>(answered)) + " each"};
      return state;
    });
  }
  return failed > 0 ? ExitCode::rejected_input : ExitCode::ok;
}

}  // namespace msa::cli
