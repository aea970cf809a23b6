// msa::benchmark: encoding, generation and routing as shares of limits measured in the same run.

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <mutex>
#include <random>

#include "engine/bench_index.h"
#include "engine/guard.h"
#include "engine/machine.h"
#include "engine/model_handle.h"
#include "kernels/cpu/route_unfolded.h"
#include "kernels/int8_rows.h"
#include "kernels/limits.h"
#include "memory/held_keys.h"
#include "memory/router.h"
#include "model/decoder.h"
#include "model/route_rule.h"
#include "msa/msa.h"

namespace msa {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

constexpr size_t kDocumentTokens = 256;
constexpr size_t kBatchTokens = 2048;
constexpr size_t kQuestionTokens = 40;
constexpr size_t kRepeats = 5;

// Gathers figures and tells whoever watches.
class Report {
 public:
  explicit Report(const std::function<void(const BenchFigure&)>& progress) : progress_(progress) {}
  void add(BenchFigure figure) {
    if (figure.limit > 0) figure.share = figure.value / figure.limit;
    if (progress_) progress_(figure);
    out.figures.push_back(std::move(figure));
  }
  BenchReport finish() {
    out.peak_resident_bytes = peak_resident_bytes();
    return std::move(out);
  }
  BenchReport out;

 private:
  const std::function<void(const BenchFigure&)>& progress_;
};

Error stopped() {
  return {Code::cancelled, "the benchmark was stopped"};
}

// A speed and the limit it is compared with. What else the machine is doing changes both, so each
// measurement stands between two of the limit, and the median of the shares is reported.
struct Paired {
  double value = 0, limit = 0;
};

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// `limit()` gives a number, `speed()` a Result of one in the same unit.
template <class Limit, class Speed>
Result<Paired> paired(std::stop_token stop, Limit&& limit, Speed&& speed) {
  std::vector<double> values, shares;
  double before = limit();
  for (size_t i = 0; i < kRepeats; ++i) {
    if (stop.stop_requested()) return stopped();
    MSA_ASSIGN(const double value, speed());
    const double after = limit();
    values.push_back(value);
    shares.push_back(2 * value / (before + after));
    before = after;
  }
  return Paired{median(values), median(values) / median(shares)};
}

// Things done per second by `body`, which does `count` of them.
template <class Body>
Result<double> per_second(double count, Body&& body) {
  const auto start = Clock::now();
  MSA_TRY(body());
  return count / seconds_since(start);
}

// The dense products of a token in one layer, as the engine groups them.
std::vector<MatmulShape> layer_products(const ModelConfig& c, size_t layer, size_t rows) {
  std::vector<MatmulShape> shapes = {{rows, c.query_width() + 2 * c.kv_width(), c.hidden},
                                     {rows, c.hidden, c.query_width()},
                                     {rows, 2 * c.feed_forward, c.hidden},
                                     {rows, c.hidden, c.feed_forward}};
  if (c.msa.is_router_layer(layer) && c.msa.decouple_router)
    shapes.push_back({rows, c.kv_width(), c.hidden});
  return shapes;
}

// Floating-point operations of the dense products that encoding one token takes. The last router
// layer ends with its keys and values.
double encode_operations(const ModelConfig& c) {
  double operations = 0;
  const auto add = [&](const MatmulShape& shape) {
    operations += 2.0 * static_cast<double>(shape.outputs) * static_cast<double>(shape.inputs);
  };
  const auto last = static_cast<size_t>(c.msa.router_layers.back());
  for (size_t layer = 0; layer < last; ++layer)
    for (const MatmulShape& shape : layer_products(c, layer, 1)) add(shape);
  add({1, c.query_width() + 2 * c.kv_width(), c.hidden});
  if (c.msa.decouple_router) add({1, c.kv_width(), c.hidden});
  return operations;
}

std::vector<int32_t> random_tokens(std::mt19937_64& random, size_t count, size_t vocabulary) {
  std::vector<int32_t> tokens(count);
  for (int32_t& token : tokens) token = static_cast<int32_t>(random() % vocabulary);
  return tokens;
}

Result<EncodedBatch> encode_batch(Encoder& encoder, std::mt19937_64& random, const ModelConfig& c,
                                  size_t tokens, DType stored) {
  std::vector<std::vector<int32_t>> documents;
  const size_t length = std::min(kDocumentTokens, c.max_positions);
  for (size_t done = 0; done < tokens; done += length)
    documents.push_back(random_tokens(random, length, c.vocabulary));
  const std::vector<std::span<const int32_t>> views(documents.begin(), documents.end());
  EncodedBatch batch;
  MSA_TRY(encoder.encode(views, stored, false, batch));
  return batch;
}

Result<void> bench_encode(const Model::Impl& model, const BenchOptions& options,
                          std::stop_token stop, Report& report) {
  const ModelConfig& c = model.config();
  const DType compute = model.weights->compute;
  Encoder encoder(*model.backend, model.weights);
  std::mt19937_64 random(options.seed);
  MSA_TRY(encode_batch(encoder, random, c, kBatchTokens, compute));  // warm-up
  const double operations = encode_operations(c);
  const size_t batches = std::max<size_t>(1, options.encode_tokens / (kRepeats * kBatchTokens));
  MSA_ASSIGN(const Paired speed,
             paired(
                 stop,
                 [&] {
                   return measure_matmul_rate(model.backend->threads(),
                                              layer_products(c, c.layers, kBatchTokens), compute) /
                          operations;
                 },
                 [&] {
                   return per_second(
                       static_cast<double>(batches * kBatchTokens), [&]() -> Result<void> {
                         for (size_t i = 0; i < batches; ++i)
                           MSA_TRY(encode_batch(encoder, random, c, kBatchTokens, compute));
                         return {};
                       });
                 }));
  report.add(
      {"encode", "tokens/s", speed.value,
       fmt::format("{} matrix products of the model's shapes, {:.0f} GFLOP/s",
                   compute == DType::f32 ? "float32" : "bf16", speed.limit * operations / 1e9),
       speed.limit, 0,
       fmt::format("documents of {} tokens, {} at a time", kDocumentTokens,
                   kBatchTokens / kDocumentTokens)});
  return {};
}

// Bytes that generating one token reads: weights, and keys and values of `context` rows.
double generate_bytes(const Weights& weights, double context_rows) {
  const ModelConfig& c = weights.config();
  uint64_t bytes = weights.head->bytes();
  for (const LayerWeights& layer : weights.layers)
    bytes +=
        layer.qkv->bytes() + layer.output->bytes() + layer.gate_up->bytes() + layer.down->bytes();
  return static_cast<double>(bytes) +
         context_rows * 2 * static_cast<double>(c.kv_width() * size_of(weights.compute));
}

// How far the logits of a question move when the memory's content is int8. `batch` is what `memory`
// looks at.
Result<void> bench_int8_content(const Model::Impl& model, const EncodedBatch& batch,
                                Snapshot memory, std::span<const int32_t> question,
                                Report& report) {
  const ModelConfig& c = model.config();
  Decoder decoder(*model.backend, model.weights, model.prefix);
  const std::vector<uint8_t> routes(question.size(), 1);
  const auto ask = [&](ContextSource* source) -> Result<std::vector<float>> {
    MSA_TRY(decoder.prefill(question, routes, model.prefix->tokens + c.msa.top_k, source));
    const auto logits = decoder.logits();
    return std::vector<float>(logits.begin(), logits.end());
  };
  const auto ask_memory = [&](const Snapshot& snapshot) {
    Router router(*model.backend, std::make_shared<const Snapshot>(snapshot),
                  route_rule(c, model.cosine()), c.msa.top_k);
    return ask(&router);
  };
  MSA_ASSIGN(const std::vector<float> exact, ask_memory(memory));
  MSA_ASSIGN(const std::vector<float> without, ask(nullptr));
  const size_t heads = 2 * c.kv_heads;
  std::vector<AlignedBuffer<std::byte>> arrays;
  for (SegmentLayer& layer : memory.segments.front().layers) {
    auto& array = arrays.emplace_back(batch.total_chunks * int8_row_bytes(heads, c.head_dim));
    if (to_int8_rows(layer.content, heads, array.data()) < batch.total_chunks) return {};
    layer.content = {};
    layer.content_int8 = {array.data(), batch.total_chunks, heads, c.head_dim};
  }
  MSA_ASSIGN(const std::vector<float> rounded, ask_memory(memory));

  const auto distance = [&](const std::vector<float>& logits) {
    double difference = 0, length = 0;
    for (size_t i = 0; i < exact.size(); ++i) {
      const double d = static_cast<double>(logits[i]) - exact[i];
      difference += d * d;
      length += static_cast<double>(exact[i]) * exact[i];
    }
    return length > 0 ? 100 * std::sqrt(difference / length) : 0;
  };
  const auto likeliest = [](const std::vector<float>& logits) {
    return std::max_element(logits.begin(), logits.end()) - logits.begin();
  };
  report.add({"int8 content, logits off by", "%", distance(rounded), "", 0, 0,
              fmt::format("root mean square over that of the logits with content in {}; without "
                          "the memory {:.3g}%; the likeliest token is {}",
                          name_of(batch.dtype), distance(without),
                          likeliest(exact) == likeliest(rounded) ? "the same" : "another")});
  return {};
}

Result<void> bench_generate(const Model::Impl& model, const BenchOptions& options,
                            std::stop_token stop, Report& report) {
  const ModelConfig& c = model.config();
  std::mt19937_64 random(options.seed);
  Encoder encoder(*model.backend, model.weights);
  const size_t documents = c.msa.top_k;
  MSA_ASSIGN(const EncodedBatch batch,
             encode_batch(encoder, random, c, documents * kDocumentTokens, model.weights->compute));
  Snapshot memory;
  memory.router_layers = c.msa.router_layers;
  SegmentView& segment = memory.segments.emplace_back();
  for (size_t i = 0; i < batch.layers.size(); ++i)
    segment.layers.push_back(
        {batch.keys(i),
         {batch.layers[i].content.data(), batch.dtype, batch.total_chunks, 2 * batch.kv_width}});
  std::vector<DocumentSpan> spans;
  for (uint32_t n = 0, first = 0; n < batch.chunks.size(); first += batch.chunks[n++])
    spans.push_back({n, first, batch.chunks[n]});
  segment.documents = spans;
  Router router(*model.backend, std::make_shared<const Snapshot>(memory),
                route_rule(c, model.cosine()), c.msa.top_k);
  Decoder decoder(*model.backend, model.weights, model.prefix);

  const auto question = random_tokens(random, kQuestionTokens, c.vocabulary);
  MSA_TRY(bench_int8_content(model, batch, std::move(memory), question, report));
  const std::vector<uint8_t> routes(question.size(), 1);
  const size_t first_position = model.prefix->tokens + c.msa.top_k;
  std::vector<double> prefill_ms;
  for (size_t i = 0; i < kRepeats; ++i) {
    const auto start = Clock::now();
    MSA_TRY(decoder.prefill(question, routes, first_position, &router));
    prefill_ms.push_back(1e3 * seconds_since(start));
  }
  report.add({"first token", "ms", median(prefill_ms), "", 0, 0,
              fmt::format("question of {} tokens, {} documents attended to in each router layer",
                          kQuestionTokens, documents)});

  const size_t steps = std::max<size_t>(1, options.generate_tokens / kRepeats);
  const size_t own_rows = c.layers * (model.prefix->tokens + kQuestionTokens + steps / 2);
  const size_t pooled_rows = c.msa.router_layers.size() * batch.total_chunks;
  const double bytes = generate_bytes(*model.weights, static_cast<double>(own_rows + pooled_rows));
  MSA_ASSIGN(const Paired speed,
             paired(
                 stop, [&] { return measure_read_bandwidth(model.backend->threads()) / bytes; },
                 [&]() -> Result<double> {
                   MSA_TRY(decoder.prefill(question, routes, first_position, &router));
                   return per_second(static_cast<double>(steps), [&]() -> Result<void> {
                     for (size_t step = 0; step < steps; ++step) {
                       const auto logits = decoder.logits();
                       const int32_t token[] = {static_cast<int32_t>(
                           std::max_element(logits.begin(), logits.end()) - logits.begin())};
                       MSA_TRY(decoder.append(token));
                     }
                     return {};
                   });
                 }));
  report.add({"generate", "tokens/s", speed.value,
              fmt::format("memory bandwidth, {:.1f} GB/s", speed.limit * bytes / 1e9), speed.limit,
              0, fmt::format("one stream, {:.2f} GB read per token", bytes / 1e9)});
  return {};
}

// Random routing keys of one layer of MSA-4B's shape.
struct RoutingCase {
  static constexpr size_t kHeads = 32, kKvHeads = 8, kHeadDim = 128;
  static constexpr size_t kWidth = kKvHeads * kHeadDim, kChunksPerDocument = 8;
  AlignedBuffer<bf16> keys;
  std::vector<DocumentSpan> documents;
  std::vector<float> queries;
  size_t tokens;

  RoutingCase(size_t chunks, size_t routing_tokens, uint64_t seed)
      : keys(chunks * kWidth), queries(routing_tokens * kHeads * kHeadDim), tokens(routing_tokens) {
    std::mt19937_64 random(seed);
    const auto uniform = [&](uint64_t bits) {
      return static_cast<float>(static_cast<int64_t>(bits & 0xffff) - 0x8000) / 0x8000;
    };
    for (size_t i = 0; i < keys.size(); i += 4) {  // four values from each draw
      const uint64_t bits = random();
      for (size_t j = 0; j < std::min<size_t>(4, keys.size() - i); ++j)
        keys[i + j] = bf16::from_float(uniform(bits >> (16 * j)) / 8);
    }
    for (float& value : queries) value = uniform(random());
    for (uint32_t first = 0, n = 0; first < chunks; first += kChunksPerDocument, ++n)
      documents.push_back(
          {n, first, static_cast<uint32_t>(std::min(kChunksPerDocument, chunks - first))});
  }
  MatView<const float> query() const { return {queries.data(), tokens, kHeads * kHeadDim}; }
  KeyBlock block() const {
    return {MatView<const bf16>(keys.data(), keys.size() / kWidth, kWidth), documents};
  }
  static RouteRule rule() {
    RouteRule rule;
    rule.query_heads = kHeads;
    rule.kv_heads = kKvHeads;
    rule.head_dim = kHeadDim;
    return rule;
  }
};

// What a matrix product of this many queries with a chunk may reach, in chunks per second.
struct RouteLimit {
  double chunks_per_second = 0;
  bool memory_bound = true;
};
RouteLimit route_limit(Backend& backend, double bytes_per_chunk, double operations_per_chunk) {
  static constexpr MatmulShape kProduct[] = {{2048, 1024, RoutingCase::kWidth}};
  const double by_bytes = measure_read_bandwidth(backend.threads()) / bytes_per_chunk;
  const double rate = measure_matmul_rate(backend.threads(), kProduct, DType::bf16);
  if (rate == 0 || by_bytes < rate / operations_per_chunk) return {by_bytes, true};
  return {rate / operations_per_chunk, false};
}

// Several requests that share a pass over the keys; what counts is chunks times requests.
Result<void> bench_shared_route(Backend& backend, const RoutingCase& all, std::stop_token stop,
                                Report& report) {
  const size_t tokens = std::min<size_t>(8, all.tokens),
               requests = std::max<size_t>(all.tokens / tokens, 1);
  std::vector<RouteQuery> together;
  for (size_t r = 0; r < requests; ++r)
    together.push_back({all.query().slice_rows(r * tokens, tokens), 16});
  const KeyBlock blocks[] = {all.block()};
  const double bytes = RoutingCase::kWidth * sizeof(bf16) / static_cast<double>(requests);
  const double operations = 2.0 * static_cast<double>(tokens * RoutingCase::kWidth);
  bool memory_bound = true;
  std::vector<std::vector<RouteHit>> hits;
  MSA_ASSIGN(const Paired speed,
             paired(
                 stop,
                 [&] {
                   const RouteLimit limit = route_limit(backend, bytes, operations);
                   memory_bound = limit.memory_bound;
                   return limit.chunks_per_second;
                 },
                 [&] {
                   return per_second(static_cast<double>(requests * blocks[0].keys.rows),
                                     [&]() -> Result<void> {
                                       backend.route(RoutingCase::rule(), together, blocks, hits);
                                       return {};
                                     });
                 }));
  report.add({fmt::format("route, {} requests of {} tokens in one pass", requests, tokens),
              "chunks/s", speed.value,
              memory_bound ? fmt::format("memory bandwidth, {:.1f} GB/s", speed.limit * bytes / 1e9)
                           : fmt::format("bf16 matrix products, {:.0f} GFLOP/s",
                                         speed.limit * operations / 1e9),
              speed.limit, 0, "chunks are counted once for each request"});
  return {};
}

// The same keys held in fewer bits: the scan of them with the scoring of candidates in full, and
// how often that finds exactly what the scan of the keys in full finds.
Result<void> bench_compressed_route(Backend& backend, const RoutingCase& all,
                                    const BenchOptions& options, KeyChoice choice,
                                    std::stop_token stop, Report& report) {
  constexpr size_t kHits = 16, kQueries = 50, kQueryTokens = 8;
  const KeyBlock blocks[] = {all.block()};
  const size_t chunks = blocks[0].keys.rows;
  auto memory = std::make_shared<Snapshot>();
  memory->router_layers = {0};
  memory->documents = all.documents.size();
  memory->chunks = chunks;
  SegmentView& segment = memory->segments.emplace_back();
  segment.layers.push_back({blocks[0].keys, {nullptr, DType::bf16, chunks, 0}});
  segment.documents = all.documents;
  HeldKeys keys(backend, RoutingCase::kKvHeads, RoutingCase::kHeadDim, choice,
                {std::numeric_limits<uint64_t>::max(), false});
  MSA_ASSIGN(auto held, keys.hold(std::move(memory)));
  const std::string_view name = name_of(*keys.format());
  const double bytes_per_chunk = static_cast<double>(keys.bytes()) / static_cast<double>(chunks);
  Router router(backend, std::move(held), RoutingCase::rule(), kHits);

  for (const size_t tokens : {size_t{1}, size_t{8}, all.tokens}) {
    if (tokens > all.tokens) continue;
    const RouteQuery request[] = {{all.query().slice_rows(0, tokens), kHits}};
    size_t rescored = 0;
    MSA_ASSIGN(
        const Paired speed,
        paired(
            stop, [&] { return measure_read_bandwidth(backend.threads()) / bytes_per_chunk; },
            [&] {
              return per_second(static_cast<double>(chunks), [&]() -> Result<void> {
                MSA_ASSIGN(const auto chosen, router.choose(0, request));
                rescored = chosen.front().rescored;
                return {};
              });
            }));
    report.add({fmt::format("route, {} tokens, {} keys", tokens, name), "chunks/s", speed.value,
                fmt::format("memory bandwidth, {:.1f} GB/s", speed.limit * bytes_per_chunk / 1e9),
                speed.limit, 0,
                fmt::format("{:.0f} bytes a chunk; {} documents scored again in full, that "
                            "included",
                            bytes_per_chunk, rescored)});
  }

  const RoutingCase questions(RoutingCase::kChunksPerDocument, kQueries * kQueryTokens,
                              options.seed + 1);
  size_t same = 0, certain = 0, rescored = 0;
  for (size_t q = 0; q < kQueries; ++q) {
    if (stop.stop_requested()) return stopped();
    const RouteQuery request[] = {
        {questions.query().slice_rows(q * kQueryTokens, kQueryTokens), kHits}};
    std::vector<RouteHit> exact;
    backend.route(RoutingCase::rule(), request[0].router_q, blocks, kHits, exact);
    MSA_ASSIGN(const auto chosen, router.choose(0, request));
    const LayerChoice& found = chosen.front();
    certain += found.certain;
    rescored += found.rescored;
    same += std::equal(exact.begin(), exact.end(), found.hits.begin(), found.hits.end(),
                       [](const RouteHit& a, const RouteHit& b) {
                         return a.number == b.number && a.score == b.score;
                       });
  }
  report.add({fmt::format("route, {} keys, same as in full", name), "% of questions",
              100.0 * static_cast<double>(same) / kQueries, "", 0, 0,
              fmt::format("{} questions of {} tokens, {} documents each, with scores and order; "
                          "{} documents scored again on average, certain to be enough for {} "
                          "questions",
                          kQueries, kQueryTokens, kHits, rescored / kQueries, certain)});
  return {};
}

Result<void> bench_route(Backend& backend, const BenchOptions& options, std::stop_token stop,
                         Report& report) {
  const size_t chunks = std::max<size_t>(options.route_chunks, 1), k = 16;
  const RoutingCase all(chunks, std::max<size_t>(options.route_tokens, 1), options.seed);
  std::vector<RouteHit> hits;
  const auto folded = [&](const RoutingCase& routing, size_t tokens) {
    const KeyBlock blocks[] = {routing.block()};
    return per_second(static_cast<double>(blocks[0].keys.rows), [&]() -> Result<void> {
      backend.route(RoutingCase::rule(), routing.query().slice_rows(0, tokens), blocks, k, hits);
      return {};
    });
  };
  const double bytes_per_chunk = RoutingCase::kWidth * sizeof(bf16);
  for (const size_t tokens : {size_t{1}, size_t{8}, all.tokens}) {
    if (tokens > all.tokens) continue;
    const double operations = 2.0 * static_cast<double>(tokens * RoutingCase::kWidth);
    bool memory_bound = true;
    const auto limit = [&] {
      const RouteLimit measured = route_limit(backend, bytes_per_chunk, operations);
      memory_bound = measured.memory_bound;
      return measured.chunks_per_second;
    };
    MSA_ASSIGN(const Paired speed, paired(stop, limit, [&] { return folded(all, tokens); }));
    report.add(
        {fmt::format("route, {} tokens", tokens), "chunks/s", speed.value,
         memory_bound
             ? fmt::format("memory bandwidth, {:.1f} GB/s", speed.limit * bytes_per_chunk / 1e9)
             : fmt::format("bf16 matrix products, {:.0f} GFLOP/s", speed.limit * operations / 1e9),
         speed.limit, 0, fmt::format("MSA-4B's shape, one layer, {} chunks in bf16", chunks)});
  }

  MSA_TRY(bench_shared_route(backend, all, stop, report));
  for (const KeyChoice choice : {KeyChoice::int8, KeyChoice::int4})
    MSA_TRY(bench_compressed_route(backend, all, options, choice, stop, report));

  // All heads' scores written out and reduced afterwards, on the same chunks as the folded form.
  const RoutingCase small(std::min<size_t>(chunks, 20'000), all.tokens, options.seed);
  const KeyBlock blocks[] = {small.block()};
  UnfoldedRoute unfolded(backend.threads());
  std::vector<double> times, speeds;
  for (size_t i = 0; i < kRepeats; ++i) {
    if (stop.stop_requested()) return stopped();
    bool possible = true;
    MSA_ASSIGN(const double slow,
               per_second(static_cast<double>(blocks[0].keys.rows), [&]() -> Result<void> {
                 possible = unfolded.run(RoutingCase::rule(), small.query(), blocks, k, hits);
                 return {};
               }));
    if (!possible) return {};
    MSA_ASSIGN(const double fast, folded(small, all.tokens));
    speeds.push_back(slow);
    times.push_back(fast / slow);
  }
  report.add({fmt::format("route, {} tokens, unfolded", all.tokens), "chunks/s", median(speeds), "",
              0, 0,
              fmt::format("every head's score written out, then reduced; {} chunks, {} MB of "
                          "scratch",
                          blocks[0].keys.rows, unfolded.peak_scratch_bytes() / 1'000'000)});
  report.add({"route, folded over unfolded", "times", median(times), "", 0, 0, ""});
  return {};
}

}  // namespace

Result<BenchReport> benchmark(const Model& model, const BenchOptions& options,
                              std::function<void(const BenchFigure&)> progress,
                              std::stop_token stop) {
  return guarded("benchmarking", [&]() -> Result<BenchReport> {
    const Model::Impl& impl = model.impl();
    const std::lock_guard lock(impl.busy);
    const ModelInfo info = model.info();
    Report report(progress);
    report.out.machine = describe_machine();
    report.out.model =
        fmt::format("{} layers, d {}, H {}, G {}, D {}, {:.2f}B parameters, {}, {}; {}",
                    info.layers, info.hidden, info.query_heads, info.kv_heads, info.head_dim,
                    static_cast<double>(info.parameters) / 1e9, info.precision,
                    info.random_weights ? "random weights" : "trained", info.backend);
    if (options.encode) MSA_TRY(bench_encode(impl, options, stop, report));
    if (options.generate) MSA_TRY(bench_generate(impl, options, stop, report));
    if (options.route) MSA_TRY(bench_route(*impl.backend, options, stop, report));
    if (options.index)
      MSA_TRY(bench_index(*impl.backend, options, stop,
                          [&](BenchFigure figure) { report.add(std::move(figure)); }));
    return report.finish();
  });
}

Result<BenchReport> benchmark_routing(const BenchOptions& options, int threads,
                                      std::function<void(const BenchFigure&)> progress,
                                      std::stop_token stop) {
  return guarded("benchmarking", [&]() -> Result<BenchReport> {
    Runtime runtime;
    runtime.threads = threads;
    MSA_ASSIGN(const auto backend, make_cpu_backend(runtime));
    Report report(progress);
    report.out.machine = describe_machine();
    report.out.model = backend->describe();
    if (options.route) MSA_TRY(bench_route(*backend, options, stop, report));
    if (options.index)
      MSA_TRY(bench_index(*backend, options, stop,
                          [&](BenchFigure figure) { report.add(std::move(figure)); }));
    return report.finish();
  });
}

}  // namespace msa
