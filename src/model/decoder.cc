#include "model/decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <numeric>

#include "model/layers.h"

namespace msa {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// One layer's keys and values so far, rows in the order attention sees them.
class KvCache {
 public:
  size_t rows() const { return rows_; }
  void clear() { rows_ = 0; }

  // Appends rows of keys and values, [n, G*D] each.
  void append(Backend& backend, DType dtype, ConstAnyMat keys, ConstAnyMat values) {
    reserve(backend, dtype, rows_ + keys.rows, keys.cols);
    backend.copy_rows(keys, view(*keys_, dtype, keys.cols).slice_rows(rows_, keys.rows));
    backend.copy_rows(values, view(*values_, dtype, keys.cols).slice_rows(rows_, keys.rows));
    rows_ += keys.rows;
  }
  ConstAnyMat keys(DType dtype, size_t width) const {
    return view(*keys_, dtype, width).slice_rows(0, rows_);
  }
  ConstAnyMat values(DType dtype, size_t width) const {
    return view(*values_, dtype, width).slice_rows(0, rows_);
  }

 private:
  static AnyMat view(DeviceBuffer& buffer, DType dtype, size_t width) {
    return {buffer.data(), dtype, buffer.size() / (width * size_of(dtype)), width};
  }
  void reserve(Backend& backend, DType dtype, size_t rows, size_t width) {
    if (rows <= capacity_) return;
    capacity_ = std::max(rows + 64, capacity_ + capacity_ / 2);
    const size_t bytes = capacity_ * width * size_of(dtype);
    for (auto* buffer : {&keys_, &values_}) {
      auto larger = backend.allocate(bytes);
      if (*buffer && rows_ > 0)
        backend.copy_rows(view(**buffer, dtype, width).slice_rows(0, rows_),
                          view(*larger, dtype, width).slice_rows(0, rows_));
      *buffer = std::move(larger);
    }
  }

  std::unique_ptr<DeviceBuffer> keys_, values_;
  size_t rows_ = 0, capacity_ = 0;
};

}  // namespace

struct Decoder::Impl {
  Impl(Backend& b, std::shared_ptr<const Weights> w, std::shared_ptr<const PrefixKv> p)
      : backend(b), stack(b, std::move(w)), prefix(std::move(p)), caches(config().layers) {}

  const ModelConfig& config() const { return stack.weights().config(); }

  Result<void> check(std::span<const int32_t> tokens, size_t first_position) const {
    if (tokens.empty()) return Error{Code::invalid_argument, "no tokens to process"};
    const size_t limit = config().max_positions;
    if (first_position > limit || tokens.size() > limit - first_position)
      return Error{Code::invalid_argument,
                   fmt::format("the prompt needs positions {} to {}, but the model has {}; ask a "
                               "shorter question or allow fewer rounds",
                               first_position, first_position + tokens.size() - 1, limit)};
    for (const int32_t token : tokens)
      if (token < 0 || static_cast<size_t>(token) >= config().vocabulary)
        return Error{Code::invalid_argument,
                     fmt::format("token {} is outside the model's vocabulary of {}; use the "
                                 "model's own tokenizer",
                                 token, config().vocabulary)};
    return {};
  }

  // f32 [M, H*D]: what the routing tokens ask with.
  MatView<const float> router_queries(size_t layer, const LayerStack::AttentionInputs& in,
                                      std::span<const size_t> routing) {
    const bool decoupled = config().msa.decouple_router;
    const AnyMat all = decoupled ? in.normed : in.q;
    const AnyMat queries =
        router_q.get(backend, DType::f32, routing.size(), config().query_width());
    const AnyMat chosen =
        decoupled ? router_in.get(backend, all.dtype, routing.size(), all.cols) : queries;
    for (size_t first = 0; first < routing.size();) {  // run by run
      size_t end = first + 1;
      while (end < routing.size() && routing[end] == routing[end - 1] + 1) ++end;
      backend.copy_rows(all.slice_rows(routing[first], end - first),
                        chosen.slice_rows(first, end - first));
      first = end;
    }
    if (decoupled) backend.matmul(chosen, *stack.weights().layers[layer].router_q, queries, false);
    return queries.as<float>();
  }

  // Runs tokens through all layers. `routing` lists the indices of routing tokens.
  Result<void> run(std::span<const int32_t> tokens, size_t first_position,
                   std::span<const size_t> routing, ContextSource* memory, bool fresh,
                   bool all_logits) {
    MSA_TRY(check(tokens, first_position));
    const DType act = stack.weights().compute;
    const size_t width = config().kv_width(), last = config().layers - 1;
    positions.resize(tokens.size());
    std::iota(positions.begin(), positions.end(), static_cast<int32_t>(first_position));

    MatView<float> hidden = stack.embed(tokens);
    for (size_t layer = 0; layer <= last; ++layer) {
      auto in = stack.attention_inputs(layer, hidden, positions);
      KvCache& cache = caches[layer];
      if (fresh) {
        cache.clear();
        cache.append(backend, act, prefix->keys(layer), prefix->values(layer));
        if (memory && !routing.empty() && stack.weights().layers[layer].routes) {
          const auto queries = router_queries(layer, in, routing);
          const auto start = Clock::now();
          MSA_ASSIGN(const auto blocks, memory->select(static_cast<int>(layer), queries));
          for (const ContextBlock& block : blocks)
            cache.append(backend, act, block.keys, block.values);
          timing.route_seconds += seconds_since(start);
        }
      }
      cache.append(backend, act, in.k, in.v);
      // Only the last token's logits are wanted: the last layer needs no other token's output.
      if (layer == last && !all_logits) {
        in.q = in.q.slice_rows(tokens.size() - 1, 1);
        hidden = hidden.slice_rows(tokens.size() - 1, 1);
      }
      const AnyMat attended = stack.attention_output(hidden.rows);
      backend.context_attention(in.q, cache.keys(act, width), cache.values(act, width),
                                config().kv_heads, config().head_dim, attended);
      stack.finish(layer, attended, hidden);
    }
    compute_logits(hidden);
    next_position = first_position + tokens.size();
    return {};
  }

  void compute_logits(MatView<float> hidden) {
    const size_t vocabulary = config().vocabulary;
    const AnyMat normed = stack.final_norm(hidden);
    const AnyMat out = logits_device.get(backend, DType::f32, hidden.rows, vocabulary);
    backend.matmul(normed, *stack.weights().head, out, false);
    logits.resize(hidden.rows * vocabulary);
    backend.download(std::as_writable_bytes(std::span(logits)), out.data);
    logit_rows = hidden.rows;
  }

  Backend& backend;
  LayerStack stack;
  std::shared_ptr<const PrefixKv> prefix;
  std::vector<KvCache> caches;  // one per layer
  ScratchMatrix router_in, router_q, logits_device;
  std::vector<int32_t> positions;
  std::vector<float> logits;  // [logit_rows, vocabulary]
  size_t logit_rows = 0;
  size_t next_position = 0;
  PrefillTiming timing;
};

Decoder::Decoder(Backend& backend, std::shared_ptr<const Weights> weights,
                 std::shared_ptr<const PrefixKv> prefix)
    : impl_(std::make_unique<Impl>(backend, std::move(weights), std::move(prefix))) {}
Decoder::~Decoder() = default;

Result<void> Decoder::prefill(std::span<const int32_t> tokens, std::span<const uint8_t> routes,
                              size_t first_position, ContextSource* memory, bool all_logits) {
  assert(routes.size() == tokens.size());
  std::vector<size_t> routing;
  for (size_t t = 0; t < routes.size(); ++t)
    if (routes[t]) routing.push_back(t);
  impl_->timing = {};
  const auto start = Clock::now();
  MSA_TRY(impl_->run(tokens, first_position, routing, memory, true, all_logits));
  impl_->timing.total_seconds = seconds_since(start);
  return {};
}

Result<void> Decoder::append(std::span<const int32_t> tokens) {
  return impl_->run(tokens, impl_->next_position, {}, nullptr, false, false);
}

std::span<float> Decoder::logits() {
  assert(impl_->logit_rows > 0);
  const size_t vocabulary = impl_->config().vocabulary;
  return std::span(impl_->logits).subspan((impl_->logit_rows - 1) * vocabulary, vocabulary);
}

MatView<const float> Decoder::all_logits() const {
  return {impl_->logits.data(), impl_->logit_rows, impl_->config().vocabulary};
}

size_t Decoder::next_position() const {
  return impl_->next_position;
}
const PrefillTiming& Decoder::timing() const {
  return impl_->timing;
}

}  // namespace msa
