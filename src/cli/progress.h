// Progress of long work: a bar on a terminal, a line every few seconds elsewhere.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/output.h"
#include "msa/msa.h"

namespace msa::cli {

struct ProgressState {
  std::string doing;               // "encoding"
  std::optional<double> fraction;  // 0 to 1, where the end is known
  std::vector<std::string> facts;  // the most important one first
  std::optional<double> seconds_left;
};

// One line of at most `width` columns: what is done, a bar, per cent, time left and as many facts
// as fit.
std::string render_bar(const ProgressState& state, size_t width, bool unicode);
// The same in words.
std::string render_plain(const ProgressState& state);

ProgressState describe(const EncodeProgress& progress);

// Shows the states it is given as often as is useful. Takes the bar away when destroyed.
class Progress {
 public:
  using Clock = std::function<std::chrono::steady_clock::time_point()>;
  static constexpr std::chrono::milliseconds kRedraw{100};
  static constexpr std::chrono::milliseconds kPlainLine{5000};

  explicit Progress(Console& console, Clock clock = &std::chrono::steady_clock::now)
      : console_(console), clock_(std::move(clock)) {}
  ~Progress() { console_.status(""); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `state` is only called when something is about to be shown.
  void update(const std::function<ProgressState()>& state);

 private:
  Console& console_;
  Clock clock_;
  std::optional<std::chrono::steady_clock::time_point> shown_;
};

}  // namespace msa::cli
