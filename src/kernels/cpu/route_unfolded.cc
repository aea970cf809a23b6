#include "kernels/cpu/route_unfolded.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include <oneapi/dnnl/dnnl.hpp>

#include "base/runtime.h"
#include "kernels/cpu/fold.h"
#include "kernels/cpu/huge_buffer.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/rows.h"

namespace msa {
namespace {

using Memory = dnnl::memory;
using cpu::Range;

// The larger; a NaN in either makes one.
float max_or_nan(float a, float b) {
  return a >= b || std::isnan(a) ? a : b;
}

// to[i] = max or mean of rows[r][i] over `count` rows, `stride` apart, for i in `range`.
void reduce_rows(const float* rows, size_t count, size_t stride, bool mean, Range range,
                 float* to) {
  std::copy(rows + range.begin, rows + range.end, to + range.begin);
  for (size_t r = 1; r < count; ++r) {
    const float* row = rows + r * stride;
    if (mean)
      for (size_t i = range.begin; i < range.end; ++i) to[i] += row[i];
    else
      for (size_t i = range.begin; i < range.end; ++i) to[i] = max_or_nan(to[i], row[i]);
  }
  if (mean)
    for (size_t i = range.begin; i < range.end; ++i) to[i] /= static_cast<float>(count);
}

}  // namespace

struct UnfoldedRoute::State {
  int threads;
  size_t scratch_bytes;
  size_t peak = 0;
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  cpu::HugeBuffer scaled, queries, scores, by_token, by_chunk;
  dnnl::matmul product;  // for `product_chunks` chunks
  dnnl::matmul::primitive_desc product_desc;
  size_t product_chunks = 0;

  // scores [H, M, chunks] = queries of each group [G, (H/G)*M, D] times keys [chunks, G*D].
  void multiply(const RouteRule& rule, size_t M, ConstAnyMat keys) {
    const auto G = static_cast<Memory::dim>(rule.kv_heads),
               D = static_cast<Memory::dim>(rule.head_dim),
               rows = static_cast<Memory::dim>(rule.query_heads / rule.kv_heads * M),
               chunks = static_cast<Memory::dim>(keys.rows),
               stride = static_cast<Memory::dim>(keys.stride);
    if (product_chunks != keys.rows) {
      const auto type =
          keys.dtype == DType::bf16 ? Memory::data_type::bf16 : Memory::data_type::f32;
      product_desc = {
          dnnl::matmul::desc(
              Memory::desc({G, rows, D}, type, Memory::format_tag::abc),
              Memory::desc({G, D, chunks}, type, Memory::dims{D, 1, stride}),
              Memory::desc({G, rows, chunks}, Memory::data_type::f32, Memory::format_tag::abc)),
          engine};
      product = dnnl::matmul(product_desc);
      product_chunks = keys.rows;
    }
    product.execute(
        stream, {{DNNL_ARG_SRC, Memory(product_desc.src_desc(), engine, queries.data())},
                 {DNNL_ARG_WEIGHTS,
                  Memory(product_desc.weights_desc(), engine, const_cast<std::byte*>(keys.data))},
                 {DNNL_ARG_DST, Memory(product_desc.dst_desc(), engine, scores.data())}});
    stream.wait();
  }
};

UnfoldedRoute::UnfoldedRoute(int threads, size_t scratch_bytes)
    : state_(std::make_unique<State>()) {
  state_->threads = resolve_threads(threads);
  state_->scratch_bytes = scratch_bytes;
}
UnfoldedRoute::~UnfoldedRoute() = default;

size_t UnfoldedRoute::peak_scratch_bytes() const {
  return state_->peak;
}

bool UnfoldedRoute::run(const RouteRule& rule, MatView<const float> router_q,
                        std::span<const KeyBlock> blocks, size_t k, std::vector<RouteHit>& hits) {
  State& s = *state_;
  const size_t M = router_q.rows, H = rule.query_heads, D = rule.head_dim;
  hits.clear();
  if (blocks.empty()) return true;
  const cpu::LibraryThreads scope(s.threads);
  const DType dtype = blocks[0].keys.dtype;

  // [M, H*D] to [H, M, D] in the keys' dtype, scaled or normalised.
  const MatView<float> scaled(s.scaled.reserve<float>(M * H * D), M, H * D);
  cpu::scale_heads(rule, router_q, scaled);
  auto* queries = s.queries.reserve<std::byte>(M * H * D * size_of(dtype));
  for (size_t h = 0; h < H; ++h)
    cpu::convert_rows(AnyMat(scaled.slice_cols(h * D, D)),
                      AnyMat(queries + h * M * D * size_of(dtype), dtype, M, D), Range{0, M});

  const size_t longest =
      std::max_element(blocks.begin(), blocks.end(), [](const KeyBlock& a, const KeyBlock& b) {
        return a.keys.rows < b.keys.rows;
      })->keys.rows;
  const size_t tile = std::clamp<size_t>(s.scratch_bytes / (H * M * sizeof(float)), 1,
                                         std::max<size_t>(longest, 1));
  auto* scores = s.scores.reserve<float>(H * M * tile);
  auto* by_token = s.by_token.reserve<float>(M * tile);
  auto* by_chunk = s.by_chunk.reserve<float>(longest);
  s.peak = std::max(s.peak, s.scores.size() + s.by_token.size() + s.by_chunk.size());
  s.product_chunks = 0;
  for (size_t b = 0; b < blocks.size(); ++b) {
    const KeyBlock& block = blocks[b];
    assert(block.keys.dtype == dtype);
    for (size_t first = 0; first < block.keys.rows; first += tile) {
      const size_t chunks = std::min(tile, block.keys.rows - first);
      try {
        s.multiply(rule, M, block.keys.slice_rows(first, chunks));
      } catch (const dnnl::error&) {
        return false;
      }
      cpu::parallel_ranges(s.threads, M * chunks, 4096, [&](Range range) {
        reduce_rows(scores, H, M * chunks, rule.heads == RouteRule::Heads::mean, range, by_token);
      });
      const bool last = rule.tokens == RouteRule::Tokens::last;
      cpu::parallel_ranges(s.threads, chunks, 256, [&](Range range) {
        reduce_rows(last ? by_token + (M - 1) * chunks : by_token, last ? 1 : M, chunks,
                    rule.tokens == RouteRule::Tokens::mean, range, by_chunk + first);
      });
    }
    for (size_t i = 0; i < block.documents.size(); ++i) {
      const DocumentSpan& document = block.documents[i];
      float score;
      reduce_rows(by_chunk + document.first_chunk, document.chunks, 1,
                  rule.chunks == RouteRule::Chunks::mean, Range{0, 1}, &score);
      hits.push_back({document.number, score, static_cast<uint32_t>(b), static_cast<uint32_t>(i)});
    }
  }
  k = std::min(k, hits.size());
  std::partial_sort(hits.begin(), hits.begin() + static_cast<std::ptrdiff_t>(k), hits.end(),
                    ranks_before);
  hits.resize(k);
  return true;
}

}  // namespace msa
