#include "model/route_rule.h"

namespace msa {

RouteRule route_rule(const ModelConfig& config, bool cosine) {
  RouteRule rule;
  rule.query_heads = config.query_heads;
  rule.kv_heads = config.kv_heads;
  rule.head_dim = config.head_dim;
  rule.cosine = cosine;
  switch (config.msa.head_reduce) {
    case HeadReduce::mean: rule.heads = RouteRule::Heads::mean; break;
    case HeadReduce::max: rule.heads = RouteRule::Heads::max; break;
  }
  switch (config.msa.query_reduce) {
    case QueryReduce::max: rule.tokens = RouteRule::Tokens::max; break;
    case QueryReduce::mean: rule.tokens = RouteRule::Tokens::mean; break;
    case QueryReduce::last: rule.tokens = RouteRule::Tokens::last; break;
  }
  switch (config.msa.chunk_reduce) {
    case ChunkReduce::max: rule.chunks = RouteRule::Chunks::max; break;
    case ChunkReduce::mean: rule.chunks = RouteRule::Chunks::mean; break;
  }
  return rule;
}

}  // namespace msa
