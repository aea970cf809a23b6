#include "train/loop/log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <functional>
#include <span>
#include <system_error>
#include <utility>

#include "base/files.h"
#include "train/loop/json_section.h"

namespace msa::train {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxLogBytes = size_t{1} << 30;
constexpr double kMost = 1e300;

// Ordered, so that lines read alike.
using OrderedJson = nlohmann::ordered_json;

// Six significant digits say all that a curve shows.
double rounded(double value) {
  if (value == 0 || !std::isfinite(value)) return value;
  const double unit = std::pow(10.0, std::floor(std::log10(std::abs(value))) - 5);
  return unit < 1 ? std::round(value / unit) / std::round(1 / unit) : std::round(value);
}

struct Field {
  const char* name;
  std::optional<double> Metrics::*value;
};
constexpr Field kFields[] = {{"lm_loss", &Metrics::lm_loss},
                             {"aux_loss", &Metrics::aux_loss},
                             {"routed_share", &Metrics::routed_share},
                             {"number_loss", &Metrics::number_loss},
                             {"answer_loss", &Metrics::answer_loss},
                             {"text_loss", &Metrics::text_loss},
                             {"number_accuracy", &Metrics::number_accuracy},
                             {"answer_accuracy", &Metrics::answer_accuracy},
                             {"numbers_right", &Metrics::numbers_right},
                             {"answers_right", &Metrics::answers_right},
                             {"recall_at_1", &Metrics::recall_at_1},
                             {"recall_at_5", &Metrics::recall_at_5},
                             {"recall_at_k", &Metrics::recall_at_k}};

void add_metrics(OrderedJson& json, const Metrics& metrics) {
  json["loss"] = rounded(metrics.loss);
  for (const auto& [name, value] : kFields)
    if (metrics.*value) json[name] = rounded(*(metrics.*value));
}

// A number that was not finite stands in the log as null, which counts as absent.
Result<Metrics> read_metrics(const JsonSection& section) {
  Metrics metrics;
  MSA_ASSIGN(metrics.loss, section.real("loss", -kMost, kMost, std::nan("")));
  for (const auto& [name, value] : kFields)
    if (section.has(name)) {
      MSA_ASSIGN(metrics.*value, section.real(name, -kMost, kMost));
    }
  return metrics;
}

// Every whole line of a log and what it says.
Result<void> for_each_record(const fs::path& file, std::string_view text,
                             const std::function<void(std::string_view, LogRecord)>& visit) {
  size_t number = 0;
  for (size_t start = 0; start < text.size();) {
    const size_t end = text.find('\n', start);
    if (end == text.npos) break;
    const std::string_view line = text.substr(start, end - start);
    start = end + 1;
    ++number;
    if (line.empty()) continue;
    MSA_ASSIGN(LogRecord record,
               parse_log_record(line, fmt::format("{}:{}", file.string(), number)));
    visit(line, std::move(record));
  }
  return {};
}

Result<void> write_all(int fd, std::string_view text, const fs::path& file) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return system_error("writing", file, errno);
    text.remove_prefix(static_cast<size_t>(written));
  }
  return {};
}

}  // namespace

std::string write_log_record(const LogRecord& record) {
  OrderedJson json;
  json["step"] = record.step;
  json["phase"] = record.phase;
  json["tokens"] = record.tokens;
  if (record.evaluation) {
    OrderedJson metrics;
    add_metrics(metrics, record.metrics);
    json["eval"] = std::move(metrics);
  } else {
    add_metrics(json, record.metrics);
    json["learning_rate"] = rounded(record.learning_rate);
    json["gradient_norm"] = rounded(record.gradient_norm);
    json["tokens_per_second"] = rounded(record.tokens_per_second);
    json["resident_bytes"] = record.resident_bytes;
    json["seconds"] = rounded(record.seconds);
    json["skipped_steps"] = record.skipped_steps;
    json["samples_skipped"] = record.samples_skipped;
  }
  return json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

Result<LogRecord> parse_log_record(std::string_view line, std::string_view where) {
  const fs::path place(where);
  MSA_ASSIGN(const Json json, parse_strict_json(line, place));
  if (!json.is_object())
    return Error{Code::corrupt, fmt::format("{}: is not a JSON object; give the log.jsonl of a "
                                            "training run",
                                            where)};
  const JsonSection section(place, "", json);
  LogRecord record;
  MSA_ASSIGN(record.step, section.whole("step", 0, UINT64_MAX));
  MSA_ASSIGN(record.phase, section.text("phase"));
  MSA_ASSIGN(record.tokens, section.whole("tokens", 0, UINT64_MAX));
  record.evaluation = section.has("eval");
  if (record.evaluation) {
    MSA_ASSIGN(record.metrics, read_metrics(section.section("eval")));
    return record;
  }
  MSA_ASSIGN(record.metrics, read_metrics(section));
  MSA_ASSIGN(record.learning_rate, section.real("learning_rate", 0, kMost, 0));
  MSA_ASSIGN(record.gradient_norm, section.real("gradient_norm", 0, kMost, 0));
  MSA_ASSIGN(record.tokens_per_second, section.real("tokens_per_second", 0, kMost, 0));
  MSA_ASSIGN(record.resident_bytes, section.whole("resident_bytes", 0, UINT64_MAX, 0));
  MSA_ASSIGN(record.seconds, section.real("seconds", 0, kMost, 0));
  MSA_ASSIGN(record.skipped_steps, section.whole("skipped_steps", 0, UINT64_MAX, 0));
  MSA_ASSIGN(record.samples_skipped, section.whole("samples_skipped", 0, UINT64_MAX, 0));
  return record;
}

Result<std::vector<LogRecord>> read_log(const fs::path& file) {
  std::vector<LogRecord> records;
  MSA_ASSIGN(const std::string text, read_file(file, kMaxLogBytes));
  MSA_TRY(for_each_record(file, text, [&](std::string_view, LogRecord record) {
    records.push_back(std::move(record));
  }));
  return records;
}

Result<LogFile> LogFile::open(const fs::path& file, int flags) {
  const int fd = ::open(file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | flags, 0666);
  if (fd < 0) return system_error("opening", file, errno);
  return LogFile(file, fd);
}

Result<LogFile> LogFile::create(const fs::path& file) {
  return open(file, O_TRUNC);
}

Result<LogFile> LogFile::resume(const fs::path& file, uint64_t keep) {
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return open(file, 0);
  MSA_ASSIGN(const std::string text, read_file(file, kMaxLogBytes));
  std::string kept;
  MSA_TRY(for_each_record(file, text, [&](std::string_view line, const LogRecord& record) {
    if (record.step <= keep) kept.append(line).append("\n");
  }));
  MSA_ASSIGN(AtomicFileWriter writer, AtomicFileWriter::create(file));
  MSA_TRY(writer.write(std::as_bytes(std::span(kept.data(), kept.size()))));
  MSA_TRY(writer.commit());
  return open(file, 0);
}

LogFile::LogFile(LogFile&& other) noexcept
    : file_(std::move(other.file_)), fd_(std::exchange(other.fd_, -1)) {}

LogFile::~LogFile() {
  if (fd_ >= 0) ::close(fd_);
}

Result<void> LogFile::append(const LogRecord& record) {
  return write_all(fd_, write_log_record(record) + "\n", file_);
}

}  // namespace msa::train
