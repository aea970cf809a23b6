#include "approximate/recall.h"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <set>
#include <utility>

#include "kernels/compressed_keys.h"

namespace msa {
namespace {

using Clock = std::chrono::steady_clock;

// Folded queries are routed as queries of one head for each key/value head: scores are then those
// of the question's own heads times a constant, which changes no order.
RouteRule folded_rule(const Snapshot& snapshot, size_t head_dim) {
  RouteRule rule;
  size_t width = head_dim;
  for (const SegmentView& segment : snapshot.segments)
    if (!segment.layers.empty()) width = segment.layers.front().keys.cols;
  rule.head_dim = head_dim;
  rule.query_heads = rule.kv_heads = width / head_dim;
  rule.cosine = false;
  return rule;
}

}  // namespace

// Some of the questions, and what the exact scan finds for them.
struct RecallTest::Half {
  std::vector<RouteQuery> questions;
  std::vector<std::set<uint32_t>> documents;
  double seconds = 0;  // of the exact scan, per question
};

RecallTest::RecallTest(Backend& backend, std::shared_ptr<const Snapshot> snapshot, size_t head_dim,
                       std::shared_ptr<BankIndex> index)
    : backend_(backend),
      snapshot_(std::move(snapshot)),
      index_(std::move(index)),
      exact_(backend, snapshot_, folded_rule(*snapshot_, head_dim), kRecallAt),
      approximate_(backend, snapshot_, folded_rule(*snapshot_, head_dim), kRecallAt, index_) {
  for (const SegmentView& segment : snapshot_->segments)
    if (!segment.layers.empty()) {
      const ConstAnyMat& keys = segment.layers.front().keys;
      row_bytes_ = static_cast<double>(keys.cols * size_of(keys.dtype));
    }
  all_chunks_ = static_cast<double>(snapshot_->chunks);
}

Result<void> RecallTest::find_exactly(size_t layer, Half& half) {
  const int layer_in_model = snapshot_->router_layers[layer];
  const auto start = Clock::now();
  for (const RouteQuery& question : half.questions) {
    MSA_ASSIGN(const auto choices, exact_.choose(layer_in_model, std::span(&question, 1)));
    std::set<uint32_t>& documents = half.documents.emplace_back();
    for (const RouteHit& hit : choices.front().hits) documents.insert(hit.number);
  }
  half.seconds = std::chrono::duration<double>(Clock::now() - start).count() /
                 static_cast<double>(std::max<size_t>(half.questions.size(), 1));
  return {};
}

Result<RecallTest::Outcome> RecallTest::run(size_t layer, const Half& half) {
  const int layer_in_model = snapshot_->router_layers[layer];
  // Chunks that the index does not know are read by either.
  const double unknown = all_chunks_ - static_cast<double>(index_->known_chunks(*snapshot_));
  Outcome sum;
  const auto start = Clock::now();
  for (size_t q = 0; q < half.questions.size(); ++q) {
    MSA_ASSIGN(const auto choices,
               approximate_.choose(layer_in_model, std::span(&half.questions[q], 1)));
    size_t found = 0;
    for (const RouteHit& hit : choices.front().hits) found += half.documents[q].count(hit.number);
    sum.recall += static_cast<double>(found) /
                  static_cast<double>(std::max<size_t>(half.documents[q].size(), 1));
    sum.bytes += static_cast<double>(index_->last_cost(layer).bytes) +
                 row_bytes_ * (unknown + static_cast<double>(choices.front().rescored_chunks));
  }
  sum.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  const auto count = static_cast<double>(half.questions.size());
  return Outcome{sum.recall / count, sum.bytes / count, sum.seconds / count};
}

Result<LayerMeasure> RecallTest::tune(size_t layer, const FoldedQuestions& questions, double recall,
                                      std::stop_token stop) {
  assert(questions.questions.size() >= 2);
  Half choosing, measuring;
  for (size_t q = 0; q < questions.questions.size(); ++q) {
    const std::vector<float>& values = questions.questions[q];
    Half& half = q < questions.questions.size() / 2 ? choosing : measuring;
    half.questions.push_back(
        {{values.data(), values.size() / questions.width, questions.width}, kRecallAt});
  }
  for (Half* half : {&choosing, &measuring}) MSA_TRY(find_exactly(layer, *half));

  const size_t lists = index_->catalogue().lists;
  size_t candidates = index_->catalogue().layers[layer].candidates;
  const auto reaches = [&](size_t probes) -> Result<bool> {
    if (stop.stop_requested())
      return Error{Code::cancelled, "memory index: stopped; the bank is as it was"};
    index_->set_effort(layer, probes, candidates);
    MSA_ASSIGN(const Outcome outcome, run(layer, choosing));
    return outcome.recall >= recall;
  };
  // More candidates only where looking into every list is not enough: that is what coding loses.
  size_t high = 1;
  while (true) {
    MSA_ASSIGN(const bool enough, reaches(high));
    if (enough) break;
    if (high < lists) {
      high = std::min(2 * high, lists);
    } else if (candidates < kCandidatesPerHit) {
      candidates *= 2;
      high = 1;
    } else {
      break;
    }
  }
  // Not enough with `low`, which was tried, or is none.
  size_t low = high / 2;
  while (high - low > std::max<size_t>(high / 16, 1)) {
    const size_t middle = low + (high - low) / 2;
    MSA_ASSIGN(const bool enough, reaches(middle));
    (enough ? high : low) = middle;
  }
  index_->set_effort(layer, high, candidates);
  MSA_ASSIGN(const Outcome outcome, run(layer, measuring));
  LayerMeasure measure;
  measure.file = index_->catalogue().layers[layer];
  measure.file.recall = outcome.recall;
  measure.question_bytes = outcome.bytes;
  measure.question_seconds = outcome.seconds;
  measure.exact_bytes = row_bytes_ * all_chunks_;
  measure.exact_seconds = measuring.seconds;
  return measure;
}

}  // namespace msa
