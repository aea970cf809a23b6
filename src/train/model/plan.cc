#include "train/model/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <string>
#include <string_view>

namespace msa::train {
namespace {

Error wrong(const std::string& what) {
  return Error{Code::invalid_argument,
               fmt::format("batch: {}; make it with the batcher of this program", what)};
}

// Starts of runs that cover `total` elements, none of them empty.
Result<void> check_starts(const std::vector<int32_t>& starts, size_t total, const char* name) {
  if (starts.empty()) return total == 0 ? Result<void>() : wrong(fmt::format("{} is empty", name));
  if (starts.front() != 0 || static_cast<size_t>(starts.back()) != total)
    return wrong(fmt::format("{} goes from {} to {}, not from 0 to {}", name, starts.front(),
                             starts.back(), total));
  for (size_t i = 1; i < starts.size(); ++i)
    if (starts[i] <= starts[i - 1])
      return wrong(fmt::format("{} has {} after {} at {}", name, starts[i], starts[i - 1], i));
  return {};
}

Result<void> check_size(size_t size, size_t wanted, std::string_view name) {
  if (size == wanted) return {};
  return wrong(fmt::format("{} has {} elements, not {}", name, size, wanted));
}

Result<void> check_tokens(const std::vector<TokenId>& tokens, size_t vocabulary, TokenId lowest,
                          const char* name) {
  for (size_t i = 0; i < tokens.size(); ++i)
    if (tokens[i] < lowest || (tokens[i] >= 0 && static_cast<size_t>(tokens[i]) >= vocabulary))
      return wrong(fmt::format("{}[{}] is {}, the vocabulary has {} entries", name, i, tokens[i],
                               vocabulary));
  return {};
}

// Documents of each query: all[starts[q] .. starts[q + 1]), of the query's group. `name` is what
// they are to it.
Result<void> check_documents(const Batch& batch, const std::vector<int32_t>& starts,
                             const std::vector<int32_t>& all, std::string_view name) {
  const size_t queries = batch.queries(), documents = batch.documents();
  MSA_TRY(check_size(starts.size(), queries + 1, fmt::format("{}_starts", name)));
  if (starts.front() != 0 || static_cast<size_t>(starts.back()) != all.size())
    return wrong(
        fmt::format("{}_starts does not cover the {} elements of {}", name, all.size(), name));
  for (size_t q = 0; q < queries; ++q) {
    const int32_t begin = starts[q], end = starts[q + 1];
    if (end < begin) return wrong(fmt::format("{}_starts falls at query {}", name, q));
    for (int32_t i = begin; i < end; ++i) {
      const int32_t n = all[static_cast<size_t>(i)];
      if (n < 0 || static_cast<size_t>(n) >= documents)
        return wrong(fmt::format("query {} has {} document {} of {}", q, name, n, documents));
      if (batch.doc_group[static_cast<size_t>(n)] != batch.query_group[q])
        return wrong(
            fmt::format("document {} is {} to query {}, but of another group", n, name, q));
    }
  }
  return {};
}

Result<void> check_named(const Batch& batch) {
  if (batch.named.empty()) return {};
  MSA_TRY(check_size(batch.named.size(), batch.queries(), "named"));
  for (size_t q = 0; q < batch.queries(); ++q)
    if (batch.named[q] < -1 || batch.named[q] >= static_cast<int64_t>(batch.documents()))
      return wrong(
          fmt::format("query {} names document {} of {}", q, batch.named[q], batch.documents()));
  return {};
}

Result<void> check(const Batch& batch, const ModelConfig& config) {
  constexpr size_t kMost = std::numeric_limits<int32_t>::max();
  if (batch.prefix.size() > kMost || batch.tokens() > kMost - batch.prefix.size())
    return wrong(fmt::format("{} tokens are more than a step can number", batch.tokens()));
  MSA_TRY(check_starts(batch.doc_starts, batch.doc_tokens.size(), "doc_starts"));
  MSA_TRY(check_starts(batch.query_starts, batch.query_tokens.size(), "query_starts"));
  if (batch.queries() == 0) return wrong("has no query");
  MSA_TRY(check_size(batch.doc_group.size(), batch.documents(), "doc_group"));
  MSA_TRY(check_size(batch.query_group.size(), batch.queries(), "query_group"));
  const size_t tokens = batch.query_tokens.size();
  MSA_TRY(check_size(batch.routes.size(), tokens, "routes"));
  MSA_TRY(check_size(batch.labels.size(), tokens, "labels"));
  MSA_TRY(check_size(batch.label_weights.size(), tokens, "label_weights"));
  MSA_TRY(check_size(batch.label_kinds.size(), tokens, "label_kinds"));
  if (!batch.doc_label_weights.empty())
    MSA_TRY(
        check_size(batch.doc_label_weights.size(), batch.doc_tokens.size(), "doc_label_weights"));
  MSA_TRY(check_tokens(batch.prefix, config.vocabulary, 0, "prefix"));
  MSA_TRY(check_tokens(batch.doc_tokens, config.vocabulary, 0, "doc_tokens"));
  MSA_TRY(check_tokens(batch.query_tokens, config.vocabulary, 0, "query_tokens"));
  MSA_TRY(check_tokens(batch.labels, config.vocabulary, -1, "labels"));
  MSA_TRY(check_documents(batch, batch.relevant_starts, batch.relevant, "relevant"));
  if (!batch.handed_over_starts.empty())
    MSA_TRY(check_documents(batch, batch.handed_over_starts, batch.handed_over, "handed_over"));
  return check_named(batch);
}

void add_sequence(StepPlan& plan, const TokenId* tokens, size_t count, size_t first_position) {
  plan.tokens.insert(plan.tokens.end(), tokens, tokens + count);
  for (size_t i = 0; i < count; ++i)
    plan.positions.push_back(static_cast<int32_t>(first_position + i));
}

void add_chunks(StepPlan& plan, const Batch& batch, size_t chunk_size) {
  plan.chunk_rows = {0};
  plan.doc_chunks = {0};
  for (size_t n = 0; n < batch.documents(); ++n) {
    const auto begin = static_cast<size_t>(batch.doc_starts[n]);
    const auto end = static_cast<size_t>(batch.doc_starts[n + 1]);
    for (size_t row = begin; row < end; row += std::min(chunk_size, end - row))
      plan.chunk_rows.push_back(static_cast<int32_t>(std::min(row + chunk_size, end)));
    plan.doc_chunks.push_back(static_cast<int32_t>(plan.chunk_rows.size()) - 1);
  }
}

void add_routes(StepPlan& plan, const Batch& batch, bool skip_handed_over) {
  const size_t documents = batch.documents();
  plan.routing_runs = {0};
  for (size_t q = 0; q < batch.queries(); ++q) {
    const int32_t group = batch.query_group[q];
    if (group < 0 ||
        std::find(batch.doc_group.begin(), batch.doc_group.end(), group) == batch.doc_group.end())
      continue;
    for (int32_t t = batch.query_starts[q]; t < batch.query_starts[q + 1]; ++t)
      if (batch.routes[static_cast<size_t>(t)])
        plan.routing_rows.push_back(static_cast<int32_t>(plan.prefix) + t);
    const auto end = static_cast<int32_t>(plan.routing_rows.size());
    if (end == plan.routing_runs.back()) continue;
    plan.routing_runs.push_back(end);
    plan.routed.push_back(static_cast<int32_t>(q));
    const size_t row = plan.sees.size();
    for (const int32_t of : batch.doc_group) plan.sees.push_back(of == group);
    if (skip_handed_over && !batch.handed_over_starts.empty())
      for (int32_t i = batch.handed_over_starts[q]; i < batch.handed_over_starts[q + 1]; ++i)
        plan.sees[row + static_cast<size_t>(batch.handed_over[static_cast<size_t>(i)])] = 0;
    plan.is_relevant.resize(row + documents, 0);
    for (int32_t i = batch.relevant_starts[q]; i < batch.relevant_starts[q + 1]; ++i)
      plan.is_relevant[row + static_cast<size_t>(batch.relevant[static_cast<size_t>(i)])] = 1;
  }
}

void add_labels(StepPlan& plan, const Batch& batch) {
  for (size_t t = 0; t < batch.labels.size(); ++t) {
    if (batch.labels[t] < 0 || !(batch.label_weights[t] > 0)) continue;
    plan.label_rows.push_back(plan.prefix + static_cast<int64_t>(t));
    plan.labels.push_back(batch.labels[t]);
    plan.label_weights.push_back(batch.label_weights[t]);
    plan.label_kinds.push_back(batch.label_kinds[t]);
  }
  plan.query_labels = plan.labels.size();
  if (batch.doc_label_weights.empty()) return;
  for (size_t n = 0; n < batch.documents(); ++n)
    for (auto t = static_cast<size_t>(batch.doc_starts[n]);
         t + 1 < static_cast<size_t>(batch.doc_starts[n + 1]); ++t) {
      if (!(batch.doc_label_weights[t] > 0)) continue;
      plan.label_rows.push_back(plan.context + static_cast<int64_t>(t));
      plan.labels.push_back(batch.doc_tokens[t + 1]);
      plan.label_weights.push_back(batch.doc_label_weights[t]);
      plan.label_kinds.push_back(LabelKind::text);
    }
  plan.documents_predict = plan.labels.size() > plan.query_labels;
}

std::vector<int32_t> shifted(std::vector<int32_t> starts, int64_t by) {
  if (starts.empty()) starts = {0};
  for (int32_t& start : starts) start += static_cast<int32_t>(by);
  return starts;
}

}  // namespace

SegmentLayout StepPlan::layout(bool with_documents,
                               const std::vector<std::vector<int32_t>>& chosen) const {
  SegmentLayout layout;
  layout.starts = {0};
  layout.chunk_starts = {0};
  const auto add = [&](int32_t end, bool sees_prefix) {
    layout.starts.push_back(end);
    layout.sees_prefix.push_back(sees_prefix);
    layout.chunk_starts.push_back(static_cast<int32_t>(layout.chunks.size()));
  };
  if (prefix > 0) add(static_cast<int32_t>(prefix), false);
  for (size_t q = 0; q + 1 < query_starts.size(); ++q) {
    if (!chosen.empty())
      for (const int32_t n : chosen[q])
        for (int32_t c = doc_chunks[static_cast<size_t>(n)];
             c < doc_chunks[static_cast<size_t>(n) + 1]; ++c)
          layout.chunks.push_back(c);
    add(query_starts[q + 1], prefix > 0);
  }
  if (with_documents)
    for (size_t n = 0; n < documents(); ++n) add(doc_starts[n + 1], false);
  return layout;
}

Result<StepPlan> make_plan(const Batch& batch, const ModelConfig& config, size_t top_k) {
  MSA_TRY(check(batch, config));
  if (top_k == 0) return Error{Code::invalid_argument, "documents per query: 0; give at least 1"};
  StepPlan plan;
  plan.prefix = static_cast<int64_t>(batch.prefix.size());
  plan.context = plan.prefix + static_cast<int64_t>(batch.query_tokens.size());
  plan.rows = plan.context + static_cast<int64_t>(batch.doc_tokens.size());
  plan.query_starts = shifted(batch.query_starts, plan.prefix);
  plan.doc_starts = shifted(batch.doc_starts, plan.context);
  plan.doc_subject = batch.doc_subject;
  plan.named = batch.named;
  plan.named.resize(batch.queries(), -1);

  const size_t first_position = batch.prefix.size() + top_k;
  size_t longest = 0;
  add_sequence(plan, batch.prefix.data(), batch.prefix.size(), 0);
  for (size_t q = 0; q < batch.queries(); ++q) {
    const auto begin = static_cast<size_t>(batch.query_starts[q]);
    const size_t length = static_cast<size_t>(batch.query_starts[q + 1]) - begin;
    longest = std::max(longest, first_position + length);
    add_sequence(plan, batch.query_tokens.data() + begin, length, first_position);
  }
  for (size_t n = 0; n < batch.documents(); ++n) {
    const auto begin = static_cast<size_t>(batch.doc_starts[n]);
    const size_t length = static_cast<size_t>(batch.doc_starts[n + 1]) - begin;
    longest = std::max(longest, length);
    add_sequence(plan, batch.doc_tokens.data() + begin, length, 0);
  }
  if (longest > config.max_positions)
    return wrong(fmt::format("has a sequence that needs {} positions, the model has {}", longest,
                             config.max_positions));
  add_chunks(plan, batch, config.msa.chunk_size);
  add_routes(plan, batch, config.msa.skip_handed_over);
  add_labels(plan, batch);
  return plan;
}

}  // namespace msa::train
