#include "kernels/cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/softmax.h"
#include "kernels/cpu/tile_product.h"

namespace msa::cpu {
namespace {

// Rows of queries (tokens times heads of a group) per block: enough to make packing the keys cheap,
// few enough for their sums to stay in the cache.
constexpr size_t kBlockRows = 256;
constexpr size_t kMostQueries = 128, kFewestQueries = 16;
// Up to here the queries are too few to pack keys for.
constexpr size_t kFewQueries = 4;

size_t round_up(size_t n, size_t to) {
  return (n + to - 1) / to * to;
}

// What one thread needs to work on a block, of element type T, for D, `rows` and `queries`.
template <class T>
struct Workspace {
  T *keys, *values;        // packed: [D, 64] and [64, D]
  T* weights;              // [queries, 64]
  T* queries;              // [queries, D], where they have to be converted
  float* scores;           // [queries, 64]
  float* sums;             // [rows, width]
  float *highest, *total;  // [rows]

  static size_t width(size_t D) { return round_up(D, 16); }
  static size_t bytes(size_t D, size_t rows, size_t queries) {
    const size_t typed =
        2 * round_up(D, kPanelColumns) * kKeyTile + std::max(queries, D) * kKeyTile + queries * D;
    const size_t floats = queries * kKeyTile + rows * (width(D) + 2);
    return round_up(typed * sizeof(T) + floats * sizeof(float), 4096);
  }
  Workspace(std::byte* memory, size_t D, size_t rows, size_t query_count) {
    scores = reinterpret_cast<float*>(memory);
    sums = scores + query_count * kKeyTile;
    highest = sums + rows * width(D);
    total = highest + rows;
    keys = reinterpret_cast<T*>(total + rows);
    values = keys + round_up(D, kPanelColumns) * kKeyTile;
    weights = values + round_up(D, kPanelColumns) * kKeyTile;
    queries = weights + std::max(query_count, D) * kKeyTile;
  }
};

// Columns [0, D) of `rows` as T, `count` rows; returns them where they are if they are T already.
template <class T>
ConstAnyMat as_type(ConstAnyMat rows, T* converted) {
  if (rows.dtype == dtype_of<T>()) return rows;
  const MatView<T> to(converted, rows.rows, rows.cols);
  convert_rows(rows, AnyMat(to), Range{0, rows.rows});
  return ConstAnyMat(AnyMat(to));
}

// Packs the values of up to 64 keys, [count, D], as the right side of a product with weights [.,
// 64].
void pack_values(MatView<const float> v, float* packed) {
  const size_t D = v.cols;
  for (size_t panel = 0; panel < D; panel += kPanelColumns, packed += kPanelColumns * kKeyTile) {
    const size_t columns = std::min(kPanelColumns, D - panel);
    for (size_t s = 0; s < kKeyTile; ++s) {
      float* to = packed + s * kPanelColumns;
      if (s < v.rows) std::copy_n(v.row(s).data() + panel, columns, to);
      std::fill(to + (s < v.rows ? columns : 0), to + kPanelColumns, 0.0f);
    }
  }
}

void pack_values(MatView<const bf16> v, bf16* packed) {
  const size_t D = v.cols;
  for (size_t panel = 0; panel < D; panel += kPanelColumns, packed += kPanelColumns * kKeyTile) {
    const size_t columns = std::min(kPanelColumns, D - panel);
    if (columns < kPanelColumns || v.rows < kKeyTile)
      std::fill_n(packed, kPanelColumns * kKeyTile, bf16{});
    for (size_t s = 0; s < v.rows; s += 2) {
      const bf16* even = v.row(s).data() + panel;
      bf16* to = packed + s * kPanelColumns;
      if (s + 1 < v.rows) {
        const bf16* odd = v.row(s + 1).data() + panel;
        for (size_t c = 0; c < columns; ++c) {
          to[2 * c] = even[c];
          to[2 * c + 1] = odd[c];
        }
      } else {
        for (size_t c = 0; c < columns; ++c) to[2 * c] = even[c];
      }
    }
  }
}

}  // namespace

size_t Attention::block_queries(size_t queries, size_t kv_heads, size_t group) const {
  const size_t most = std::clamp(kBlockRows / group, kFewestQueries, kMostQueries);
  // Smaller blocks where there would not be two for each thread.
  const size_t wanted = (2 * static_cast<size_t>(threads_) + kv_heads - 1) / kv_heads;
  return std::clamp(round_up((queries + wanted - 1) / wanted, 16), kFewestQueries, most);
}

void Attention::documents(ConstAnyMat q, ConstAnyMat k, ConstAnyMat v,
                          std::span<const uint32_t> starts, size_t kv_heads, size_t head_dim,
                          AnyMat out) {
  const size_t group = q.cols / head_dim / kv_heads;
  blocks_.clear();
  const size_t size = block_queries(q.rows, kv_heads, group);
  for (size_t d = 0; d + 1 < starts.size(); ++d)
    for (size_t first = starts[d]; first < starts[d + 1]; first += size)
      blocks_.push_back(
          {first, std::min<size_t>(size, starts[d + 1] - first), starts[d], first - starts[d] + 1});
  run(q, k, v, kv_heads, head_dim, out);
}

void Attention::context(ConstAnyMat q, ConstAnyMat k, ConstAnyMat v, size_t kv_heads,
                        size_t head_dim, AnyMat out) {
  assert(k.rows == v.rows && k.rows >= q.rows);
  if (q.rows <= kFewQueries) return few(q, k, v, kv_heads, head_dim, out);
  blocks_.clear();
  const size_t size = block_queries(q.rows, kv_heads, q.cols / head_dim / kv_heads);
  for (size_t first = 0; first < q.rows; first += size)
    blocks_.push_back({first, std::min(size, q.rows - first), 0, k.rows - q.rows + first + 1});
  run(q, k, v, kv_heads, head_dim, out);
}

void Attention::run(ConstAnyMat q, ConstAnyMat k, ConstAnyMat v, size_t kv_heads, size_t head_dim,
                    AnyMat out) {
  assert(q.cols % (head_dim * kv_heads) == 0 && k.cols == kv_heads * head_dim);
  assert(v.cols == k.cols && out.rows == q.rows && out.cols == q.cols);
  // Those that see most keys first, so that no thread is left with a long one in the end.
  std::stable_sort(blocks_.begin(), blocks_.end(),
                   [](const Block& a, const Block& b) { return a.seen > b.seen; });
  if (q.dtype == DType::bf16 && native_bf16_ && head_dim % 2 == 0)
    run_blocks<bf16>(q, k, v, kv_heads, head_dim, out);
  else
    run_blocks<float>(q, k, v, kv_heads, head_dim, out);
}

template <class T>
void Attention::run_blocks(ConstAnyMat q, ConstAnyMat k, ConstAnyMat v, size_t kv_heads,
                           size_t head_dim, AnyMat out) {
  using Space = Workspace<T>;
  const size_t D = head_dim, group = q.cols / D / kv_heads, width = Space::width(D);
  size_t most = 0;
  for (const Block& block : blocks_) most = std::max(most, block.count);
  const size_t each = Space::bytes(D, most * group, most);
  auto* memory = scratch_.reserve<std::byte>(each * static_cast<size_t>(threads_));
  const float scale = 1.0f / std::sqrt(static_cast<float>(D));

  parallel_units(threads_, blocks_.size() * kv_heads, [&](size_t unit, int thread) {
    const Block& block = blocks_[unit / kv_heads];
    const size_t g = unit % kv_heads, rows = block.count * group;
    const Space space(memory + each * static_cast<size_t>(thread), D, most * group, most);
    std::fill_n(space.sums, rows * width, 0.0f);
    std::fill_n(space.highest, rows, -std::numeric_limits<float>::infinity());
    std::fill_n(space.total, rows, 0.0f);

    const size_t all_seen = block.seen + block.count - 1;
    for (size_t first = 0; first < all_seen; first += kKeyTile) {
      const size_t keys = std::min(kKeyTile, all_seen - first);
      const auto part = [&](ConstAnyMat m) {
        return m.slice_rows(block.k_first + first, keys).slice_cols(g * D, D);
      };
      T* converted = space.weights;  // free until the products
      const auto key_rows = as_type<T>(part(k), converted).template as<T>();
      pack_panel_of_rows(key_rows.data, key_rows.stride, keys, D, space.keys);
      pack_values(as_type<T>(part(v), converted).template as<T>(), space.values);

      // Queries before `skip` see none of these keys.
      const size_t skip = first < block.seen ? 0 : first - block.seen + 1;
      const size_t count = block.count - skip;
      for (size_t h = 0; h < group; ++h) {
        const auto queries =
            as_type<T>(q.slice_rows(block.q_first + skip, count).slice_cols((g * group + h) * D, D),
                       space.queries)
                .template as<T>();
        tile_product(queries.data, queries.stride, space.keys, count, kKeyTile, D, space.scores,
                     kKeyTile, false);
        const size_t row = h * block.count + skip;
        float* sums = space.sums + row * width;
        softmax_tile({space.scores, count, block.seen + skip - first, scale, space.highest + row,
                      space.total + row, sums, width, D},
                     space.weights);
        tile_product(space.weights, kKeyTile, space.values, count, D, kKeyTile, sums, width, true);
      }
    }
    for (size_t h = 0; h < group; ++h)
      divide_rows(space.sums + h * block.count * width, width, space.total + h * block.count,
                  out.slice_rows(block.q_first, block.count).slice_cols((g * group + h) * D, D));
  });
}

void Attention::few(ConstAnyMat q, ConstAnyMat k, ConstAnyMat v, size_t kv_heads, size_t head_dim,
                    AnyMat out) {
  const size_t rows = q.rows * (q.cols / head_dim), state = rows * (head_dim + 2);
  const size_t threads = static_cast<size_t>(threads_);
  // Bytes below which a second thread costs more than it saves.
  constexpr size_t kBytesPerThread = size_t{64} << 10;
  const size_t parts = std::clamp<size_t>(k.rows * k.cols * size_of(k.dtype) * 2 / kBytesPerThread,
                                          1, std::min(threads, k.rows));
  auto* wide = scratch_.reserve<float>(q.rows * q.cols + parts * (state + rows * kKeyTile));
  float* states = wide + q.rows * q.cols;
  float* scores = states + parts * state;
  const MatView<float> queries(wide, q.rows, q.cols);
  convert_rows(q, AnyMat(queries), Range{0, q.rows});
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  for (size_t i = 0; i < q.rows * q.cols; ++i) wide[i] *= scale;
  parallel_units(threads_, parts, [&](size_t part, int) {
    attend_few(queries, k, v, kv_heads, head_dim, part_of(k.rows, part, parts),
               states + part * state, scores + part * rows * kKeyTile);
  });
  merge_states(states, parts, head_dim, out);
}

}  // namespace msa::cpu
