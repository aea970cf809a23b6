#include "train/model/forward.h"

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "train/model/recompute.h"
#include "train/model/router_memory.h"
#include "train/model/taps.h"

namespace msa::train {
namespace {

using torch::Tensor;

template <class T>
Tensor on_device(const std::vector<T>& values, torch::Dtype type, torch::Device device) {
  return torch::tensor(at::ArrayRef<T>(values), torch::dtype(type)).to(device);
}

constexpr size_t kHardNegatives = 16;  // per query and layer, of those remembered

// Shared, because layers that are computed again in the backward pass need it until then.
class Forward : public std::enable_shared_from_this<Forward> {
 public:
  Forward(std::shared_ptr<const StepPlan> plan, const ModelConfig& config,
          const StepOptions& options, torch::Device device)
      : kept_plan_(std::move(plan)),
        plan_(*kept_plan_),
        config_(config),
        options_(options),
        query_width_(static_cast<int64_t>(config.query_width())),
        kv_width_(static_cast<int64_t>(config.kv_width())),
        positions_(on_device(plan_.positions, torch::kInt32, device)) {
    std::vector<int64_t> routing(plan_.routing_rows.begin(), plan_.routing_rows.end());
    routing_rows_ = on_device(routing, torch::kInt64, device);
    // Above the last router layer nobody asks for the documents any more.
    if (!plan_.routed.empty() && !config.msa.router_layers.empty())
      last_router_ = static_cast<size_t>(config.msa.router_layers.back());
    std::vector<int32_t> runs = plan_.chunk_rows;
    for (int32_t& row : runs) row += static_cast<int32_t>(plan_.context);
    pooling_ = make_pooling(std::move(runs), device);
    if (options_.negatives && options_.negatives->size() > 0 && !plan_.routed.empty()) {
      unrelated_ = unrelated(options_.negatives->subjects()).to(device);
      for (const int i : config_.msa.router_layers)
        remembered_.emplace(i, options_.negatives->keys(static_cast<size_t>(i)));
    }
  }

  ForwardOutput run(const StepWeights& weights) {
    const bool documents = plan_.documents_predict || last_router_;
    std::vector<int64_t> tokens(plan_.tokens.begin(), plan_.tokens.end());
    if (!documents) tokens.resize(static_cast<size_t>(plan_.context));
    ForwardOutput output;
    output.hidden =
        torch::embedding(weights.embeddings, on_device(tokens, torch::kInt64, positions_.device()));
    for (size_t i = 0; i < config_.layers; ++i) {
      LayerOutput out = options_.checkpoint_activations && torch::GradMode::is_enabled()
                            ? recomputed(i, output.hidden, output.delta, weights.layers[i])
                            : layer(i, output.hidden, output.delta, weights.layers[i], nullptr);
      output.hidden = out.hidden;
      output.delta = out.delta;
      if (out.scores.defined())
        output.routers.push_back(
            {i, out.scores, std::move(out.routed->hard), out.routed->keys, out.routed->selection});
    }
    return output;
  }

 private:
  struct Routed {
    Selection selection;
    std::vector<uint8_t> hard;  // HardNegatives::hard
    Tensor keys;                // [C, G, D], without gradient
  };
  struct LayerOutput {
    Tensor hidden, delta;
    Tensor scores;  // undefined where nothing routes
    // What was made with the scores; of the first time the layer was computed.
    std::optional<Routed> routed;
  };

  // Which chunks are of documents that are not about what one of the query's relevant ones is
  // about.
  Tensor unrelated(const std::vector<uint64_t>& remembered) const {
    const size_t documents = plan_.documents();
    Tensor result = torch::ones(
        {static_cast<int64_t>(plan_.routed.size()), static_cast<int64_t>(remembered.size())},
        torch::kBool);
    bool* is_unrelated = result.data_ptr<bool>();
    for (size_t r = 0; r < plan_.routed.size(); ++r) {
      std::set<uint64_t> relevant;
      for (size_t n = 0; n < documents; ++n)
        if (plan_.is_relevant[r * documents + n]) relevant.insert(plan_.doc_subject[n]);
      for (size_t i = 0; i < remembered.size(); ++i)
        is_unrelated[r * remembered.size() + i] = !relevant.contains(remembered[i]);
    }
    return result;
  }

  // What of the rows a layer computes.
  bool keeps_documents(size_t i) const {
    return plan_.documents_predict || (last_router_ && i < *last_router_);
  }

  Tensor heads(const Tensor& x) const {
    return x.view({x.size(0), -1, static_cast<int64_t>(config_.head_dim)});
  }

  Tensor rotated(const Tensor& x, const Tensor& norm, int64_t first_row) const {
    return head_norm_rotary(heads(x), norm, config_.rms_norm_eps,
                            positions_.slice(0, first_row, first_row + x.size(0)),
                            config_.rope_theta, options_.ops);
  }

  // One layer. `fixed`: documents chosen before, when the layer is computed a second time.
  LayerOutput layer(size_t i, const Tensor& hidden, const Tensor& delta, const LayerWeights& w,
                    const Selection* fixed) const {
    const NormOutput in = add_rms_norm(hidden, delta, w.input_norm, config_.rms_norm_eps,
                                       options_.compute, options_.ops);
    LayerOutput out;
    const Tensor attended = attention(i, in.normed, w, fixed, out);
    const Tensor residual = in.hidden.slice(0, 0, attended.size(0));
    const NormOutput middle =
        add_rms_norm(residual, torch::linear(attended.flatten(1), w.o), w.post_norm,
                     config_.rms_norm_eps, options_.compute, options_.ops);
    out.hidden = middle.hidden;
    out.delta =
        torch::linear(swiglu(torch::linear(middle.normed, w.gate_up), options_.ops), w.down);
    return out;
  }

  // Attention of the rows that go on, [rows, H, D]. normed: of all rows that came. In router layers
  // `out` gets the scores and, unless `fixed`, the selection.
  Tensor attention(size_t i, const Tensor& normed, const LayerWeights& w, const Selection* fixed,
                   LayerOutput& out) const {
    const bool documents = normed.size(0) > plan_.context;
    const bool keep = documents && keeps_documents(i);
    const bool route = documents && config_.msa.is_router_layer(i) && !plan_.routed.empty();
    Tensor x = normed, document_x;  // of the rows that go on; of the documents, where they do not
    if (documents && !keep) {
      const std::vector<Tensor> parts =
          x.split_with_sizes({plan_.context, x.size(0) - plan_.context}, 0);
      x = parts[0];
      document_x = parts[1];
    }
    // Of documents that go on, the means over chunks come from rows that are computed anyway.
    const Pooling* pooling = route && keep ? &pooling_ : nullptr;
    const bool decoupled = w.router_q.defined();
    Taps router;  // the router's own view of the input
    if (route && decoupled) {
      router = tap(x.unsqueeze(1), 0, &routing_rows_, pooling, options_.ops);
      x = router.all.squeeze(1);
    }
    const std::vector<Tensor> qkv =
        torch::linear(x, w.qkv).split_with_sizes({query_width_, kv_width_, kv_width_}, 1);
    Tensor q = rotated(qkv[0], w.q_norm, 0);
    if (route && !decoupled) {
      router = tap(q, 0, &routing_rows_, nullptr, options_.ops);
      q = router.all;
    }
    Taps k = tap(rotated(qkv[1], w.k_norm, 0), plan_.prefix, nullptr, pooling, options_.ops);
    Taps v = tap(heads(qkv[2]), plan_.prefix, nullptr, pooling, options_.ops);

    SegmentKv extra;
    extra.prefix_k = k.prefix;
    extra.prefix_v = v.prefix;
    std::vector<std::vector<int32_t>> chosen;
    if (route) {
      if (!keep) {
        const std::vector<Tensor> kv = torch::linear(document_x, w.qkv.slice(0, query_width_))
                                           .split_with_sizes({kv_width_, kv_width_}, 1);
        k.pooled =
            pool_rows(rotated(kv[0], w.k_norm, plan_.context), plan_.chunk_rows, options_.ops);
        v.pooled = pool_rows(heads(kv[1]), plan_.chunk_rows, options_.ops);
        if (decoupled)
          router.pooled = pool_rows(document_x.unsqueeze(1), plan_.chunk_rows, options_.ops);
      }
      extra.chunk_k = k.pooled.to(options_.compute);
      extra.chunk_v = v.pooled.to(options_.compute);
      Tensor queries = router.picked.to(torch::kFloat32), keys = k.pooled;
      if (decoupled) {
        // The mean of projections is the projection of the mean: far fewer products.
        queries = heads(torch::linear(queries.squeeze(1), w.router_q));
        keys = heads(torch::linear(router.pooled.squeeze(1), w.router_k));
      }
      Tensor others;
      HardNegatives negatives;
      if (const auto known = remembered_.find(i); known != remembered_.end()) {
        negatives = hardest_negatives(queries, known->second, unrelated_, kHardNegatives, plan_,
                                      config_.msa, options_.cosine, options_.ops);
        others = known->second.index_select(0, negatives.chunks);
      }
      out.scores =
          route_scores(queries, keys, others, plan_, config_.msa, options_.cosine, options_.ops);
      if (!fixed) {
        const auto documents_scored = static_cast<int64_t>(plan_.documents());
        out.routed = {select_documents(out.scores.slice(1, 0, documents_scored), plan_,
                                       options_.top_k, options_.include_positives),
                      std::move(negatives.hard), keys.detach()};
      }
      chosen = fixed ? fixed->chosen : out.routed->selection.chosen;
    }
    return segment_attention(q, k.all, v.all, extra, plan_.layout(keep, chosen), options_.ops);
  }

  // The same, computed again in the backward pass, with the documents of the first time.
  LayerOutput recomputed(size_t i, const Tensor& hidden, const Tensor& delta,
                         const LayerWeights& w) const {
    // Slot by slot, hidden, delta and the weights; those that are defined become inputs.
    const auto slots = [](LayerWeights& of) {
      return std::vector<Tensor*>{&of.input_norm, &of.post_norm, &of.q_norm,  &of.k_norm,
                                  &of.qkv,        &of.o,         &of.gate_up, &of.down,
                                  &of.router_q,   &of.router_k};
    };
    LayerWeights weights = w;
    std::vector<Tensor> inputs = {hidden};
    if (delta.defined()) inputs.push_back(delta);
    const size_t streams = inputs.size();
    for (const Tensor* slot : slots(weights))
      if (slot->defined()) inputs.push_back(*slot);

    const auto first = std::make_shared<std::optional<Routed>>();
    const auto compute = [self = shared_from_this(), i, weights, streams, slots,
                          first](const std::vector<Tensor>& given) {
      LayerWeights mine = weights;
      size_t next = streams;
      for (Tensor* slot : slots(mine))
        if (slot->defined()) *slot = given[next++];
      LayerOutput out = self->layer(i, given[0], streams > 1 ? given[1] : Tensor(), mine,
                                    *first ? &(*first)->selection : nullptr);
      if (out.routed) *first = std::move(out.routed);
      std::vector<Tensor> outputs = {out.hidden, out.delta};
      if (out.scores.defined()) outputs.push_back(out.scores);
      return outputs;
    };
    const std::vector<Tensor> outputs = recompute(compute, inputs);
    LayerOutput out{outputs[0], outputs[1], {}, {}};
    if (outputs.size() > 2) {
      out.scores = outputs[2];
      out.routed = *first;
    }
    return out;
  }

  const std::shared_ptr<const StepPlan> kept_plan_;
  const StepPlan& plan_;
  const ModelConfig config_;
  const StepOptions options_;
  const int64_t query_width_, kv_width_;  // H * D, G * D
  Tensor positions_;                      // [rows] int32
  Tensor routing_rows_;                   // [M] int64
  Pooling pooling_;                       // of the documents' chunks, among all rows
  std::optional<size_t> last_router_;
  std::map<size_t, Tensor> remembered_;  // per router layer, [K, G, D]; empty: none
  Tensor unrelated_;                     // [R, K] bool: the chunk may count as a negative
};

}  // namespace

ForwardOutput forward(std::shared_ptr<const StepPlan> plan, const ModelConfig& config,
                      const StepWeights& weights, const StepOptions& options,
                      torch::Device device) {
  return std::make_shared<Forward>(std::move(plan), config, options, device)->run(weights);
}

}  // namespace msa::train
