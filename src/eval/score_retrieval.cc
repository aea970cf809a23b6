#include "eval/score_retrieval.h"

#include <algorithm>
#include <unordered_map>

namespace msa::eval {
namespace {

// The first `limit` documents of a ranking, passages of one document counted once each.
Documents first_of(const Routing& routing, const DocumentIds& ids, size_t limit) {
  Documents found;
  for (size_t i = 0; i < std::min(limit, routing.ranking.size()); ++i)
    found.insert(ids.find(routing.ranking[i].id));
  return found;
}

}  // namespace

double share_of(const std::vector<uint32_t>& wanted, const Documents& found) {
  const auto hits = std::ranges::count_if(wanted, [&](uint32_t d) { return found.contains(d); });
  return static_cast<double>(hits) / static_cast<double>(wanted.size());
}

std::vector<uint32_t> all_steps(const ExamQuestion& question) {
  std::vector<uint32_t> documents;
  for (const std::vector<uint32_t>& step : question.steps)
    documents.insert(documents.end(), step.begin(), step.end());
  return documents;
}

RetrievalScore score_retrieval(const ExamQuestion& question, const Answer& answer,
                               const DocumentIds& ids, size_t k) {
  RetrievalScore score;
  const std::vector<uint32_t>& first_step = question.steps.front();
  const Documents best = first_of(answer.routing, ids, 1);
  score.route_first =
      std::ranges::any_of(first_step, [&](uint32_t d) { return best.contains(d); }) ? 1 : 0;
  score.route_k = share_of(first_step, first_of(answer.routing, ids, k));
  score.routed = share_of(first_step, first_of(answer.routing, ids, SIZE_MAX));
  if (question.steps.size() > 1) {
    double sum = 0;
    for (size_t s = 1; s < question.steps.size(); ++s)
      if (s < answer.rounds.size())
        sum += share_of(question.steps[s], first_of(answer.rounds[s].routing, ids, SIZE_MAX));
    score.routed_later = sum / static_cast<double>(question.steps.size() - 1);
  }

  std::unordered_map<uint32_t, uint64_t> by_number;
  for (const Citation& citation : answer.citations)
    by_number.emplace(citation.number, ids.find(citation.id));
  Documents first, all;
  for (size_t r = 0; r < answer.rounds.size(); ++r) {
    for (const uint32_t number : answer.rounds[r].numbers) {
      const auto at = by_number.find(number);
      if (at == by_number.end()) continue;
      all.insert(at->second);
      if (r == 0) first.insert(at->second);
    }
  }
  score.injected_first = share_of(first_step, first);
  score.injected_all = share_of(all_steps(question), all);
  return score;
}

}  // namespace msa::eval
