// Outcomes added up: one row per memory size, mode and kind of question.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "eval/evaluate.h"
#include "eval/exam.h"

namespace msa::eval {

inline constexpr std::string_view kAllKinds = "all";
inline constexpr std::string_view kMeanOfKinds = "mean of kinds";

// Means over questions, from 0 to 1; times in milliseconds.
struct Summary {
  uint32_t size = 0, mode = 0;  // indices into EvalReport
  std::string kind;             // or kAllKinds, or kMeanOfKinds: the mean of the kinds' means
  uint64_t questions = 0, errors = 0;
  double accuracy = 0, accuracy_error = 0;  // the second: one standard error of the first
  double exact = 0, f1 = 0, contains = 0, values = 0;
  double route_first = 0, route_k = 0, routed = 0;
  std::optional<double> routed_later;
  double injected_first = 0, injected_all = 0, rounds = 0;
  double total_ms_p50 = 0, total_ms_p95 = 0, first_token_ms_p50 = 0;
};
struct KeywordSummary {
  uint32_t size = 0;
  std::string kind;
  uint64_t questions = 0;
  double first = 0, in_16 = 0, all_in_16 = 0;
};

// By size, then mode; the kinds by name, then, if there are several, kMeanOfKinds and kAllKinds.
std::vector<Summary> summarise(const Exam& exam, const EvalReport& report);
std::vector<KeywordSummary> summarise_keywords(const Exam& exam, const EvalReport& report);

// The smallest value that at least `share` of the values do not exceed; 0 for no values.
double percentile(std::vector<double> values, double share);

}  // namespace msa::eval
