#include "cli/suggest.h"

#include <algorithm>

namespace msa::cli {

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

std::string suggest(std::string_view word, const std::vector<std::string>& candidates) {
  // Nobody mistypes a name of that length; the table below would be large for nothing.
  if (word.empty() || word.size() > 64) return {};
  std::string best;
  size_t best_distance = std::max<size_t>(1, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    size_t distance = edit_distance(word, candidate);
    // A beginning of at least three letters is a good guess whatever is missing.
    if (word.size() >= 3 && candidate.starts_with(word)) distance = 1;
    if (distance < best_distance) best = candidate, best_distance = distance;
  }
  return best;
}

}  // namespace msa::cli
