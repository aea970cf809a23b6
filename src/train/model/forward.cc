#include "train/model/forward.h"

#include <memory>
#include <optional>
#include <utility>

#include "train/model/recompute.h"

namespace msa::train {
namespace {

using torch::Tensor;

template <class T>
Tensor on_device(const std::vector<T>& values, torch::Dtype type, torch::Device device) {
  return torch::tensor(at::ArrayRef<T>(values), torch::dtype(type)).to(device);
}

// Shared, because layers that are computed again in the backward pass need it until then.
class Forward : public std::enable_shared_from_this<Forward> {
 public:
  Forward(std::shared_ptr<const StepPlan> plan, const ModelConfig& config,
          const StepOptions& options, torch::Device device)
      : kept_plan_(std::move(plan)),
        plan_(*kept_plan_),
        config_(config),
        options_(options),
        positions_(on_device(plan_.positions, torch::kInt32, device)) {
    std::vector<int64_t> routing(plan_.routing_rows.begin(), plan_.routing_rows.end());
    routing_rows_ = on_device(routing, torch::kInt64, device);
    // Above the last router layer nobody asks for the documents any more.
    if (!plan_.routed.empty() && !config.msa.router_layers.empty())
      last_router_ = static_cast<size_t>(config.msa.router_layers.back());
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
        output.routers.push_back({i, out.scores, std::move(*out.selection)});
    }
    return output;
  }

 private:
  struct LayerOutput {
    Tensor hidden, delta;
    Tensor scores;                       // undefined where nothing routes
    std::optional<Selection> selection;  // made from the scores
  };

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
    const auto query_width = static_cast<int64_t>(config_.query_width());
    const auto kv_width = static_cast<int64_t>(config_.kv_width());
    const NormOutput in = add_rms_norm(hidden, delta, w.input_norm, config_.rms_norm_eps,
                                       options_.compute, options_.ops);
    const bool documents = hidden.size(0) > plan_.context, keep = keeps_documents(i);
    LayerOutput out;
    Tensor residual = in.hidden;
    Tensor x = in.normed;  // of the rows that go on
    Tensor document_x;     // of those of the documents that do not
    if (documents && !keep) {
      const std::vector<Tensor> parts =
          x.split_with_sizes({plan_.context, x.size(0) - plan_.context}, 0);
      x = parts[0];
      document_x = parts[1];
      residual = residual.slice(0, 0, plan_.context);
    }
    const std::vector<Tensor> qkv =
        torch::linear(x, w.qkv).split_with_sizes({query_width, kv_width, kv_width}, 1);
    const Tensor q = rotated(qkv[0], w.q_norm, 0), k = rotated(qkv[1], w.k_norm, 0);
    const Tensor v = heads(qkv[2]);

    SegmentKv extra;
    if (plan_.prefix > 0) {
      extra.prefix_k = k.slice(0, 0, plan_.prefix);
      extra.prefix_v = v.slice(0, 0, plan_.prefix);
    }
    std::vector<std::vector<int32_t>> chosen;
    if (documents && !plan_.routed.empty() && config_.msa.is_router_layer(i)) {
      // The documents' keys and values: rows of k and v, or computed alone.
      Tensor document_k = k, document_v = v;
      int64_t first = plan_.context;
      if (!keep) {
        const std::vector<Tensor> kv = torch::linear(document_x, w.qkv.slice(0, query_width))
                                           .split_with_sizes({kv_width, kv_width}, 1);
        document_k = rotated(kv[0], w.k_norm, plan_.context);
        document_v = heads(kv[1]);
        first = 0;
      }
      const Tensor pooled_k = pooled(document_k, first);
      extra.chunk_k = pooled_k.to(options_.compute);
      extra.chunk_v = pooled(document_v, first).to(options_.compute);
      out.scores = scores(w, x, q, keep ? x : document_x, first, pooled_k);
      if (fixed) {
        chosen = fixed->chosen;
      } else {
        out.selection =
            select_documents(out.scores, plan_, options_.top_k, options_.include_positives);
        chosen = out.selection->chosen;
      }
    }
    const Tensor attended =
        segment_attention(q, k, v, extra, plan_.layout(documents && keep, chosen), options_.ops);
    const NormOutput middle =
        add_rms_norm(residual, torch::linear(attended.flatten(1), w.o), w.post_norm,
                     config_.rms_norm_eps, options_.compute, options_.ops);
    out.hidden = middle.hidden;
    out.delta =
        torch::linear(swiglu(torch::linear(middle.normed, w.gate_up), options_.ops), w.down);
    return out;
  }

  // Means over the documents' chunks. x [rows, heads, n]; the documents start at row `first`.
  Tensor pooled(const Tensor& x, int64_t first) const {
    std::vector<int32_t> runs = plan_.chunk_rows;
    for (int32_t& row : runs) row += static_cast<int32_t>(first);
    return pool_rows(x, runs, options_.ops);
  }

  // x [context and more, d]: input of the layer; document_x: where the documents' rows start at
  // `first`.
  Tensor scores(const LayerWeights& w, const Tensor& x, const Tensor& q, const Tensor& document_x,
                int64_t first, const Tensor& pooled_k) const {
    Tensor queries, keys;
    if (w.router_q.defined()) {
      queries =
          heads(torch::linear(x.index_select(0, routing_rows_).to(torch::kFloat32), w.router_q));
      // The mean of projections is the projection of the mean: so many times fewer products.
      keys = heads(torch::linear(pooled(document_x.unsqueeze(1), first).squeeze(1), w.router_k));
    } else {
      queries = q.index_select(0, routing_rows_).to(torch::kFloat32);
      keys = pooled_k;
    }
    return route_scores(queries, keys, plan_, config_.msa, options_.cosine, options_.ops);
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

    const auto first = std::make_shared<std::optional<Selection>>();
    const auto compute = [self = shared_from_this(), i, weights, streams, slots,
                          first](const std::vector<Tensor>& given) {
      LayerWeights mine = weights;
      size_t next = streams;
      for (Tensor* slot : slots(mine))
        if (slot->defined()) *slot = given[next++];
      LayerOutput out = self->layer(i, given[0], streams > 1 ? given[1] : Tensor(), mine,
                                    *first ? &**first : nullptr);
      if (out.selection) *first = std::move(out.selection);
      std::vector<Tensor> outputs = {out.hidden, out.delta};
      if (out.scores.defined()) outputs.push_back(out.scores);
      return outputs;
    };
    const std::vector<Tensor> outputs = recompute(compute, inputs);
    LayerOutput out{outputs[0], outputs[1], {}, {}};
    if (outputs.size() > 2) {
      out.scores = outputs[2];
      out.selection = *first;
    }
    return out;
  }

  const std::shared_ptr<const StepPlan> kept_plan_;
  const StepPlan& plan_;
  const ModelConfig config_;
  const StepOptions options_;
  Tensor positions_;     // [rows] int32
  Tensor routing_rows_;  // [M] int64
  std::optional<size_t> last_router_;
};

}  // namespace

ForwardOutput forward(std::shared_ptr<const StepPlan> plan, const ModelConfig& config,
                      const StepWeights& weights, const StepOptions& options,
                      torch::Device device) {
  return std::make_shared<Forward>(std::move(plan), config, options, device)->run(weights);
}

}  // namespace msa::train
