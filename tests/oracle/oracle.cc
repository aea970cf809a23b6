#include "oracle/oracle.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>

namespace msa::oracle {
namespace {

double reduce_max(const Row& values) {
  return *std::max_element(values.begin(), values.end());
}
double reduce_mean(const Row& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

// Divides each head of `row` by its length.
Row unit_heads(Row row, size_t heads) {
  const size_t dim = row.size() / heads;
  for (size_t h = 0; h < heads; ++h) {
    double sum = 0;
    for (size_t i = 0; i < dim; ++i) sum += row[h * dim + i] * row[h * dim + i];
    const double length = std::max(std::sqrt(sum), 1e-12);
    for (size_t i = 0; i < dim; ++i) row[h * dim + i] /= length;
  }
  return row;
}

Row mean_of(const Rows& rows, size_t begin, size_t end) {
  Row mean(rows[begin].size());
  for (size_t r = begin; r < end; ++r)
    for (size_t i = 0; i < mean.size(); ++i)
      mean[i] += rows[r][i] / static_cast<double>(end - begin);
  return mean;
}

std::string at(size_t layer) {
  return "model.layers." + std::to_string(layer) + ".";
}

}  // namespace

Oracle::Oracle(const Checkpoint& checkpoint, bool cosine)
    : config_(checkpoint.config()), cosine_(cosine) {
  for (const ExpectedTensor& expected : expected_tensors(config_)) {
    const TensorView& view = checkpoint.tensor(expected.name);
    assert(view.dtype == DType::f32);
    std::vector<float> values(view.count());
    std::memcpy(values.data(), view.bytes.data(), view.bytes.size());
    tensors_[expected.name] = Row(values.begin(), values.end());
  }
  for (const int layer : config_.msa.router_layers) bank_[layer];
}

Row Oracle::norm(const Row& x, const Row& weight) const {
  double sum = 0;
  for (const double value : x) sum += value * value;
  const double scale =
      1 / std::sqrt(sum / static_cast<double>(x.size()) + double{config_.rms_norm_eps});
  Row out(x.size());
  for (size_t i = 0; i < x.size(); ++i) out[i] = x[i] * scale * weight[i];
  return out;
}

Rows Oracle::times(const Rows& x, const std::string& name, size_t outputs) const {
  const Row& w = tensor(name);
  Rows out(x.size(), Row(outputs));
  for (size_t t = 0; t < x.size(); ++t)
    for (size_t o = 0; o < outputs; ++o)
      for (size_t i = 0; i < x[t].size(); ++i) out[t][o] += x[t][i] * w[o * x[t].size() + i];
  return out;
}

Rows Oracle::embed(const std::vector<int32_t>& tokens) const {
  const Row& table = tensor("model.embed_tokens.weight");
  Rows out;
  for (const int32_t token : tokens) {
    const auto first = table.begin() + token * static_cast<ptrdiff_t>(config_.hidden);
    out.emplace_back(first, first + static_cast<ptrdiff_t>(config_.hidden));
  }
  return out;
}

Oracle::Qkv Oracle::qkv(size_t layer, const Rows& hidden, size_t first_position) const {
  const size_t dim = config_.head_dim, half = dim / 2;
  Qkv in;
  for (const Row& row : hidden)
    in.normed.push_back(norm(row, tensor(at(layer) + "input_layernorm.weight")));
  in.q = times(in.normed, at(layer) + "self_attn.q_proj.weight", config_.query_width());
  in.k = times(in.normed, at(layer) + "self_attn.k_proj.weight", config_.kv_width());
  in.v = times(in.normed, at(layer) + "self_attn.v_proj.weight", config_.kv_width());
  const auto norm_and_turn = [&](Rows& rows, const std::string& weight) {
    for (size_t t = 0; t < rows.size(); ++t)
      for (size_t h = 0; h < rows[t].size() / dim; ++h) {
        const auto first = rows[t].begin() + static_cast<ptrdiff_t>(h * dim);
        const Row head = norm(Row(first, first + static_cast<ptrdiff_t>(dim)), tensor(weight));
        for (size_t i = 0; i < half; ++i) {
          const double angle = static_cast<double>(first_position + t) *
                               std::pow(config_.rope_theta,
                                        -2.0 * static_cast<double>(i) / static_cast<double>(dim));
          rows[t][h * dim + i] = head[i] * std::cos(angle) - head[i + half] * std::sin(angle);
          rows[t][h * dim + half + i] =
              head[i + half] * std::cos(angle) + head[i] * std::sin(angle);
        }
      }
  };
  norm_and_turn(in.q, at(layer) + "self_attn.q_norm.weight");
  norm_and_turn(in.k, at(layer) + "self_attn.k_norm.weight");
  return in;
}

Row Oracle::attend(const Row& q, const Rows& k, const Rows& v, size_t visible) const {
  const size_t dim = config_.head_dim, group = config_.query_heads / config_.kv_heads;
  Row out(q.size());
  for (size_t h = 0; h < config_.query_heads; ++h) {
    const size_t g = h / group;
    Row weights(visible);
    for (size_t s = 0; s < visible; ++s) {
      for (size_t i = 0; i < dim; ++i) weights[s] += q[h * dim + i] * k[s][g * dim + i];
      weights[s] /= std::sqrt(static_cast<double>(dim));
    }
    const double top = reduce_max(weights);
    double sum = 0;
    for (double& weight : weights) sum += weight = std::exp(weight - top);
    for (size_t s = 0; s < visible; ++s)
      for (size_t i = 0; i < dim; ++i) out[h * dim + i] += weights[s] / sum * v[s][g * dim + i];
  }
  return out;
}

void Oracle::finish(size_t layer, Rows& hidden, const Rows& attended) const {
  const Rows projected = times(attended, at(layer) + "self_attn.o_proj.weight", config_.hidden);
  Rows normed;
  for (size_t t = 0; t < hidden.size(); ++t) {
    for (size_t i = 0; i < config_.hidden; ++i) hidden[t][i] += projected[t][i];
    normed.push_back(norm(hidden[t], tensor(at(layer) + "post_attention_layernorm.weight")));
  }
  Rows gate = times(normed, at(layer) + "mlp.gate_proj.weight", config_.feed_forward);
  const Rows up = times(normed, at(layer) + "mlp.up_proj.weight", config_.feed_forward);
  for (size_t t = 0; t < gate.size(); ++t)
    for (size_t i = 0; i < gate[t].size(); ++i)
      gate[t][i] = gate[t][i] / (1 + std::exp(-gate[t][i])) * up[t][i];
  const Rows down = times(gate, at(layer) + "mlp.down_proj.weight", config_.hidden);
  for (size_t t = 0; t < hidden.size(); ++t)
    for (size_t i = 0; i < config_.hidden; ++i) hidden[t][i] += down[t][i];
}

Row Oracle::logits(const Row& hidden) const {
  const Row normed = norm(hidden, tensor("model.norm.weight"));
  return times({normed}, config_.tied_embeddings ? "model.embed_tokens.weight" : "lm_head.weight",
               config_.vocabulary)[0];
}

void Oracle::set_prefix(const std::vector<int32_t>& tokens) {
  Rows hidden = embed(tokens);
  for (size_t layer = 0; layer < config_.layers; ++layer) {
    const Qkv in = qkv(layer, hidden, 0);
    Rows attended;
    for (size_t t = 0; t < tokens.size(); ++t)
      attended.push_back(attend(in.q[t], in.k, in.v, t + 1));
    prefix_k_.push_back(in.k);
    prefix_v_.push_back(in.v);
    finish(layer, hidden, attended);
  }
}

void Oracle::add_document(const std::vector<int32_t>& tokens) {
  Rows hidden = embed(tokens);
  for (size_t layer = 0; layer < config_.layers; ++layer) {
    const Qkv in = qkv(layer, hidden, 0);
    if (config_.msa.is_router_layer(layer)) {
      const Rows routing =
          config_.msa.decouple_router
              ? times(in.normed, at(layer) + "self_attn.router_k_proj.0.weight", config_.kv_width())
              : in.k;
      for (size_t begin = 0; begin < tokens.size(); begin += config_.msa.chunk_size) {
        const size_t end = std::min(begin + config_.msa.chunk_size, tokens.size());
        Row key = mean_of(routing, begin, end);
        if (cosine_) key = unit_heads(key, config_.kv_heads);
        bank_[static_cast<int>(layer)].push_back(
            {documents_, mean_of(in.k, begin, end), mean_of(in.v, begin, end), key});
      }
    }
    Rows attended;
    for (size_t t = 0; t < tokens.size(); ++t)
      attended.push_back(attend(in.q[t], in.k, in.v, t + 1));
    finish(layer, hidden, attended);
  }
  ++documents_;
}

Routed Oracle::route(int layer, const Qkv& in, const std::vector<bool>& routes,
                     size_t top_k) const {
  const size_t dim = config_.head_dim, group = config_.query_heads / config_.kv_heads;
  Rows queries;
  for (size_t t = 0; t < routes.size(); ++t) {
    if (!routes[t]) continue;
    Row query = config_.msa.decouple_router
                    ? times({in.normed[t]},
                            at(static_cast<size_t>(layer)) + "self_attn.router_q_proj.0.weight",
                            config_.query_width())[0]
                    : in.q[t];
    queries.push_back(cosine_ ? unit_heads(query, config_.query_heads) : query);
  }
  std::vector<Row> by_document(documents_);
  for (const Chunk& chunk : bank_.at(layer)) {
    Row by_token;
    for (const Row& query : queries) {
      Row by_head;
      for (size_t h = 0; h < config_.query_heads; ++h) {
        double score = 0;
        for (size_t i = 0; i < dim; ++i)
          score += query[h * dim + i] * chunk.routing_key[h / group * dim + i];
        by_head.push_back(cosine_ ? score : score / std::sqrt(static_cast<double>(dim)));
      }
      by_token.push_back(config_.msa.head_reduce == HeadReduce::mean ? reduce_mean(by_head)
                                                                     : reduce_max(by_head));
    }
    by_document[chunk.document].push_back(
        config_.msa.query_reduce == QueryReduce::max    ? reduce_max(by_token)
        : config_.msa.query_reduce == QueryReduce::mean ? reduce_mean(by_token)
                                                        : by_token.back());
  }
  std::vector<std::pair<double, size_t>> ranked;
  for (size_t n = 0; n < documents_; ++n)
    ranked.emplace_back(config_.msa.chunk_reduce == ChunkReduce::max ? -reduce_max(by_document[n])
                                                                     : -reduce_mean(by_document[n]),
                        n);
  std::sort(ranked.begin(), ranked.end());
  Routed routed;
  routed.layer = layer;
  for (size_t i = 0; i < std::min(top_k, ranked.size()); ++i) {
    routed.documents.push_back(ranked[i].second);
    routed.scores.push_back(-ranked[i].first);
  }
  return routed;
}

Rows Oracle::ask(const std::vector<int32_t>& tokens, const std::vector<bool>& routes, size_t top_k,
                 std::vector<Routed>& routed) {
  Rows hidden = embed(tokens);
  k_ = prefix_k_;
  v_ = prefix_v_;
  const size_t first_position = prefix_k_[0].size() + top_k;
  for (size_t layer = 0; layer < config_.layers; ++layer) {
    const Qkv in = qkv(layer, hidden, first_position);
    if (config_.msa.is_router_layer(layer)) {
      routed.push_back(route(static_cast<int>(layer), in, routes, top_k));
      const auto& winners = routed.back().documents;
      for (const Chunk& chunk : bank_.at(static_cast<int>(layer))) {
        if (std::find(winners.begin(), winners.end(), chunk.document) == winners.end()) continue;
        k_[layer].push_back(chunk.key);
        v_[layer].push_back(chunk.value);
      }
    }
    const size_t before = k_[layer].size();
    k_[layer].insert(k_[layer].end(), in.k.begin(), in.k.end());
    v_[layer].insert(v_[layer].end(), in.v.begin(), in.v.end());
    Rows attended;
    for (size_t t = 0; t < tokens.size(); ++t)
      attended.push_back(attend(in.q[t], k_[layer], v_[layer], before + t + 1));
    finish(layer, hidden, attended);
  }
  position_ = first_position + tokens.size();
  Rows out;
  for (const Row& row : hidden) out.push_back(logits(row));
  return out;
}

Row Oracle::append(int32_t token) {
  Rows hidden = embed({token});
  for (size_t layer = 0; layer < config_.layers; ++layer) {
    const Qkv in = qkv(layer, hidden, position_);
    k_[layer].push_back(in.k[0]);
    v_[layer].push_back(in.v[0]);
    finish(layer, hidden, {attend(in.q[0], k_[layer], v_[layer], k_[layer].size())});
  }
  ++position_;
  return logits(hidden[0]);
}

}  // namespace msa::oracle
