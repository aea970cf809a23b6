#include "trainer/format.h"

#include <fmt/format.h>

#include <cmath>
#include <optional>

namespace msa::trainer {

std::string duration_text(double seconds) {
  if (!(seconds < 1e9)) return "a long time";
  if (seconds < 60) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<uint64_t>(std::llround(seconds));
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
}

std::string count_text(double count) {
  if (count < 1000) return fmt::format("{:.0f}", count);
  if (count < 1e5) return fmt::format("{:.1f}k", count / 1e3);
  if (count < 1e6) return fmt::format("{:.0f}k", count / 1e3);
  if (count < 1e9) return fmt::format("{:.1f}M", count / 1e6);
  return fmt::format("{:.2f}G", count / 1e9);
}

std::string bytes_text(uint64_t bytes) {
  const auto count = static_cast<double>(bytes);
  if (bytes < uint64_t{1} << 30) return fmt::format("{:.0f} MiB", count / 0x1p20);
  return fmt::format("{:.1f} GiB", count / 0x1p30);
}

std::string progress_text(const train::TrainProgress& p) {
  return fmt::format(
      "{:3.0f}% {}: step {}, loss {:.3f}, aux {:.3f}, recall@1 {:.1f}%, {} tokens/s, "
      "{} left",
      std::floor(100 * p.done), p.phase, p.step, p.loss, p.aux_loss, 100 * p.recall_at_1,
      count_text(p.tokens_per_second), duration_text(p.seconds_left));
}

std::string evaluation_text(const train::LogRecord& record) {
  std::string text =
      fmt::format("evaluation after step {}: loss {:.3f}", record.step, record.metrics.loss);
  const auto add = [&](const char* name, const std::optional<double>& value) {
    if (value) text += fmt::format(", {} {:.1f}%", name, 100 * *value);
  };
  add("recall@1", record.metrics.recall_at_1);
  add("recall@5", record.metrics.recall_at_5);
  add("whole numbers", record.metrics.numbers_right);
  add("whole answers", record.metrics.answers_right);
  return text;
}

}  // namespace msa::trainer
