#include "eval/summary.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <span>
#include <utility>

namespace msa::eval {
namespace {

template <class T>
using Group = std::vector<const T*>;

template <class T>
double mean(const Group<T>& group, const std::function<double(const T&)>& value) {
  double sum = 0;
  for (const T* item : group) sum += value(*item);
  return group.empty() ? 0 : sum / static_cast<double>(group.size());
}

Summary summary_of(const Group<Outcome>& group, std::string kind) {
  const auto mean_of = [&](const std::function<double(const Outcome&)>& value) {
    return mean<Outcome>(group, value);
  };
  Summary s;
  s.size = group.front()->size;
  s.mode = group.front()->mode;
  s.kind = std::move(kind);
  s.questions = group.size();
  s.accuracy = mean_of([](const Outcome& o) { return o.score.accuracy; });
  if (group.size() > 1) {
    const double spread = mean_of([&](const Outcome& o) {
      return (o.score.accuracy - s.accuracy) * (o.score.accuracy - s.accuracy);
    });
    s.accuracy_error = std::sqrt(spread / static_cast<double>(group.size() - 1));
  }
  s.exact = mean_of([](const Outcome& o) { return o.score.exact; });
  s.f1 = mean_of([](const Outcome& o) { return o.score.f1; });
  s.contains = mean_of([](const Outcome& o) { return o.score.contains; });
  s.values = mean_of([](const Outcome& o) { return o.score.values; });
  s.route_first = mean_of([](const Outcome& o) { return o.retrieval.route_first; });
  s.route_k = mean_of([](const Outcome& o) { return o.retrieval.route_k; });
  s.routed = mean_of([](const Outcome& o) { return o.retrieval.routed; });
  s.injected_first = mean_of([](const Outcome& o) { return o.retrieval.injected_first; });
  s.injected_all = mean_of([](const Outcome& o) { return o.retrieval.injected_all; });
  s.rounds = mean_of([](const Outcome& o) { return static_cast<double>(o.rounds); });
  double later = 0;
  uint64_t with_later = 0;
  std::vector<double> total, first_token;
  for (const Outcome* o : group) {
    if (o->retrieval.routed_later) later += *o->retrieval.routed_later, ++with_later;
    if (!o->error.empty()) {
      ++s.errors;
      continue;
    }
    total.push_back(o->total_ms);
    first_token.push_back(o->first_token_ms);
  }
  if (with_later > 0) s.routed_later = later / static_cast<double>(with_later);
  s.total_ms_p50 = percentile(total, 0.5);
  s.total_ms_p95 = percentile(total, 0.95);
  s.first_token_ms_p50 = percentile(first_token, 0.5);
  return s;
}

// Times are those of all questions: there is no kind whose percentile this would be.
Summary mean_of_kinds(std::span<const Summary> kinds, const Summary& all) {
  Summary s = all;
  s.kind = kMeanOfKinds;
  const auto average = [&](double Summary::*field) {
    double sum = 0;
    for (const Summary& kind : kinds) sum += kind.*field;
    s.*field = sum / static_cast<double>(kinds.size());
  };
  for (const auto field :
       {&Summary::accuracy, &Summary::exact, &Summary::f1, &Summary::contains, &Summary::values,
        &Summary::route_first, &Summary::route_k, &Summary::routed, &Summary::injected_first,
        &Summary::injected_all, &Summary::rounds})
    average(field);
  double variance = 0, later = 0;
  uint64_t with_later = 0;
  for (const Summary& kind : kinds) {
    variance += kind.accuracy_error * kind.accuracy_error;
    if (kind.routed_later) later += *kind.routed_later, ++with_later;
  }
  s.accuracy_error = std::sqrt(variance) / static_cast<double>(kinds.size());
  if (with_later > 0) s.routed_later = later / static_cast<double>(with_later);
  return s;
}

}  // namespace

double percentile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  const double rank = std::ceil(share * static_cast<double>(values.size()));
  const auto at =
      static_cast<size_t>(std::clamp(rank, 1.0, static_cast<double>(values.size()))) - 1;
  std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(at));
  return values[at];
}

std::vector<Summary> summarise(const Exam& exam, const EvalReport& report) {
  std::map<std::pair<uint32_t, uint32_t>, std::map<std::string, Group<Outcome>>> groups;
  for (const Outcome& outcome : report.outcomes)
    groups[{outcome.size, outcome.mode}][exam.questions[outcome.question].kind].push_back(&outcome);
  std::vector<Summary> rows;
  for (const auto& [at, kinds] : groups) {
    const size_t first = rows.size();
    Group<Outcome> all;
    for (const auto& [kind, group] : kinds) {
      all.insert(all.end(), group.begin(), group.end());
      if (kinds.size() > 1) rows.push_back(summary_of(group, kind));
    }
    const Summary total = summary_of(all, std::string(kAllKinds));
    if (kinds.size() > 1) rows.push_back(mean_of_kinds(std::span(rows).subspan(first), total));
    rows.push_back(total);
  }
  return rows;
}

std::vector<KeywordSummary> summarise_keywords(const Exam& exam, const EvalReport& report) {
  std::map<uint32_t, std::map<std::string, Group<KeywordOutcome>>> groups;
  for (const KeywordOutcome& outcome : report.keyword)
    groups[outcome.size][exam.questions[outcome.question].kind].push_back(&outcome);
  const auto row = [](const Group<KeywordOutcome>& group, std::string kind) {
    KeywordSummary s;
    s.size = group.front()->size;
    s.kind = std::move(kind);
    s.questions = group.size();
    s.first = mean<KeywordOutcome>(group, [](const KeywordOutcome& o) { return o.first; });
    s.in_16 = mean<KeywordOutcome>(group, [](const KeywordOutcome& o) { return o.in_16; });
    s.all_in_16 = mean<KeywordOutcome>(group, [](const KeywordOutcome& o) { return o.all_in_16; });
    return s;
  };
  std::vector<KeywordSummary> rows;
  for (const auto& [size, kinds] : groups) {
    Group<KeywordOutcome> all;
    for (const auto& [kind, group] : kinds) {
      all.insert(all.end(), group.begin(), group.end());
      if (kinds.size() > 1) rows.push_back(row(group, kind));
    }
    rows.push_back(row(all, std::string(kAllKinds)));
  }
  return rows;
}

}  // namespace msa::eval
