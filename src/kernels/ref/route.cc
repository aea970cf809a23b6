// Routing as the method defines it: a score for every head, token and chunk, reduced over heads,
// then tokens, then a document's chunks.
#include <algorithm>
#include <cmath>

#include "kernels/ref/reference.h"

namespace msa::ref {
namespace {

double mean_of(std::span<const double> values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

// A NaN among the values makes the result one.
double max_of(std::span<const double> values) {
  double highest = values[0];
  for (const double value : values)
    if (std::isnan(value) || value > highest) highest = value;
  return highest;
}

// router_q as it is compared with keys: each head normalised, or scaled by 1/sqrt(D). [M][H*D]
std::vector<std::vector<double>> comparable(const RouteRule& rule, MatView<const float> router_q) {
  const size_t D = rule.head_dim;
  std::vector<std::vector<double>> queries;
  for (size_t t = 0; t < router_q.rows; ++t) {
    std::vector<double> query(router_q.row(t).begin(), router_q.row(t).end());
    for (size_t h = 0; h < rule.query_heads; ++h) {
      double squares = 0;
      for (size_t i = 0; i < D; ++i) squares += query[h * D + i] * query[h * D + i];
      const double divisor =
          rule.cosine ? std::max(std::sqrt(squares), 1e-12) : std::sqrt(static_cast<double>(D));
      for (size_t i = 0; i < D; ++i) query[h * D + i] /= divisor;
    }
    queries.push_back(std::move(query));
  }
  return queries;
}

double token_score(const RouteRule& rule, const std::vector<double>& query, ConstAnyMat keys,
                   size_t chunk) {
  const size_t D = rule.head_dim, group = rule.query_heads / rule.kv_heads;
  std::vector<double> by_head(rule.query_heads, 0);
  for (size_t h = 0; h < rule.query_heads; ++h)
    for (size_t i = 0; i < D; ++i)
      by_head[h] += query[h * D + i] * get(keys, chunk, h / group * D + i);
  return rule.heads == RouteRule::Heads::mean ? mean_of(by_head) : max_of(by_head);
}

double chunk_score(const RouteRule& rule, const std::vector<std::vector<double>>& queries,
                   ConstAnyMat keys, size_t chunk) {
  std::vector<double> by_token;
  for (const auto& query : queries) by_token.push_back(token_score(rule, query, keys, chunk));
  switch (rule.tokens) {
    case RouteRule::Tokens::max: return max_of(by_token);
    case RouteRule::Tokens::mean: return mean_of(by_token);
    case RouteRule::Tokens::last: break;
  }
  return by_token.back();
}

}  // namespace

void route(const RouteRule& rule, MatView<const float> router_q, std::span<const KeyBlock> blocks,
           size_t k, std::vector<RouteHit>& hits) {
  assert(router_q.rows >= 1 && router_q.cols == rule.query_heads * rule.head_dim);
  const auto queries = comparable(rule, router_q);
  hits.clear();
  for (size_t b = 0; b < blocks.size(); ++b) {
    const KeyBlock& block = blocks[b];
    for (size_t s = 0; s < block.documents.size(); ++s) {
      const DocumentSpan& span = block.documents[s];
      std::vector<double> by_chunk;
      for (size_t c = 0; c < span.chunks; ++c)
        by_chunk.push_back(chunk_score(rule, queries, block.keys, span.first_chunk + c));
      const double score =
          rule.chunks == RouteRule::Chunks::max ? max_of(by_chunk) : mean_of(by_chunk);
      hits.push_back({span.number, static_cast<float>(score), static_cast<uint32_t>(b),
                      static_cast<uint32_t>(s)});
    }
  }
  std::sort(hits.begin(), hits.end(), ranks_before);
  hits.resize(std::min(hits.size(), k));
}

}  // namespace msa::ref
