// The log of a run: one JSON object per line (docs/training.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "msa/result.h"

namespace msa::train {

// Means over some batches. What no batch had labels for is not there.
struct Metrics {
  double loss = 0;
  std::optional<double> lm_loss, aux_loss;
  // Of the batches that aux_loss is the mean of: the loss is lm_weight * lm_loss + aux_weight *
  // routed_share * aux_loss.
  std::optional<double> routed_share;
  std::optional<double> number_loss, answer_loss, text_loss;
  std::optional<double> number_accuracy, answer_accuracy, numbers_right, answers_right;
  std::optional<double> recall_at_1, recall_at_5, recall_at_k;
};

struct LogRecord {
  bool evaluation = false;  // of held-out batches: only the fields up to `metrics` count
  uint64_t step = 0;        // steps done
  std::string phase;
  uint64_t tokens = 0;                          // trained on so far
  Metrics metrics;                              // since the record before
  double learning_rate = 0, gradient_norm = 0;  // of the last step; mean
  double tokens_per_second = 0;
  uint64_t resident_bytes = 0;
  double seconds = 0;  // of training, all sessions together
  uint64_t skipped_steps = 0;
  uint64_t samples_skipped = 0;  // too long, of all that were drawn so far
};

std::string write_log_record(const LogRecord& record);  // without the line break
Result<LogRecord> parse_log_record(std::string_view line, std::string_view where);

// All records of a log. A last line without a line break is one that was being written: it is left
// out.
Result<std::vector<LogRecord>> read_log(const std::filesystem::path& file);

// Appends records; move-only.
class LogFile {
 public:
  // Starts a log, or goes on with one, of which the records after step `keep` are dropped.
  static Result<LogFile> create(const std::filesystem::path& file);
  static Result<LogFile> resume(const std::filesystem::path& file, uint64_t keep);
  LogFile(LogFile&& other) noexcept;
  LogFile& operator=(LogFile&&) = delete;
  ~LogFile();

  Result<void> append(const LogRecord& record);

 private:
  LogFile(std::filesystem::path file, int fd) : file_(std::move(file)), fd_(fd) {}
  static Result<LogFile> open(const std::filesystem::path& file, int flags);

  std::filesystem::path file_;
  int fd_ = -1;
};

}  // namespace msa::train
