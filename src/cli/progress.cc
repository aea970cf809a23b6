#include "cli/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cli/format.h"
#include "cli/text_layout.h"

namespace msa::cli {
namespace {

constexpr size_t kMinBar = 10, kMaxBar = 40;

std::optional<double> valid_fraction(const ProgressState& state) {
  if (!state.fraction || !std::isfinite(*state.fraction)) return std::nullopt;
  return std::clamp(*state.fraction, 0.0, 1.0);
}

// Rounded down: 100% is said when it is true.
int whole_percent(double fraction) {
  return static_cast<int>(std::floor(fraction * 100));
}

std::string bar(double fraction, size_t width, bool unicode) {
  const auto full = static_cast<size_t>(fraction * static_cast<double>(width));
  std::string text;
  for (size_t i = 0; i < width; ++i)
    text += i < full ? (unicode ? "█" : "#") : (unicode ? "░" : ".");
  return text;
}

}  // namespace

std::string render_bar(const ProgressState& state, size_t width, bool unicode) {
  const std::optional<double> fraction = valid_fraction(state);
  std::string head = state.doing, tail;
  if (fraction) tail += fmt::format("  {:3}%", whole_percent(*fraction));
  if (state.seconds_left) tail += fmt::format("  {} left", format_duration(*state.seconds_left));
  const size_t bar_room = fraction ? 1 + kMinBar : 0;
  for (const std::string& fact : state.facts) {
    if (display_width(head) + bar_room + display_width(tail) + 2 + display_width(fact) > width)
      break;
    tail += fmt::format("  {}", fact);
  }
  const size_t used = display_width(head) + display_width(tail);
  if (fraction && used + bar_room <= width)
    head += fmt::format(" {}", bar(*fraction, std::min(kMaxBar, width - used - 1), unicode));
  return fit(head + tail, width);
}

std::string render_plain(const ProgressState& state) {
  std::string text = state.doing + ":";
  if (const std::optional<double> fraction = valid_fraction(state))
    text += fmt::format(" {}%,", whole_percent(*fraction));
  for (const std::string& fact : state.facts) text += fmt::format(" {},", fact);
  if (state.seconds_left) text += fmt::format(" {} left,", format_duration(*state.seconds_left));
  text.pop_back();
  return text;
}

ProgressState describe(const EncodeProgress& progress) {
  ProgressState state;
  state.doing = "encoding";
  const DocumentCounts& input = progress.input;
  if (input.bytes_total > 0)
    state.fraction = static_cast<double>(input.bytes_read) / static_cast<double>(input.bytes_total);
  state.facts.push_back(counted(progress.documents, "document", "documents"));
  state.facts.push_back(format_rate(progress.tokens_per_second) + " tokens/s");
  state.facts.push_back(counted(progress.tokens, "token", "tokens"));
  if (progress.already_there > 0)
    state.facts.push_back(format_count(progress.already_there) + " already there");
  state.seconds_left = progress.seconds_left;
  return state;
}

void Progress::update(const std::function<ProgressState()>& state) {
  const bool interactive = console_.terminal().interactive;
  const auto now = clock_();
  if (shown_ && now - *shown_ < (interactive ? kRedraw : kPlainLine)) return;
  shown_ = now;
  if (interactive)
    console_.status(
        render_bar(state(), console_.terminal().width() - 1, console_.terminal().unicode));
  else
    console_.line(render_plain(state()));
}

}  // namespace msa::cli
